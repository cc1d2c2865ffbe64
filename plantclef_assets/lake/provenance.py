"""Provenance: recipes of artifacts, and which artifacts are up to date.

A recipe defines what the artifacts of an asset are a function of: a code version bumped by hand, the relevant
configuration, and the input artifacts. From it follow, without reading any data: the expected provenance of an
artifact, whether an existing one is up to date (making it again is then a no-op), and whether it may be an input.
Provenance never contains time, host, engine or worker count.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.inputs import RECORDS_AT_ONCE
from plantclef_assets.lake.sidecars import mismatched_sidecar
from plantclef_assets.lake.store import (
    Artifact,
    DamagedArtifactError,
    Lake,
    LakePath,
    MissingArtifactError,
    Record,
    recorded_name,
)
from plantclef_assets.redaction import without_secrets, without_secrets_in

Config = Mapping[str, Any]
_SHOWN_DIGITS = 12
ORIGIN = "origin"
"""The footer statistic with the address of the photographs that a manifest lists."""


@dataclass(frozen=True)
class Origin:
    """The source that an asset is made from, which distinguishes one survey from another.

    Attributes:
        variable: the setting that names the source.
        location: the value of the setting: a path, or an address without its secrets.
        replaceable: whether an artifact that was made from another source may be replaced.
        holds: checks whether photographs of an artifact exist at the location, for artifacts of earlier versions, which
            have no address in their footer. If None, the address does not distinguish surveys, only the demo from
            other sources.
    """

    variable: str
    location: str | None
    replaceable: bool
    holds: Callable[[Lake, Artifact], bool] | None = None


@dataclass(frozen=True)
class Recipe:
    """The definition of what the artifacts of one asset are a function of."""

    asset: str
    code_version: str
    inputs: Callable[[str | None], tuple[Artifact, ...]] = lambda partition: ()
    """The input artifacts of a partition."""
    config: Callable[[str | None], Config] = lambda partition: {}
    """The relevant settings of a partition, as plain values; called late, because some depend on the device."""
    sources: Callable[[], Config] = dict
    """The identity of files outside the lake; expensive, so only called when the asset itself is made or checked."""
    origin: Origin | None = None
    """The location of these files, for an asset at the beginning of the graph; not part of the provenance."""
    beside: Callable[[Lake, Artifact], tuple[LakePath, ...]] = lambda lake, artifact: ()
    """Sidecars: files that are made with an artifact and must exist too."""
    partitions: tuple[str, ...] | None = None
    suffix: str = "parquet"

    def artifact(self, partition: str | None = None) -> Artifact:
        """Return the artifact of a partition, or the only artifact."""
        return Artifact(self.asset, partition, self.suffix)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All artifacts under the current settings."""
        return tuple(self.artifact(key) for key in (self.partitions or (None,)))


class OtherSourcesError(ValueError):
    """The lake was made from other sources than the settings name, so nothing in it is replaced."""


class StaleInputError(ValueError):
    """An input exists, but is out of date with respect to the settings or its own inputs."""


@dataclass
class Lineage:
    """Compares artifacts of a lake with their recipes; caches records, so create a new instance for each step."""

    lake: Lake
    recipes: Mapping[str, Recipe]
    _records: dict[Artifact, Record | None] = field(default_factory=dict, repr=False)
    _reasons: dict[Artifact, str | None] = field(default_factory=dict, repr=False)

    def record(self, artifact: Artifact) -> Record | None:
        """Return the record of an artifact, which is read once; None if it is not in the lake.

        Raises:
            DamagedArtifactError: its file is damaged.
        """
        if artifact not in self._records:
            self._records[artifact] = self.lake.record(artifact)
        return self._records[artifact]

    def read_ahead(self, artifacts: Iterable[Artifact]) -> None:
        """Read the records of artifacts and of all their inputs concurrently, if the lake is in a bucket."""
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
        """Return the provenance that the artifact would have if it were made now.

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
        """Whether the artifact exists with its sidecars and has exactly this provenance."""
        record = self.record(artifact)
        if record is None or record.provenance != provenance:
            return False
        sidecars = self.recipes[artifact.asset].beside(self.lake, artifact)
        return all(path.exists() for path in sidecars) and mismatched_sidecar(self.lake, artifact, record) is None

    def stale(self, artifact: Artifact, *, with_sources: bool = False) -> str | None:
        """Return why an artifact or one of its inputs is out of date; None if it is up to date."""
        if with_sources or artifact not in self._reasons:
            self._reasons[artifact] = self._find_reason(artifact, with_sources=with_sources)
        return self._reasons[artifact]

    def require_inputs(self, artifact: Artifact) -> None:
        """Raise an error if an input of the artifact is missing or out of date.

        Raises:
            MissingArtifactError: an input is not in the lake.
            StaleInputError: an input is out of date; the message gives the difference.
            DamagedArtifactError: the file of an input is damaged.
        """
        for one in self.recipes[artifact.asset].inputs(artifact.partition):
            if self.record(one) is None:
                raise MissingArtifactError(one, self.lake.path(one))
            reason = self.stale(one)
            if reason:
                raise StaleInputError(f"{artifact} needs {one}, but {reason}; materialize {one.asset} again first")

    def require_same_sources(self) -> None:
        """Raise an error if the lake was made from other sources than the settings name.

        Reads one footer per source; a source is only listed if its address is different or unknown.

        Raises:
            OtherSourcesError: a source differs and must not be replaced; the message names it.
        """
        for recipe in self.recipes.values():
            origin, artifact = recipe.origin, recipe.artifact()
            if origin is None or origin.replaceable:
                continue
            record = self.record(artifact)
            if record is not None and record.rows and not self._is_of(recipe, origin, record):
                was = _origin(record) or _kind_of_source(record)
                raise OtherSourcesError(
                    f"{origin.variable} is {origin.location or 'not set'}, but {artifact} in the lake "
                    f"{self.lake.root} was made from {was}. Nothing is replaced. Set the variables or the "
                    "PLANTCLEF_PROFILE of the survey that this lake belongs to, or another PLANTCLEF_LAKE; "
                    "PLANTCLEF_REPLACE_SOURCES=1 replaces what is there."
                )

    def _is_of(self, recipe: Recipe, origin: Origin, record: Record) -> bool:
        """Whether an artifact was made from the current source of its recipe."""
        artifact = recipe.artifact()
        if record.provenance.get("inputs", {}).keys() != {str(one) for one in recipe.inputs(None)}:
            return False  # the demo and a survey, or training photographs and a checkpoint
        known = _origin(record)
        if origin.holds is None or known == origin.location:
            return True
        if known is None and origin.holds(self.lake, artifact):
            return True
        return record.provenance.get("sources") == recipe.sources()  # the same photographs at another address

    def _try_record(self, artifact: Artifact) -> None:
        with suppress(Exception):  # the error is raised again when the record is needed
            self.record(artifact)

    def _fingerprint(self, artifact: Artifact) -> str:
        record = self.record(artifact)
        if record is None:
            raise MissingArtifactError(artifact, self.lake.path(artifact))
        return record.fingerprint

    def _find_reason(self, artifact: Artifact, *, with_sources: bool) -> str | None:
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
        foreign = mismatched_sidecar(self.lake, artifact, record) if with_sources else None
        if foreign:
            return f"{artifact} was made with a different version of its sidecar {foreign}"
        for one in self.recipes[artifact.asset].inputs(artifact.partition):
            reason = self.stale(one)
            if reason:
                return f"{artifact} was made from {one}, and {reason}"
        return None


def _origin(record: Record) -> str | None:
    """Return the address in the footer of a manifest; an earlier version may have written secrets into it."""
    known = record.statistics.get(ORIGIN)
    return None if known is None else without_secrets(known)


def _kind_of_source(record: Record) -> str:
    """Return the kind of source of an artifact without an address in its footer."""
    kinds = {"demo_survey": "the demo", "finetuned_backbone": "a checkpoint"}
    inputs = record.provenance.get("inputs", {})
    return next((kind for name, kind in kinds.items() if name in inputs), "another survey")


def _difference(artifact: Artifact, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """Return the difference between the stored and the expected provenance in one sentence; None if they are equal."""
    if not stored:
        return f"{artifact} has no provenance"
    made = recorded_name(stored)
    if made not in (str(artifact), None):
        return f"{artifact} is the file of {made}"
    if stored.get("code_version") != expected["code_version"]:
        return f"{artifact} was made by code version {stored.get('code_version')}, not {expected['code_version']}"
    for part in ("config", "sources"):
        if part in expected and stored.get(part) != expected[part]:
            was, now = stored.get(part) or {}, expected[part]
            changed = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
            differences = ", ".join(f"{key} {was.get(key)!r} instead of {now.get(key)!r}" for key in changed)
            return without_secrets_in(f"{artifact} was made with {differences}")  # an earlier version recorded them
    was, now = stored.get("inputs", {}), expected["inputs"]
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key):
            old, new = was.get(key, "none"), now.get(key, "none")
            return (
                f"{artifact} was made from {key} with fingerprint {old[:_SHOWN_DIGITS]}, "
                f"which now has fingerprint {new[:_SHOWN_DIGITS]}"
            )
    return None
