"""Lakes with the tables that a report reads, written directly: any number of plots, species and tilings, any names."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from plantclef_assets.images.tiling import tile_boxes
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_quarantine, write_table
from plantclef_assets.report.site.build import PlotReport
from plantclef_assets.report.site.scope import PlotShards, Run, Scope

REPORT = Artifact("plot_report", suffix="html")
_PICTURES = 8
"""Different photographs, of plots and of plants; more would only take longer to write."""


@dataclass(frozen=True)
class Survey:
    """What a generated lake holds.

    Attributes:
        plots: names of the survey's plots.
        inbox: names of the plots of one delivery.
        species: number of species.
        names: names of some species, by their number.
        tilings: in which tiles are predicted.
        feature_sets: names of classifiers; each has one run with each tiling.
        shards: number of shards of plots.
        side: longer side of a plot, px.
        photographs: training photographs of each species; 0 is a lake without a training side.
        author, license: of training photographs.
        quarantined: rows of the quarantine table of the first shard of plots.
        exif: metadata in each photograph.
    """

    plots: Sequence[str] = ("AB-C-1-20240501", "AB-C-1-20240618", "AB-C-2-20240501", "DE-F-1-20240501")
    inbox: Sequence[str] = ()
    species: int = 30
    names: Mapping[int, str] = ()  # pyright: ignore[reportAssignmentType]
    tilings: Sequence[str] = ("3x3", "4x4")
    feature_sets: Sequence[str] = ("base_cls", "base_dct")
    shards: int = 2
    side: int = 240
    photographs: int = 3
    author: str = "A. Moreau"
    license: str = "cc-by-sa"
    quarantined: Sequence[Mapping[str, str | None]] = ()
    exif: bytes = b""
    title: str = "A survey"

    @property
    def runs(self) -> list[Run]:
        """A run for each classifier and tiling."""
        pairs = [(one, tiling) for one in self.feature_sets for tiling in self.tilings]
        return [Run(f"{one}_{tiling}", one, tiling, "argmax_union") for one, tiling in pairs]

    def species_id(self, number: int) -> int:
        """Return the id of a species."""
        return 1_355_000 + number


def write_lake(folder: Path, survey: Survey) -> tuple[Lake, Scope]:
    """Write the tables of a survey, and return the lake and the scope of a report over it."""
    lake, random = Lake(str(folder)), np.random.default_rng(5)
    keys, training = shard_keys(survey.shards), shard_keys(2) if survey.photographs else []
    _write_species(lake, survey)
    _write_training(lake, survey, training, random)
    plots = np.array_split(np.array(survey.plots, object), survey.shards)
    for key, names in zip(keys, plots, strict=True):
        _write_plots(lake, survey, ("plot_images", "tile_predictions", "species_cover"), key, [*names], random)
    if survey.inbox:
        _write_plots(lake, survey, ("inbox_plots", "inbox_predictions", "inbox_cover"), "00", survey.inbox, random)
    write_quarantine(lake, Artifact("plot_images", keys[0]), [dict(row) for row in survey.quarantined])
    _write_runs(lake, survey, random)
    sources = [
        PlotShards("survey", "plot_images", "tile_predictions", "species_cover", tuple(keys), has_lists=True),
        PlotShards("inbox", "inbox_plots", "inbox_predictions", "inbox_cover", ("00",), has_lists=False),
    ]
    return lake, Scope(
        title=survey.title,
        runs=tuple(survey.runs),
        cover_run=survey.runs[0].name,
        sources=tuple(sources if survey.inbox else sources[:1]),
        training_shards=training,
        feature_sets=survey.feature_sets,
        region_patterns=(),
        max_pixels=10**8,
        truth=None,
        reviewed=False,
        facts=[("Profile", "generated")],
    )


def build(lake: Lake, scope: Scope, **more: Any) -> Path:
    """Write the report, and return the folder of its pages."""
    set_aside = [Artifact("plot_images", key) for key in scope.sources[0].keys]
    PlotReport(lake, scope, set_aside, **more)(Shard(REPORT, {}))
    record = lake.record(REPORT)
    assert record is not None
    return Path(lake.root, "plot_report", record.fingerprint)


def with_truth(scope: Scope, file: Path, truth: Mapping[str, Sequence[int]], *, reviewed: bool = False) -> Scope:
    """Write a ground truth, and return the scope of a report that knows it."""
    rows = "".join(f'"{plot}","{[*species]}"\n' for plot, species in truth.items())
    file.write_text('"quadrat_id","species_ids"\n' + rows, encoding="utf-8")
    return replace(scope, truth=file, reviewed=reviewed)


def _write(lake: Lake, artifact: Artifact, **columns: Any) -> None:
    with write_table(lake, artifact, TABLES[artifact.asset], {"asset": str(artifact)}, enforced=False) as table:
        if len(next(iter(columns.values()))):
            table.write_rows(**columns)


def _write_species(lake: Lake, survey: Survey) -> None:
    numbers, names = range(survey.species), dict(survey.names)
    _write(
        lake,
        Artifact("class_map"),
        species_id=[survey.species_id(one) for one in numbers],
        class_index=[*numbers],
        species=[names.get(one, f"Genus{one // 9} species{one} L.") for one in numbers],
        genus=[f"Genus{one // 9}" for one in numbers],
        family=[f"Family{one // 40}aceae" for one in numbers],
        gbif_species_id=[2_600_000 + one for one in numbers],
        images=[survey.photographs] * survey.species,
    )


def _write_training(lake: Lake, survey: Survey, keys: Sequence[str], random: np.random.Generator) -> None:
    pictures = [_picture(random, 224, 224, survey.exif) for _ in range(_PICTURES)]
    photographs = np.array_split(np.arange(survey.species * survey.photographs), max(len(keys), 1))
    for key, numbers in zip(keys, photographs, strict=False):
        _write(
            lake,
            Artifact("resized_images", key),
            image_name=[f"{one:040d}.jpg" for one in numbers],
            species_id=[survey.species_id(one % survey.species) for one in numbers],
            license=[survey.license] * len(numbers),
            author=[survey.author] * len(numbers),
            data=[pictures[one % _PICTURES] for one in numbers],
        )
    for name in survey.feature_sets if keys else ():
        ids = [survey.species_id(one) for one in range(survey.species)]
        _write(
            lake,
            Artifact("val_predictions", name),
            feature_set=[name] * survey.species,
            image_name=[f"{one}.jpg" for one in ids],
            species_id=ids,
            species_ids=[[ids[(place + place % 3) % len(ids)], *ids[:4]] for place in range(len(ids))],
            probabilities=[[0.5, 0.1, 0.1, 0.1, 0.1]] * len(ids),
        )


def _write_plots(
    lake: Lake,
    survey: Survey,
    assets: tuple[str, str, str],
    key: str,
    names: Sequence[str],
    random: np.random.Generator,
) -> None:
    width, height = survey.side, survey.side * 3 // 4
    pictures = [_picture(random, width, height, survey.exif) for _ in range(_PICTURES)]
    plots, predictions, cover = (Artifact(asset, key) for asset in assets)
    with write_table(lake, plots, TABLES[plots.asset], {}, enforced=False) as table:
        for place, name in enumerate(names):
            data = pictures[place % _PICTURES]
            table.write_rows(plot_id=[name], width=[width], height=[height], data=[data])
    best = min(20, survey.species)
    with write_table(lake, predictions, TABLES[predictions.asset], {}, enforced=False) as table:
        for name in names:
            here = random.choice(survey.species, best, replace=False)  # species of the plot, so that lists make sense
            for features in survey.feature_sets:
                for tiling in survey.tilings:
                    _write_tiles(table, survey, name, features, tiling, (width, height), here, random)
    shown = [[survey.species_id(one) for one in random.choice(survey.species, 3, replace=False)] for _ in names]
    _write(
        lake,
        cover,
        plot_id=np.repeat(np.array(names, object), 3).tolist(),
        species_id=[one for found in shown for one in found],
        count=[2] * (3 * len(names)),
        coverage=[0.2] * (3 * len(names)),
        max_score=[0.4] * (3 * len(names)),
        positions=[[]] * (3 * len(names)),
        uncovered=[0.4] * (3 * len(names)),
        tiles=[9] * (3 * len(names)),
        matched=[6] * (3 * len(names)),
    )


def _write_tiles(
    table: Any,
    survey: Survey,
    plot: str,
    features: str,
    tiling: str,
    size: tuple[int, int],
    here: np.ndarray,
    random: np.random.Generator,
) -> None:
    boxes = np.array([(tile.x, tile.y, tile.width, tile.height) for tile in tile_boxes(*size, tiling)])
    tiles, best = len(boxes), len(here)
    scores = -np.sort(-random.dirichlet(np.full(best, 0.3), tiles), axis=1)
    species = np.array([survey.species_id(0)]) + random.permuted(np.tile(here, (tiles, 1)), axis=1)
    sides = {name: np.repeat(boxes[:, place], best) for place, name in enumerate(("x", "y", "width", "height"))}
    table.write_rows(
        plot_id=pa.array([plot] * (tiles * best)),
        feature_set=pa.array([features] * (tiles * best)),
        tiling=pa.array([tiling] * (tiles * best)),
        tile_index=pa.array(np.repeat(np.arange(tiles), best)),
        **{name: pa.array(values) for name, values in sides.items()},
        species_id=pa.array(species.ravel()),
        probability=pa.array(scores.ravel().astype(np.float32)),
        rank=pa.array(np.tile(np.arange(1, best + 1), tiles)),
    )


def _write_runs(lake: Lake, survey: Survey, random: np.random.Generator) -> None:
    runs = survey.runs
    for run in runs:
        lists = [
            [survey.species_id(one) for one in random.choice(survey.species, min(5, survey.species), replace=False)]
            for _ in survey.plots
        ]
        artifact, count = Artifact("submission", run.name), len(survey.plots)
        _write(lake, artifact, run=[run.name] * count, plot_id=[*survey.plots], species_ids=lists)
    _write(
        lake,
        Artifact("leaderboard"),
        run=[run.name for run in runs],
        feature_set=[run.feature_set for run in runs],
        tiling=[run.tiling for run in runs],
        aggregation=[run.aggregation for run in runs],
        species_per_plot=[5.0] * len(runs),
        plots=[0] * len(runs),
        plots_without_truth=[len(survey.plots)] * len(runs),
    )
    pairs = [(one, other) for place, one in enumerate(runs) for other in runs[place + 1 :]]
    _write(
        lake,
        Artifact("run_agreement"),
        run_a=[one.name for one, _ in pairs],
        run_b=[other.name for _, other in pairs],
        jaccard=[0.3] * len(pairs),
        species_per_plot_a=[5.0] * len(pairs),
        species_per_plot_b=[5.0] * len(pairs),
        plots=[len(survey.plots)] * len(pairs),
    )


def _picture(random: np.random.Generator, width: int, height: int, exif: bytes) -> bytes:
    """Return a JPEG with coarse and fine structure, about as large as that of a meadow."""
    coarse = Image.fromarray(random.integers(30, 220, (height // 12 + 1, width // 12 + 1, 3), np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = np.clip(pixels + random.integers(-25, 25, pixels.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=85, exif=exif)
    return stream.getvalue()
