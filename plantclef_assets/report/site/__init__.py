"""The report as a static site: pages of plots, species, runs, classifiers and quarantined files.

`build.py` writes the folder of pages; `scope.py` says what it covers, `survey.py` and `species.py` read the lake,
`pictures.py` writes photographs without metadata, `pages.py` fills the templates. The pages need no server and make no
request to another host: they open from a disk and from a bucket.
"""
