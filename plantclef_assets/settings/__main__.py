"""`python -m plantclef_assets.settings`: see `plantclef_assets.cli.settings`."""

from plantclef_assets.cli.settings import main

if __name__ == "__main__":
    raise SystemExit(main())
