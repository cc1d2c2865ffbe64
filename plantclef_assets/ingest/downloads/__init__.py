"""The download engine: files from http(s) addresses, resumable, checksummed, and published only when complete.

`download_files` is the one function that callers need. A `Download` names a file, `Limits` bound the resources of all
files together, and a `DownloadError` explains a failure. What belongs here: the transfer of files with known addresses.
What does not: which files to download (`download_lists.py`), and where a source is kept (`fetching.py`).

    files.py      one or many files: locks, checksums, publication
    transfers.py  the transfer of one file over several connections, with retries
    partial.py    the bytes that have arrived, and the journal that survives a crash
    session.py    redirects and credentials
    http.py       one range request and the meaning of its response
    limits.py     limits, retry policy, and the allowance that all connections share
    errors.py     what can end a download, a transfer or a request

The HTTP library is requests, over urllib3: it comes with Dagster, follows the proxies and certificates of the
environment, and streams a body as it arrives. A few connections that wait for the network need threads only. httpx
and aiohttp would add an event loop; fsspec and pooch cannot resume; urllib3's `Retry` cannot resume a body.
"""

from plantclef_assets.ingest.downloads.errors import DownloadError
from plantclef_assets.ingest.downloads.files import Download, download_files
from plantclef_assets.ingest.downloads.limits import Limits

__all__ = ["Download", "DownloadError", "Limits", "download_files"]
