"""Run a SQL query over the tables of the lake and print its result: `plantclef lake "select * from leaderboard"`.

Without a query, the command lists the tables and their columns. With `clean` or `verify` in place of a query, it is
`plantclef clean` or `plantclef verify`. `PLANTCLEF_LAKE` is the lake.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.errors import UserError
from plantclef_assets.lake.buckets import OvertakenError, UnreachableBucketError
from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.cleaning import ForeignSettingsError, delete_leftover, find_leftovers
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError
from plantclef_assets.lake.queries import ask, query_errors, write_result
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.verification import asset_of, verify_artifacts
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import SettingsError

_CLEAN, _VERIFY = "clean", "verify"
_CLEANING = """List the files that the platform has written and that the settings do not need, with their sizes and the
reasons. Nothing is deleted without --delete."""
_VERIFICATION = """Read artifacts completely, compare them with their fingerprints and checksums, and print one line for
each damaged one. Nothing is changed. The exit status is 1 if an artifact is damaged, or if a named asset has none."""
_OVERVIEW = """
select view_name as "table", (select string_agg(column_name, ', ') from duckdb_columns() where table_name = view_name)
    as columns from duckdb_views() where not internal order by 1
"""


def main(arguments: list[str] | None = None, prog: str = "python -m plantclef_assets.lake") -> int:
    """Query, clean or verify; return 1 if that fails or an artifact is damaged."""
    given = sys.argv[1:] if arguments is None else arguments
    parse = {_CLEAN: _parse_clean, _VERIFY: _parse_verify}.get(given[0] if given else "", _parse_query)
    options = parse(given, prog)
    try:
        settings = load_settings()
        return options.run(Lake(settings.lake, settings.cache), settings, options)
    except (
        SettingsError,
        UnreachableBucketError,
        OvertakenError,
        ForeignSettingsError,
        OtherSourcesError,
        UserError,
    ) as error:
        print(error, file=sys.stderr)
        return 1


def _parse_query(given: list[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.set_defaults(run=_answer)
    parser.add_argument(
        "query", nargs="?", default=_OVERVIEW, help="SQL over the lake's tables, in quotes; without it, list the tables"
    )
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the result to a file: .csv, .parquet, or .txt (one column, one value per line)",
    )
    options = parser.parse_args(given)
    if options.more:
        parser.error("put the query in quotes")
    return options


def _parse_clean(given: list[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{prog} {_CLEAN}", description=_CLEANING)
    parser.set_defaults(run=_clean)
    parser.add_argument("--delete", action="store_true", help="delete the listed files")
    return parser.parse_args(given[1:])


def _parse_verify(given: list[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{prog} {_VERIFY}", description=_VERIFICATION)
    parser.set_defaults(run=_verify)
    parser.add_argument("assets", nargs="*", metavar="ASSET", help="an asset to verify; without any, all of them")
    return parser.parse_args(given[1:])


def _answer(lake: Lake, settings: Settings, options: argparse.Namespace) -> int:
    with query_errors():
        result = ask(open_catalog(lake), options.query)
        if options.output is None:
            result.show(max_width=200, max_rows=200)
        else:
            print(f"{options.output}: {write_result(result, options.output, lake)} rows")
    return 0


def _verify(lake: Lake, settings: Settings, options: argparse.Namespace) -> int:
    """Print each damaged artifact and a summary; return 1 if one is damaged or a named asset has none."""
    assets: list[str] = options.assets
    verified, damaged, seen = 0, 0, set()
    for artifact, problem in verify_artifacts(lake, assets, build_graph(settings).recipes, verify_tensors):
        verified += 1
        seen.add(asset_of(artifact))
        if problem:
            damaged += 1
            print(problem, flush=True)
    absent = [asset for asset in assets if asset not in seen]
    if absent:
        print(f"{lake.root} has no artifact of {', '.join(absent)}.", file=sys.stderr)
    print(f"{verified} artifacts verified in {lake.root}; {damaged or 'none'} damaged.")
    return 1 if damaged or absent else 0


def verify_tensors(asset: str, path: Path) -> None:
    """Read a classifier or a backbone, which verifies the fingerprint of its tensors."""
    if asset == "classifier":
        from plantclef_assets.models.classifier_files import read_classifier

        read_classifier(path)
    else:
        from plantclef_assets.models.backbone_files import read_saved_head

        read_saved_head(path)


def _clean(lake: Lake, settings: Settings, options: argparse.Namespace) -> int:
    recipes = build_graph(settings).recipes
    Lineage(lake, recipes).require_same_sources()  # settings of another survey need none of this one's files
    leftovers = find_leftovers(lake, recipes, _locations(settings))
    for leftover in leftovers:
        print(f"{leftover.file.bytes / 1e6:12.3f} MB  {leftover.file.name}: {leftover.reason}", flush=True)
        if options.delete:
            delete_leftover(lake, leftover)
    megabytes = sum(leftover.file.bytes for leftover in leftovers) / 1e6
    print(
        f"{len(leftovers)} left over in {lake.root}, {megabytes:.3f} MB, by the profile {settings.profile}"
        + ("; deleted." if options.delete else "; --delete deletes them." if leftovers else ".")
    )
    return 0


def _locations(settings: Settings) -> list[str]:
    """Return every string of the settings as a location; files that the settings read are never leftovers."""
    return [settings.resolve(value) for value in _texts(settings.model_dump(exclude={"lake"}))]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
