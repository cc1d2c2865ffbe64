"""`python -m plantclef_assets`: see `plantclef_assets.cli.run`."""

from plantclef_assets.cli.run import main

if __name__ == "__main__":
    raise SystemExit(main())
