"""Ask the lake a question in SQL: `python -m plantclef_assets.lake "select * from leaderboard"`.

Without a question it lists the tables. `PLANTCLEF_LAKE` says which lake.
"""

import argparse
import sys

import duckdb

from plantclef_assets.lake.buckets import UnreachableBucketError
from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.store import Lake
from plantclef_assets.refusals import SettingsError
from plantclef_assets.settings import load_settings

_OVERVIEW = """
select view_name as "table", (select string_agg(column_name, ', ') from duckdb_columns() where table_name = view_name)
    as columns from duckdb_views() where not internal order by 1
"""


def main(arguments: list[str] | None = None) -> int:
    """Print the answer to one SQL question; gives 1 where it cannot be answered."""
    parser = argparse.ArgumentParser(prog="python -m plantclef_assets.lake", description=__doc__)
    parser.add_argument("question", nargs="?", default=_OVERVIEW, help="SQL over the lake's tables")
    try:
        settings = load_settings()
        answer = open_catalog(Lake(settings.lake, settings.cache)).sql(parser.parse_args(arguments).question)
        if answer is not None:
            answer.show(max_width=200, max_rows=200)
    except (SettingsError, UnreachableBucketError, duckdb.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
