"""The demo survey as an artifact of the lake: a folder of photographs, and a table that lists its files."""

import shutil
from collections.abc import Callable

from plantclef_assets.demo.survey import write_survey
from plantclef_assets.engines.progress import Progress
from plantclef_assets.ingest.sources import list_files
from plantclef_assets.lake.schemas import DEMO_SURVEY
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import write_table


def write_demo_survey(lake: Lake, shard: Shard, *, log: Callable[[str], None] = lambda line: None) -> None:
    """Draw the survey into `demo_survey/` of the lake's local folder and publish the table of its photographs.

    `log` is told how far it is.
    """
    folder = lake.folder / "demo_survey"
    shutil.rmtree(folder, ignore_errors=True)
    with Progress("demo_survey", 0, "images", log) as progress:
        write_survey(folder, progress=progress.reach)
    listed = list(list_files(folder))
    with write_table(lake, shard.artifact, DEMO_SURVEY, shard.provenance) as table:
        table.write_rows(source=[source for source, _ in listed], bytes=[size for _, size in listed])
        table.statistics = {"rows_in": len(listed), "quarantined": 0}
