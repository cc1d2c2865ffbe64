"""The world of the trials: the tiny survey, a complete undisturbed lake, and comparing a lake with it."""

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import torch

from plantclef_assets.cli.lake import verify_tensors
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.cleaning import delete_leftover, find_leftovers
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.verification import verify_artifacts
from plantclef_assets.models import separation
from plantclef_assets.orchestration.declaration import Graph
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets_tests.inboxes import SETTLED_AT_ONCE, deliver
from plantclef_assets_tests.tiny import write_tiny_survey
from tools.chaos.processes import Action, Fork, count_events, fork
from tools.chaos.steps import DELIVERIES, Step, make_assets

_STATES = "training/"
_BUILD_SECONDS = 600.0
"""Time for all assets of the undisturbed lake, on a loaded machine."""
Snapshot = Mapping[str, str]
"""Digest of each file of a lake, by its name below the root."""


@dataclass
class World:
    """A folder with the survey, the lake under test and its undisturbed copy.

    Attributes:
        folder: an empty folder, readable by other users.
    """

    folder: Path
    moments: dict[str, tuple[int, float]] = field(default_factory=dict)
    """File events and seconds of computing of an undisturbed run, by step."""

    @property
    def lake(self) -> Path:
        """The lake under test."""
        return self.folder / "lake"

    @property
    def survey(self) -> Path:
        """The sources."""
        return self.folder / "survey"

    def variables(self) -> dict[str, str]:
        """Return the variables of the tiny survey, without fine-tuning."""
        values = {
            "profile": self.survey / "tiny.toml",
            "lake": self.lake,
            "cache": self.folder / "cache",
            "training_metadata": self.survey / "metadata.csv",
            "training_images": self.survey / "images",
            "plot_images": self.survey / "plots",
            "plot_truth": self.survey / "truth.csv",
            "training_shards": 3,
            "plot_shards": 2,
            "base_model": "vit_mini_patch14_reg4_dinov2",
            "base_weights": self.survey / "weights.safetensors",
            "base_input_size": 42,
            "image_size": 48,
            "workers": 1,
            "classifier__epochs": 15,
            "validation__plots": 6,
            "validation__side": 240,
        }
        named = {f"PLANTCLEF_{name.upper()}": str(value) for name, value in values.items()}
        return named | {"DAGSTER_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"}

    @cached_property
    def settings(self) -> Settings:
        """The settings of the lake under test, in which every asset exists."""
        return load_settings()

    @cached_property
    def graph(self) -> Graph:
        """The graph of the settings."""
        return build_graph(self.settings)

    def build(self) -> None:
        """Write the survey and the undisturbed lake; sets the variables of this process.

        Raises:
            RuntimeError: the undisturbed run failed, or its lake does not hold all rows.
        """
        torch.set_num_threads(1)
        separation.LEAST_ROWS_FOR_UMAP = 1000  # compiling UMAP takes longer than all other steps
        for name in [name for name in os.environ if name.startswith("PLANTCLEF_")]:
            del os.environ[name]
        finetuned = {
            "PROFILE": self.survey / "finetuned.toml",
            "FINETUNED_WEIGHTS": "train",
            "FINETUNING__HEAD_EPOCHS": 5,
            "FINETUNING__EPOCHS": 2,
            "FINETUNING__BATCH_SIZE": 12,
            "FINETUNING__HOLDOUT_SHARE": 0.3,
            "INBOX": self.folder / "inbox",
            "INBOX_SHARDS": 3,
            "INBOX_SETTLE_SECONDS": SETTLED_AT_ONCE,
        }
        os.environ.update(self.variables() | {f"PLANTCLEF_{name}": str(value) for name, value in finetuned.items()})
        self.write_survey()
        inputs = {name: {one.asset for one in asset.inputs} for name, asset in self.graph.assets.items()}
        everything = [name for name in TopologicalSorter(inputs).static_order() if name != DELIVERIES]
        self.run(lambda: deliver(self.settings, [[1, 2], [3, 4]]))
        self.run(lambda: make_assets(self.settings, self.graph, everything))
        self.run(lambda: verify_and_clean(self.settings, self.graph, []))
        shutil.copytree(self.lake, self.undisturbed_lake)

    def write_survey(self) -> None:
        """Write the sources, once.

        Raises:
            RuntimeError: it failed.
        """
        if not self.survey.exists():
            for name in ("home", "inbox"):
                (self.folder / name).mkdir()
            self.run(lambda: write_tiny_survey(self.survey))

    @property
    def undisturbed_lake(self) -> Path:
        """The copy of the lake that no fault has touched."""
        return self.folder / "undisturbed"

    @cached_property
    def undisturbed(self) -> Snapshot:
        """The files of the undisturbed lake."""
        return snapshot(self.undisturbed_lake)

    def fork(self, function: Action, actions: dict[int, Action] | None = None, name: str = "trial") -> Fork:
        """Run a function in a forked process, with actions at file events in the lake."""
        return fork(function, self.folder / f"{name}.log", self.lake, actions)

    def run(self, function: Action) -> None:
        """Run a function in a forked process without a fault.

        Raises:
            RuntimeError: it failed; with the end of its output.
        """
        running = self.fork(function, name="undisturbed")
        if running.wait(_BUILD_SECONDS) != 0:
            raise RuntimeError(running.log.read_text()[-3000:])

    def make(self, step: Step, **changes: Any) -> Action:
        """Return a function that makes a step, with changed settings if given."""
        if not changes:
            return lambda: make_assets(self.settings, self.graph, step.assets)
        settings = Settings(**(self.settings.model_dump() | changes))
        return lambda: make_assets(settings, build_graph(settings), step.assets)

    def moment(self, step: Step, share: float) -> tuple[int, float]:
        """Return the file event and the second of computing at a share (0 to 1) of an undisturbed run of a step."""
        self.measure(step)
        events, seconds = self.moments[step.name]
        return 1 + int(share * events), share * seconds

    def measure(self, step: Step) -> None:
        """Run a step once without a fault, to know its moments; the lake has to be the undisturbed one."""
        if step.name not in self.moments:
            self.remove(step)
            counted = count_events(self.make(step), self.folder / "counting.log", self.lake)
            self.moments[step.name] = counted
            self.restore()

    def remove(self, step: Step) -> None:
        """Delete the files of a step from the lake."""
        for name in [name for name in self.undisturbed if step.holds(name)]:
            (self.lake / name).unlink(missing_ok=True)
        for folder in sorted((path for path in self.lake.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()

    def restore(self) -> None:
        """Bring the lake back to the undisturbed one."""
        now = snapshot(self.lake)
        if now == self.undisturbed:
            return
        for name in now.keys() - self.undisturbed.keys():
            _delete(self.lake / name)
        for name in [name for name, digest in self.undisturbed.items() if now.get(name) != digest]:
            _delete(self.lake / name)
            (self.lake / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.undisturbed_lake / name, self.lake / name)
        for folder in self.lake.rglob(".*.incomplete"):
            _delete(folder)

    def recover(self, assets: Sequence[str]) -> str | None:
        """Restart without a fault: make assets, verify and clean; return the end of its output if that fails."""
        restarted = self.fork(
            lambda: (
                make_assets(self.settings, self.graph, assets),
                verify_and_clean(self.settings, self.graph, assets),
            ),
            name="restart",
        )
        return None if restarted.wait() == 0 else restarted.log.read_text()[-1500:]


_digests: dict[tuple[str, int, int, int], str] = {}
"""Digests that were computed before, by path, inode, size and time of the last change of the inode (ns)."""


def snapshot(lake: Path) -> dict[str, str]:
    """Return the digest of each file of a lake; that of a folder in the place of a file or an unreadable file is ""."""
    found = {}
    for path in sorted(lake.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(lake).as_posix()] = ""
        elif path.is_file():
            found[path.relative_to(lake).as_posix()] = _digest(path)
    return found


def _digest(path: Path) -> str:
    status = path.stat()
    key = (str(path), status.st_ino, status.st_size, status.st_ctime_ns)
    if key not in _digests:
        _digests[key] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return _digests[key]


def is_visible(name: str) -> bool:
    """Whether a file of a lake is neither temporary nor the state of a training."""
    return not name.startswith(_STATES) and not any(part.startswith(".") for part in name.split("/"))


def unaccounted_rows(lake: Lake, graph: Graph) -> list[str]:
    """Return the artifacts whose rows read are not their rows written plus the quarantined ones."""
    found = []
    for recipe in graph.recipes.values():
        for artifact in recipe.artifacts:
            record = lake.record(artifact)
            rows_in, quarantined = (record and record.statistics.get(name) for name in ("rows_in", "quarantined"))
            if record is None or rows_in is None or quarantined is None:
                continue
            if rows_in != record.statistics.get("rows_out", record.rows) + quarantined:
                found.append(str(artifact))
    return found


def verify_and_clean(settings: Settings, graph: Graph, assets: Collection[str]) -> None:
    """Read artifacts completely, delete what is left over, and count the rows, as the commands do.

    Raises:
        RuntimeError: an artifact is damaged, or rows are missing.
    """
    lake = Lake(settings.lake, settings.cache)
    problems = [problem for _, problem in verify_artifacts(lake, assets, graph.recipes, verify_tensors) if problem]
    if problems:
        raise RuntimeError("\n".join(problems))
    for leftover in find_leftovers(lake, graph.recipes):
        delete_leftover(lake, leftover)
    missing = unaccounted_rows(lake, graph)
    if missing:
        raise RuntimeError(f"rows are missing in {', '.join(missing)}")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
