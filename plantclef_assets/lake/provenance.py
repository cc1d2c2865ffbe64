"""Where artifacts come from: recipes, and what follows from them.

A recipe says of an asset what its artifacts are a function of: a code version bumped by hand, the configuration that
matters, and the artifacts that go in. From it follow, without opening any data: what an artifact's provenance should
be now; whether one that exists is up to date (then making it again is a no-op); and whether it may be used.
Provenance never holds time, host, engine or worker count.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.inputs import RECORDS_AT_ONCE
from plantclef_assets.lake.sidecars import foreign_file
from plantclef_assets.lake.store import (
    Artifact,
    DamagedArtifactError,
    Lake,
    LakePath,
    MissingArtifactError,
    Record,
    made_as,
)

Config = Mapping[str, Any]
_SHOWN_DIGITS = 12
ORIGIN = "origin"
"""The figure that holds the address of the photographs that a manifest lists."""


@dataclass(frozen=True)
class Origin:
    """The source that an asset is made from, to tell one survey from another.

    Attributes:
        variable: the setting that names it.
        location: its value: a path or an address.
        replaceable: whether what was made from another source may be replaced.
        holds: whether some photographs of an artifact lie at the location, for one whose footer has no address because
            an earlier version made it. None: the address does not tell surveys apart, only the demo from one's own.
    """

    variable: str
    location: str | None
    replaceable: bool
    holds: Callable[[Lake, Artifact], bool] | None = None


@dataclass(frozen=True)
class Recipe:
    """What the artifacts of one asset are a function of."""

    asset: str
    code_version: str
    inputs: Callable[[str | None], tuple[Artifact, ...]] = lambda partition: ()
    """The artifacts that one partition is made from."""
    config: Callable[[str | None], Config] = lambda partition: {}
    """The settings that matter to a partition, as plain values; called late, since some depend on the device."""
    sources: Callable[[], Config] = dict
    """The identity of files outside the lake; costly, so only asked when the asset itself is made or judged."""
    origin: Origin | None = None
    """Where these files lie, for an asset at the beginning of the graph; no part of the provenance."""
    beside: Callable[[Lake, Artifact], tuple[LakePath, ...]] = lambda lake, artifact: ()
    """Files that are made with an artifact and have to be there too."""
    partitions: tuple[str, ...] | None = None
    suffix: str = "parquet"

    def artifact(self, partition: str | None = None) -> Artifact:
        """Give the artifact of a partition, or the only one."""
        return Artifact(self.asset, partition, self.suffix)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All artifacts that the settings ask for."""
        return tuple(self.artifact(key) for key in (self.partitions or (None,)))


class OtherSourcesError(ValueError):
    """A lake was made from other sources than the settings name, and nothing of it is replaced by mistake."""


class StaleInputError(ValueError):
    """An input exists, but it is not what the settings and its own inputs now ask for."""


@dataclass
class Lineage:
    """Judges artifacts of a lake by their recipes; remembers what it read, so make a new one for each step."""

    lake: Lake
    recipes: Mapping[str, Recipe]
    _records: dict[Artifact, Record | None] = field(default_factory=dict, repr=False)
    _verdicts: dict[Artifact, str | None] = field(default_factory=dict, repr=False)

    def record(self, artifact: Artifact) -> Record | None:
        """Read an artifact's record once; None where it is not in the lake.

        Raises:
            DamagedArtifactError: its file is damaged.
        """
        if artifact not in self._records:
            self._records[artifact] = self.lake.record(artifact)
        return self._records[artifact]

    def read_ahead(self, artifacts: Iterable[Artifact]) -> None:
        """Read the records of artifacts and of all that went into them, several at a time, where each is far away."""
        if not is_in_bucket(self.lake.root):
            return
        wanted: dict[Artifact, None] = {}
        waiting = list(artifacts)
        while waiting:
            artifact = waiting.pop()
            if artifact not in wanted:
                wanted[artifact] = None
                waiting += self.recipes[artifact.asset].inputs(artifact.partition)
        with ThreadPoolExecutor(RECORDS_AT_ONCE) as pool:
            list(pool.map(self._try_record, wanted))

    def expected(self, artifact: Artifact, *, with_sources: bool) -> dict[str, Any]:
        """Give the provenance that an artifact made now would carry.

        Raises:
            MissingArtifactError: one of its inputs is not in the lake.
            DamagedArtifactError: the file of one of its inputs is damaged.
        """
        recipe = self.recipes[artifact.asset]
        provenance: dict[str, Any] = {
            "asset": recipe.asset,
            "partition": artifact.partition,
            "code_version": recipe.code_version,
            "config": dict(recipe.config(artifact.partition)),
            "inputs": {str(one): self._fingerprint(one) for one in recipe.inputs(artifact.partition)},
        }
        return provenance | ({"sources": dict(recipe.sources())} if with_sources else {})

    def is_current(self, artifact: Artifact, provenance: Mapping[str, Any]) -> bool:
        """Whether the artifact exists, with the files that were made with it, and was made in just this way."""
        record = self.record(artifact)
        if record is None or record.provenance != provenance:
            return False
        beside = self.recipes[artifact.asset].beside(self.lake, artifact)
        return all(path.exists() for path in beside) and foreign_file(self.lake, artifact, record) is None

    def stale(self, artifact: Artifact, *, with_sources: bool = False) -> str | None:
        """Say why an artifact is not what the settings ask for; None where it is. Looks at its inputs too."""
        if with_sources or artifact not in self._verdicts:
            self._verdicts[artifact] = self._judge(artifact, with_sources=with_sources)
        return self._verdicts[artifact]

    def require_inputs(self, artifact: Artifact) -> None:
        """Refuse to make an artifact from inputs that are missing or stale.

        Raises:
            MissingArtifactError: an input is not in the lake.
            StaleInputError: an input is not what the settings ask for; the message says in what.
            DamagedArtifactError: the file of an input is damaged.
        """
        for one in self.recipes[artifact.asset].inputs(artifact.partition):
            if self.record(one) is None:
                raise MissingArtifactError(one, self.lake.path(one))
            reason = self.stale(one)
            if reason:
                raise StaleInputError(f"{artifact} needs {one}, but {reason}; materialize {one.asset} again first")

    def require_same_sources(self) -> None:
        """Refuse to work on a lake that was made from other sources than the settings name.

        Costs a footer read for each source; a source is only listed where its address is another or unknown.

        Raises:
            OtherSourcesError: it was, and replacing that is not allowed; the message says which source differs.
        """
        for recipe in self.recipes.values():
            origin, artifact = recipe.origin, recipe.artifact()
            if origin is None or origin.replaceable:
                continue
            record = self.record(artifact)
            if record is not None and record.rows and not self._is_of(recipe, origin, record):
                was = record.figures.get(ORIGIN) or _kind_of_source(record)
                raise OtherSourcesError(
                    f"{origin.variable} is {origin.location or 'not set'}, but {artifact} in the lake "
                    f"{self.lake.root} was made from {was}. Nothing is replaced. Set the variables or the "
                    "PLANTCLEF_PROFILE of the survey that this lake belongs to, or another PLANTCLEF_LAKE; "
                    "PLANTCLEF_REPLACE_SOURCES=1 replaces what is there."
                )

    def _is_of(self, recipe: Recipe, origin: Origin, record: Record) -> bool:
        """Whether an artifact was made from the source that its recipe now names."""
        artifact = recipe.artifact()
        if record.provenance.get("inputs", {}).keys() != {str(one) for one in recipe.inputs(None)}:
            return False  # the demo and a survey, or training photographs and a checkpoint
        known = record.figures.get(ORIGIN)
        if origin.holds is None or known == origin.location:
            return True
        if known is None and origin.holds(self.lake, artifact):
            return True
        return record.provenance.get("sources") == recipe.sources()  # the same photographs at another address

    def _try_record(self, artifact: Artifact) -> None:
        with suppress(Exception):  # whoever needs it is told what is wrong with it
            self.record(artifact)

    def _fingerprint(self, artifact: Artifact) -> str:
        record = self.record(artifact)
        if record is None:
            raise MissingArtifactError(artifact, self.lake.path(artifact))
        return record.fingerprint

    def _judge(self, artifact: Artifact, *, with_sources: bool) -> str | None:
        try:
            record = self.record(artifact)
        except DamagedArtifactError as error:
            return str(error)
        if record is None:
            return f"{artifact} is missing"
        try:
            expected = self.expected(artifact, with_sources=with_sources)
        except (MissingArtifactError, DamagedArtifactError) as error:
            return f"{artifact} lost an input: {error}"
        difference = _difference(artifact, record.provenance, expected)
        if difference:
            return difference
        foreign = foreign_file(self.lake, artifact, record) if with_sources else None
        if foreign:
            return f"{artifact} was made with another {foreign} than lies beside it"
        for one in self.recipes[artifact.asset].inputs(artifact.partition):
            reason = self.stale(one)
            if reason:
                return f"{artifact} was made from {one}, and {reason}"
        return None


def _kind_of_source(record: Record) -> str:
    """Return what an artifact without an address in its footer was made from."""
    kinds = {"demo_survey": "the demo", "finetuned_backbone": "a checkpoint"}
    inputs = record.provenance.get("inputs", {})
    return next((kind for name, kind in kinds.items() if name in inputs), "another survey")


def _difference(artifact: Artifact, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """Say in one sentence how an artifact's provenance differs from the one expected; None where it does not."""
    if not stored:
        return f"{artifact} carries no provenance"
    made = made_as(stored)
    if made not in (str(artifact), None):
        return f"{artifact} is the file of {made}"
    if stored.get("code_version") != expected["code_version"]:
        return f"{artifact} was made by code version {stored.get('code_version')}, not {expected['code_version']}"
    for part in ("config", "sources"):
        if part in expected and stored.get(part) != expected[part]:
            was, now = stored.get(part) or {}, expected[part]
            changed = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
            return f"{artifact} was made with " + ", ".join(
                f"{key} {was.get(key)!r} instead of {now.get(key)!r}" for key in changed
            )
    was, now = stored.get("inputs", {}), expected["inputs"]
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key):
            old, new = was.get(key, "none"), now.get(key, "none")
            return (
                f"{artifact} was made from {key} with fingerprint {old[:_SHOWN_DIGITS]}, "
                f"which now has fingerprint {new[:_SHOWN_DIGITS]}"
            )
    return None
