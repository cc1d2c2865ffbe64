"""Commands: `plantclef` and the `python -m …` entry points, which are thin shims over this package."""
