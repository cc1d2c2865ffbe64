"""`python -m plantclef_assets.ingest`: see `plantclef_assets.cli.ingest`."""

from plantclef_assets.cli.ingest import main

if __name__ == "__main__":
    raise SystemExit(main())
