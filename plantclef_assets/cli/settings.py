"""Print the settings reference: `python -m plantclef_assets.settings > docs/settings.md`."""

import argparse

from plantclef_assets.settings.reference import settings_page


def main(arguments: list[str] | None = None) -> int:
    """Print the page as Markdown; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m plantclef_assets.settings", description=__doc__)
    parser.parse_args(arguments)
    print(settings_page(), end="")
    return 0
