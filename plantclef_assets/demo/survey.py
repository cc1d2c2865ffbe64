"""The demo survey: a data set laid out like the published PlantCLEF data, and the artifact that lists its files.

    images/<learn_tag>/<species_id>/<40 hex digits>.jpg     photographs of single plants
    metadata.csv                                            their metadata, with the columns of PlantCLEF 2024
    plots/DEMO-A1-20240501.jpg …                            vegetation plots: places × visits
    plots_truth.csv                                         species of the plots, as a 2025 submission

Two photographs are broken on purpose, as happens in real collections: one JPEG is truncated, one file is text. Two
plots have no truth.
"""

import csv
import glob
import io
import os
import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from plantclef_assets.demo.flora import species_of
from plantclef_assets.demo.painting import grow_individual
from plantclef_assets.demo.photographs import draw_view, photograph
from plantclef_assets.demo.plots import photograph_plot
from plantclef_assets.demo.records import (
    COLUMNS,
    PhotographRecord,
    PlotRecord,
    metadata_row,
    plan_photographs,
    plan_plots,
    species_id,
)
from plantclef_assets.engines.processes import worker_processes
from plantclef_assets.engines.progress import Progress
from plantclef_assets.ingest.sources import list_files
from plantclef_assets.lake.atomic import atomic_folder
from plantclef_assets.lake.schemas import DEMO_SURVEY
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import Shard, write_table

PLOT_SIZES = ((1200, 900), (1120, 840), (1000, 750))
"""Width and height in px of the plot photographs; the places cycle through them."""

JPEG_QUALITY = 88

_SIDES = (208, 256)
"""Least and greatest longer side in px of a single-plant photograph."""

_MOST_WORKERS = 4
"""Maximum number of processes: drawing takes seconds, and more processes would mostly spend time starting."""

_ABANDONED_AFTER_SECONDS = 24 * 3600


def write_demo_survey(lake: Lake, shard: Shard, *, log: Callable[[str], None] = lambda line: None) -> None:
    """Draw the survey into `demo_survey/` of the lake's local folder and publish the table of its photographs.

    `log` receives progress messages.
    """
    folder = lake.folder / "demo_survey"
    shutil.rmtree(folder, ignore_errors=True)
    with Progress("demo_survey", 0, "images", log) as progress:
        write_survey(folder, progress=progress.reach)
    listed = list(list_files(folder))
    with write_table(lake, shard.artifact, DEMO_SURVEY, shard.provenance) as table:
        table.write_rows(source=[source for source, _ in listed], bytes=[size for _, size in listed])
        table.statistics = {"rows_in": len(listed), "quarantined": 0}


def write_survey(
    folder: Path,
    *,
    seed: int = 2024,
    species: int = 24,
    photographs: int = 1080,
    plots: int = 48,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a survey and write it to `folder`; do nothing if the folder exists.

    The folder appears when it is complete: it is written next to its destination under a temporary name, then renamed.
    The bytes depend on the arguments only, not on the number of processes.

    Args:
        folder: destination; its parents are created.
        seed: seed of the flora and of all random choices.
        species: number of species of the flora.
        photographs: number of photographs of single plants, without the two broken ones.
        plots: number of photographs of plots.
        progress: called with the number of images drawn and their total.

    Raises:
        ValueError: there are too few photographs for the species (`records.photograph_counts`).
        OSError: the folder cannot be written.
    """
    if folder.exists():
        return
    records = plan_photographs(seed, species, photographs)
    surveyed = plan_plots(seed, species, plots)
    _remove_unfinished(folder)
    with atomic_folder(folder) as unfinished:
        organs = _draw_all(unfinished, seed, records, surveyed, progress)
        rows = [metadata_row(record, organ, seed) for record, organ in zip(records, organs, strict=True)]
        rows += _write_broken(unfinished, seed, records, organs)
        _write_csv(unfinished / "metadata.csv", COLUMNS, sorted(rows), delimiter=";")
        truth = [(plot.name, _species_list(plot)) for index, plot in enumerate(surveyed) if _has_truth(index, plots)]
        _write_csv(unfinished / "plots_truth.csv", ("quadrat_id", "species_ids"), truth, delimiter=",")


def _remove_unfinished(folder: Path) -> None:
    """Remove what killed runs of earlier versions left; their folders name no process, so only those of past days."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}-{'?' * 8}"):
        if left.is_dir() and time.time() - left.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _draw_all(
    folder: Path,
    seed: int,
    records: list[PhotographRecord],
    surveyed: list[PlotRecord],
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    """Draw and write all images in spawned processes; return the organ of each photograph."""
    (folder / "plots").mkdir()
    for record in records:
        _image_path(folder, record).parent.mkdir(parents=True, exist_ok=True)
    total = len(records) + len(surveyed)
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    organs: list[str] = []
    with worker_processes(workers) as pool:
        # Plots take longest, so they are submitted first.
        drawn_plots = [pool.submit(_draw_plot, folder, seed, plot) for plot in surveyed]
        for organ in pool.map(partial(_draw_photograph, folder, seed), records, chunksize=16):
            organs.append(organ)
            if progress:
                progress(len(organs), total)
        for done, plot in enumerate(drawn_plots, start=1):
            plot.result()
            if progress:
                progress(len(organs) + done, total)
    return organs


def _image_path(folder: Path, record: PhotographRecord) -> Path:
    return folder / "images" / record.learn_tag / str(species_id(record.species)) / record.image_name


def _draw_photograph(folder: Path, seed: int, record: PhotographRecord) -> str:
    """Draw one photograph; those of one observation show the same individual."""
    of_observation = np.random.default_rng([seed, 10, record.observation])
    individual = grow_individual(species_of(seed, record.species), of_observation)
    rng = np.random.default_rng([seed, 11, record.observation, record.shot])
    view = draw_view(rng, individual, int(rng.integers(_SIDES[0], _SIDES[1] + 1)))
    _image_path(folder, record).write_bytes(_jpeg(photograph(individual, view)))
    return view.organ


def _draw_plot(folder: Path, seed: int, plot: PlotRecord) -> None:
    rng = np.random.default_rng([seed, 12, *plot.name.encode()])
    size = PLOT_SIZES[plot.place % len(PLOT_SIZES)]
    image = photograph_plot([species_of(seed, number) for number in plot.species], size, plot.ground, rng)
    (folder / "plots" / f"{plot.name}.jpg").write_bytes(_jpeg(image))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _write_broken(folder: Path, seed: int, records: list[PhotographRecord], organs: list[str]) -> list[list[str]]:
    """Write the two broken photographs as observations of their own; return their metadata rows."""
    whole = _image_path(folder, records[0]).read_bytes()
    contents = (whole[: len(whole) * 3 // 5], b"<html><body>503 Service Unavailable</body></html>\n")
    rows = []
    for number, content in enumerate(contents):
        like = records[number]
        name = f"{number:02x}{like.image_name[2:]}"
        observation = records[-1].observation + 1 + number
        broken = PhotographRecord(like.species, observation, "train", name, 0)
        path = _image_path(folder, broken)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        rows.append(metadata_row(broken, organs[number], seed))
    return rows


def _has_truth(index: int, plots: int) -> bool:
    return index not in (plots // 3, 2 * plots // 3)


def _species_list(plot: PlotRecord) -> str:
    return "[" + ", ".join(str(species_id(number)) for number in sorted(plot.species)) + "]"


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]], *, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
