"""Dagster's share: a range and a no-op with Dagster against the same calls without it, and the demo's chain.

The range resizes the photographs of a small survey of the demo's flora, cut into many shards, in one worker. The
domain's calls are those of a run: plan, make, read the records. What Dagster adds is the rest of a run's time: steps
and events, the checks, and for a command the start of Python and the loading of the definitions. In the demo, the
makers' seconds are those that each materialization records; the rest is Dagster, checks, planning, pictures for the
UI, and imports.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dagster import AssetKey, AssetSelection, DagsterInstance, Definitions, define_asset_job

from benchmarks.results import Results
from benchmarks.timing import Size
from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.demo.survey import write_survey
from plantclef_assets.engines.local import run_shards
from plantclef_assets.images.resizing import ResizedImages, ResizingConfig
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.settings import Settings, load_settings

_ASSET = "resized_images"
_DOMAIN, _BARE, _CHECKED = "the domain's calls", "a run of Dagster without checks", "a run of Dagster with checks"
_COMMAND = "dagster asset materialize, from its start"
_UNITS = {"seconds": "s", "per shard": "ms", "Dagster's share": "%"}


@dataclass(frozen=True)
class Chain:
    """A survey with its settings, in a folder.

    Attributes:
        folder: holds the survey, the lake and Dagster's instance.
        values: the settings that are not the profile's, as `load_settings` takes them.
    """

    folder: Path
    values: Mapping[str, Any]

    @property
    def settings(self) -> Settings:
        """The settings, for this process."""
        return load_settings(**self.values)

    @property
    def home(self) -> Path:
        """The folder of Dagster's instance."""
        return self.folder / "home"

    def command(self, *arguments: str) -> None:
        """Run a Python command with these settings on the instance.

        Raises:
            RuntimeError: the command failed.
        """
        words = {name: "none" if value is None else str(value) for name, value in self.values.items()}
        variables = {f"PLANTCLEF_{name.upper()}": word for name, word in words.items()}
        self.home.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=os.environ | variables | {"DAGSTER_HOME": str(self.home)},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def measure(results: Results, size: Size) -> None:
    """Measure a range, its no-op, and the demo."""
    shards = {Size.SMALL: 4, Size.USUAL: 512, Size.FULL: 512}[size]
    photographs = {Size.SMALL: 100, Size.USUAL: 540, Size.FULL: 1080}[size]
    with tempfile.TemporaryDirectory() as folder:
        survey = Path(folder, "survey")
        species, plots = (6, 4) if size is Size.SMALL else (24, photographs // 22)
        write_survey(survey, species=species, photographs=photographs, plots=plots)
        _measure_range(results, _chain(Path(folder, "range"), survey, training_shards=shards), shards)
        if size is Size.SMALL:
            return  # the demo's whole chain takes minutes, and other tests run it
        changes = {} if size is Size.FULL else {"finetuned_weights": None}
        _measure_demo(results, _chain(Path(folder, "demo"), survey, **changes), photographs)


def _chain(folder: Path, survey: Path, **changes: Any) -> Chain:
    folder.mkdir()
    sources = {
        "training_metadata": survey / "metadata.csv",
        "training_images": survey / "images",
        "plot_images": survey / "plots",
        "plot_truth": survey / "plots_truth.csv",
    }
    named = {name: str(path) for name, path in sources.items()}
    return Chain(folder, {"profile": "demo", "lake": str(folder / "lake"), "workers": 1, **named, **changes})


def _measure_range(results: Results, chain: Chain, shards: int) -> None:
    keys = shard_keys(shards)
    chain.command(*_materialize("training_metadata,class_map,training_manifest"))
    chain.command(*_materialize("raw_images", keys))
    lake = Lake(chain.settings.lake)
    made = [lake.path(Artifact(_ASSET, key)) for key in keys]
    arms: dict[str, Callable[[], object]] = {
        _DOMAIN: partial(_domain_calls, chain.settings, keys),
        _BARE: partial(_run, chain.settings, keys, checks=False),
        _CHECKED: partial(_run, chain.settings, keys, checks=True),
        _COMMAND: partial(chain.command, *_materialize(_ASSET, keys)),
    }
    seconds: dict[str, dict[str, float]] = {"making": {}, "no-op": {}}
    contents: list[bytes] | None = None
    _run(chain.settings, keys[:1], checks=True)  # imports what a first run imports
    for name, work in arms.items():
        for path in made:
            path.unlink(missing_ok=True)
        seconds["making"][name] = _seconds(work)
        stamps = [path.stat().st_mtime_ns for path in made]
        contents = contents or [path.read_bytes() for path in made]
        if [path.read_bytes() for path in made] != contents:
            raise RuntimeError(f"{name} has not made the same files as {_DOMAIN}")
        seconds["no-op"][name] = _seconds(work)
        if [path.stat().st_mtime_ns for path in made] != stamps:
            raise RuntimeError(f"{name} has made files again that were up to date")
    for what, of_arm in seconds.items():
        results.start(f"Dagster's share of {shards} shards of {_ASSET}, {what}", _UNITS, _DOMAIN)
        for name, taken in of_arm.items():
            share = 1 - of_arm[_DOMAIN] / taken
            results.add(name, {"seconds": taken, "per shard": 1000 * taken / shards, "Dagster's share": 100 * share})


def _domain_calls(settings: Settings, keys: list[str]) -> None:
    """Do what a run of Dagster does for a range: plan, make what is not up to date, and read its records."""
    lake = Lake(settings.lake, settings.cache)
    lineage = Lineage(lake, build_graph(settings).recipes)
    lineage.require_same_sources()
    artifacts = [Artifact(_ASSET, key) for key in keys]
    lineage.read_ahead(artifacts)
    shards = []
    for artifact in artifacts:
        lineage.require_inputs(artifact)
        provenance = lineage.expected(artifact, with_sources=True)
        if not lineage.is_current(artifact, provenance):
            origin = lineage.recipes[_ASSET].origin
            shards.append(Shard(artifact, provenance, origin.location if origin else None))
    make = ResizedImages(lake, ResizingConfig(settings.image_size, settings.max_pixels))
    for outcome in run_shards(make, shards, workers=1):
        if outcome.error:
            raise outcome.error
        lake.record(outcome.shard.artifact)


def _run(settings: Settings, keys: list[str], *, checks: bool) -> None:
    """Run a range in this process, on an instance that is forgotten."""
    selection = AssetSelection.assets(_ASSET)
    job = define_asset_job("measured", selection if checks else selection.without_checks())
    defs = Definitions.merge(build_defs(settings), Definitions(jobs=[job]))
    limits = {"start": keys[0], "end": keys[-1]}
    with DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def("measured").execute_in_process(
            instance=instance,
            tags={f"dagster/asset_partition_range_{end}": key for end, key in limits.items()},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def _measure_demo(results: Results, chain: Chain, photographs: int) -> None:
    """Run the chain twice, and compare its time with that of the makers."""
    first = _seconds(partial(chain.command, "plantclef_assets"))
    made = _makers_seconds(chain)
    second = _seconds(partial(chain.command, "plantclef_assets"))
    units = {"seconds": "s", "makers": "s", "share of the rest": "%"}
    results.start(f"Dagster's share of the demo, {photographs:,} photographs, 1 worker", units)
    results.add("first run", {"seconds": first, "makers": made, "share of the rest": 100 * (1 - made / first)})
    results.add("second run, all up to date", {"seconds": second, "makers": 0.0, "share of the rest": 100.0})


def _makers_seconds(chain: Chain) -> float:
    """Return the seconds that the makers took for all artifacts of the instance's runs."""
    total = 0.0
    with DagsterInstance.from_config(str(chain.home)) as instance:
        for asset in build_graph(chain.settings).assets:
            for record in instance.fetch_materializations(AssetKey(asset), limit=1000).records:
                event = record.asset_materialization
                if event is not None and "seconds" in event.metadata:
                    total += float(str(event.metadata["seconds"].value))
    return total


def _materialize(selection: str, keys: list[str] | None = None) -> list[str]:
    """Return the arguments of Python for a command of Dagster."""
    command = ["dagster", "asset", "materialize", "-m", "plantclef_assets.definitions", "--select", selection]
    return [*command, "--partition-range", f"{keys[0]}...{keys[-1]}"] if keys else command


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
