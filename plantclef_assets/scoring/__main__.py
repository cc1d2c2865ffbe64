"""`python -m plantclef_assets.scoring`: see `plantclef_assets.cli.scoring`."""

from plantclef_assets.cli.scoring import main

if __name__ == "__main__":
    raise SystemExit(main())
