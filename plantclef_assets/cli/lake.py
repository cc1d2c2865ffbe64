"""Query the lake in SQL, clean it of files that its settings no longer need, or verify its artifacts.

`python -m plantclef_assets.lake "select * from leaderboard"` prints the result of a query; without one, the tables.
`--output result.csv` writes it to a file instead (.csv, .parquet, or .txt: one column, one value a line).
`python -m plantclef_assets.lake clean` lists leftover files, and deletes them with `--delete`.
`python -m plantclef_assets.lake verify [asset ...]` reads artifacts completely and names damaged ones.
`PLANTCLEF_LAKE` is the lake.
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
_OVERVIEW = """
select view_name as "table", (select string_agg(column_name, ', ') from duckdb_columns() where table_name = view_name)
    as columns from duckdb_views() where not internal order by 1
"""


def main(arguments: list[str] | None = None, prog: str = "python -m plantclef_assets.lake") -> int:
    """Query, clean or verify; return 1 if that fails or an artifact is damaged."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        "query", nargs="?", default=_OVERVIEW, help=f"SQL over the lake's tables, {_CLEAN} or {_VERIFY}"
    )
    parser.add_argument("assets", nargs="*", help=f"with {_VERIFY}: the assets to verify; all by default")
    parser.add_argument("--delete", action="store_true", help=f"with {_CLEAN}: delete the listed files")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the result: .csv, .parquet, or .txt (one column)",
    )
    options = parser.parse_args(arguments)
    if options.output and options.query in (_CLEAN, _VERIFY):
        parser.error(f"--output is for a query, not for {options.query}")
    if options.delete and options.query != _CLEAN:
        parser.error(f"--delete is for {_CLEAN} only")
    if options.assets and options.query != _VERIFY:
        parser.error("put the query in quotes")
    try:
        settings = load_settings()
        lake = Lake(settings.lake, settings.cache)
        if options.query == _CLEAN:
            _clean(lake, settings, delete=options.delete)
        elif options.query == _VERIFY:
            return _verify(lake, settings, options.assets)
        else:
            _answer(lake, options.query, options.output)
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
    return 0


def _answer(lake: Lake, query: str, output: Path | None) -> None:
    with query_errors():
        result = ask(open_catalog(lake), query)
        if output is None:
            result.show(max_width=200, max_rows=200)
        else:
            print(f"{output}: {write_result(result, output, lake)} rows")


def _verify(lake: Lake, settings: Settings, assets: list[str]) -> int:
    """Print each damaged artifact and a summary; return 1 if one is damaged or a named asset has none."""
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


def _clean(lake: Lake, settings: Settings, *, delete: bool) -> None:
    recipes = build_graph(settings).recipes
    Lineage(lake, recipes).require_same_sources()  # settings of another survey need none of this one's files
    leftovers = find_leftovers(lake, recipes, _locations(settings))
    for leftover in leftovers:
        print(f"{leftover.file.bytes / 1e6:12.3f} MB  {leftover.file.name}: {leftover.reason}", flush=True)
        if delete:
            delete_leftover(lake, leftover)
    megabytes = sum(leftover.file.bytes for leftover in leftovers) / 1e6
    print(
        f"{len(leftovers)} left over in {lake.root}, {megabytes:.3f} MB, by the profile {settings.profile}"
        + ("; deleted." if delete else "; --delete deletes them." if leftovers else ".")
    )


def _locations(settings: Settings) -> list[str]:
    """Return every string of the settings as a location; files that the settings read are never leftovers."""
    return [settings.resolve(value) for value in _texts(settings.model_dump(exclude={"lake"}))]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
