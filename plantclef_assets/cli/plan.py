"""Print how much work there is, how much of it remains, and how long it takes: `plantclef plan`.

The command counts photographs, plots, tiles and forward passes, and measures this machine for about ten seconds. It
downloads nothing and writes nothing into the lake.
"""

import argparse
from collections.abc import Iterator, Sequence

from plantclef_assets.cli.ending import run_command
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.defs.naming import Backbone, backbones
from plantclef_assets.errors import UserError
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.lake.buckets import UnreachableBucketError
from plantclef_assets.lake.provenance import OtherSourcesError
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.orchestration.declaration import Graph
from plantclef_assets.planning.estimates import (
    COPY_BYTES_PER_SECOND,
    H200,
    PREDICTION_BYTES,
    Stage,
    duration_in_words,
    sum_loads,
)
from plantclef_assets.planning.source_counts import UncountedError
from plantclef_assets.planning.speeds import Speeds, measure_speeds, seconds_here
from plantclef_assets.planning.work import Work
from plantclef_assets.settings import Settings, load_settings

LONG_SECONDS = 600.0
"""A run that takes longer prints its estimate first."""
_SLOWEST_FLOPS = 50e9
"""Per second; a CPU that is slower is not expected. Work that is short at this speed is not measured."""
_SLOWEST_PHOTOGRAPHS = 30.0

Row = tuple[str, ...]


def main(arguments: list[str] | None = None, prog: str = "plantclef plan") -> int:
    """Print the plan; return 1 where the settings or sources do not allow one."""
    argparse.ArgumentParser(prog=prog, description=__doc__).parse_args(arguments)
    return run_command(_plan)


def _plan() -> int:
    settings = load_settings()
    work = Work(settings, build_graph(settings))
    try:
        work.lineage.require_same_sources()
        lines = [*_counts(work), ""]
        speeds = measure_speeds(work)
        lines += [*_stages(work, speeds), "", *_assumptions(work, speeds)]
    except (OtherSourcesError, SourceError, UnreachableBucketError) as error:
        raise UserError(str(error)) from error
    print("\n".join(lines))
    return 0


def estimate_lines(settings: Settings, graph: Graph) -> list[str]:
    """Return two lines about a run that takes long; none for a short one, and none where nothing is to do.

    Where the sources cannot be counted quickly, one line refers to `plantclef plan`.
    The lake is only looked at quickly (see `Work.quick`), and work that is surely short is not measured.
    """
    work = Work(settings, graph, quick=True)
    if not work.has_remaining:
        return []
    try:
        longest = _longest_seconds(work)
    except UncountedError:
        return ["The time of this run is not known before its sources are listed; `plantclef plan` estimates it."]
    if longest < LONG_SECONDS:
        return []
    speeds = measure_speeds(work)
    seconds = sum(seconds_here(work, speeds, stage, remaining=True) for stage in work.stages)
    if seconds < LONG_SECONDS:
        return []
    load = sum_loads(stage.remaining for stage in work.stages)
    on_gpu = duration_in_words(_on_gpu(work, remaining=True))
    about = "At least" if work.is_cut_short else "About"
    return [
        f"{about} {duration_in_words(seconds)} of work on this machine: {load.passes:,} forward passes, "
        f"{load.written / 1e9:,.1f} GB to write; {on_gpu} on one {H200.name}.",
        "Finished work is kept whenever this run ends. `plantclef plan` shows the estimate by stage.",
    ]


def _longest_seconds(work: Work) -> float:
    seconds = 0.0
    for stage in work.stages:
        load = stage.remaining
        if stage.backbone:
            seconds += load.passes * work.shapes[stage.backbone].flops(all_tokens=True) / _SLOWEST_FLOPS
        elif stage.unit == "photographs":
            seconds += load.items / _SLOWEST_PHOTOGRAPHS
        seconds += (load.read + load.written) / COPY_BYTES_PER_SECOND
    return seconds


def _counts(work: Work) -> Iterator[str]:
    rows: list[Row] = [("", "total", "remaining", "")]
    stages = {stage.asset: stage for stage in work.stages}
    for name, pictures, asset in (
        ("photographs", work.photographs, "resized_images"),
        ("plots", work.plots, "plot_images"),
    ):
        if pictures:
            rows.append((name, f"{pictures.count:,}", f"{stages[asset].remaining.items:,}", pictures.origin))
    for (plots, name), tiles in work.tiles.items():
        total = sum(one.distinct for one in tiles.values())
        count = sum(work.plot_counts[plots].values())
        stage = stages[work.tile_assets[plots, name]]
        mean = f"{total / count:,.1f} a plot; " if count else ""
        what = "validation tiles" if plots == "validation_plots" else "tiles"
        tilings = ", ".join(next(iter(tiles.values())).by_tiling) if tiles else ""
        rows.append((f"{what}, {name}", f"{total:,}", f"{stage.remaining.passes:,}", f"{mean}distinct over {tilings}"))
    for backbone in backbones(work.settings):
        passes = _of_backbone(work, backbone, training=False)
        rows.append((f"forward passes, {backbone.name}", *_passes(passes), _name(backbone)))
        training = _of_backbone(work, backbone, training=True)
        if training:
            note = f"{work.settings.finetuning.epochs} epochs; a step counts as 3 forward passes"
            rows.append(("fine-tuning, as passes", *_passes(training), note))
    yield from _table(rows)


def _stages(work: Work, speeds: Speeds) -> Iterator[str]:
    """Yield the table of stages: gigabytes and time, in total and remaining."""
    rows: list[Row] = [
        ("", "total:", "", "", "remaining:", "", "", ""),
        ("stage", "GB read", "GB written", "time", "GB read", "GB written", "time", "size of an item"),
    ]
    sums = [0.0] * 6
    for stage in work.stages:
        numbers = [
            number
            for remaining, load in ((False, stage.total), (True, stage.remaining))
            for number in (load.read, load.written, seconds_here(work, speeds, stage, remaining=remaining))
        ]
        sums = [one + more for one, more in zip(sums, numbers, strict=True)]
        rows.append((stage.asset, *_shown(numbers), _item(work, stage)))
    rows.append(("on this machine", *_shown(sums), f"{work.settings.workers} workers"))
    gpu = [duration_in_words(_on_gpu(work, remaining=remaining)) for remaining in (False, True)]
    rows.append((f"on one {H200.name}", "", "", gpu[0], "", "", gpu[1], "forward passes only"))
    yield from _table(rows)


def _shown(numbers: Sequence[float]) -> list[str]:
    """Return bytes read, bytes written and seconds, twice, as texts."""
    return [duration_in_words(number) if place % 3 == 2 else _gigabytes(number) for place, number in enumerate(numbers)]


def _item(work: Work, stage: Stage) -> str:
    total = stage.total
    if stage.backbone and stage.asset in TABLES:
        vectors = "[CLS] and DCT" if "dct" in TABLES[stage.asset].vectors else "[CLS]"
        return f"{work.row_bytes(stage.asset, stage.backbone):,} bytes a row: {vectors}"
    if stage.unit == "predictions":
        return f"{PREDICTION_BYTES} bytes a row, uncompressed; the best {work.kept_species} species of a tile"
    return f"{total.written // total.items:,} bytes" if total.items and total.written else ""


def _on_gpu(work: Work, *, remaining: bool) -> float:
    """Return the seconds of all forward passes on the GPU that was measured."""
    seconds = 0.0
    for stage in work.stages:
        if stage.backbone:
            load = stage.remaining if remaining else stage.total
            dct = stage.asset in TABLES and "dct" in TABLES[stage.asset].vectors
            flops = work.shapes[stage.backbone].flops(all_tokens=dct)
            of_one = H200.seconds_per_photograph if stage.unit == "photographs" else H200.seconds_per_tile
            seconds += load.passes * of_one(flops)
    return seconds


def _assumptions(work: Work, speeds: Speeds) -> Iterator[str]:
    yield "Measured and assumed:"
    yield from (f"  {note}" for note in speeds.notes)
    yield (
        f"  {H200.name}: {H200.photographs:,.0f} photographs/s and {H200.tiles:,.0f} tiles/s with {H200.model_name} in "
        "bf16 (docs/performance.md);"
    )
    yield f"    {'; '.join(_scaling(work, backbone) for backbone in backbones(work.settings))}"
    yield f"  files are read and written at {COPY_BYTES_PER_SECOND / 1e6:,.0f} MB/s in each process"
    yield from (f"  {note}" for note in dict.fromkeys(work.notes))
    yield "  what was made from a missing or stale artifact counts as remaining, although it may turn out unchanged"
    yield "  downloads, classifiers, submissions, sweeps and reports are not counted"


def _scaling(work: Work, backbone: Backbone) -> str:
    ratio = work.shapes[backbone.name].flops(all_tokens=False) / H200.model.flops(all_tokens=False)
    if work.shapes[backbone.name] == H200.model:
        return f"the {backbone.name} backbone has the same size"
    return f"the {backbone.name} backbone is scaled: it has {ratio:.3g} of the FLOPs of that model"


def _of_backbone(work: Work, backbone: Backbone, *, training: bool) -> list[Stage]:
    """Return the stages that need a backbone: its fine-tuning, or everything else."""
    return [
        stage
        for stage in work.stages
        if stage.backbone == backbone.name and (stage.asset == backbone.asset) == training
    ]


def _passes(stages: Sequence[Stage]) -> tuple[str, str]:
    loads = sum_loads(stage.total for stage in stages), sum_loads(stage.remaining for stage in stages)
    return f"{loads[0].passes:,}", f"{loads[1].passes:,}"


def _name(backbone: Backbone) -> str:
    return f"{backbone.model} at {backbone.input_size} px" if backbone.input_size else backbone.model


def _gigabytes(number: float) -> str:
    if 0 < number < 5e6:
        return "<0.01"
    return f"{number / 1e9:,.2f}" if number < 100e9 else f"{number / 1e9:,.0f}"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield rows with numbers to the right, and texts in the first and last column to the left."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:-1], widths[1:-1], strict=True)), row[-1]]
        yield "  ".join(cells).rstrip()
