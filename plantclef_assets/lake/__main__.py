"""`python -m plantclef_assets.lake`: see `plantclef_assets.cli.lake`."""

from plantclef_assets.cli.lake import main

if __name__ == "__main__":
    raise SystemExit(main())
