"""How an asset is declared: once, with all that it is a function of; the rest of the platform is derived from that.

From a declaration follow the asset in Dagster (dependencies and partition mappings, pool, backfill policy), the recipe
that its provenance is compared with, its checks, its jobs, and its place in the chain. What belongs here: the
declaration. What does not: any asset (`defs/`), and what is derived (`assets.py`, `check_runner.py`, `jobs.py`).
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from dagster import StaticPartitionsDefinition

from plantclef_assets.lake.provenance import Config, Origin, Recipe
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.orchestration.checks import Check
from plantclef_assets.orchestration.materialization import MakeShards
from plantclef_assets.orchestration.metadata import Describe, Presentation

Sidecars = Callable[[Lake, Artifact], tuple[LakePath, ...]]


@dataclass(frozen=True)
class Family:
    """A partition family: the keys that its assets share.

    Attributes:
        name: of the family, which tells it from another one with the same keys.
        keys: in order.
        reserve: whether its keys are taken one by one as data arrives, so that a key without data is not missing.
    """

    name: str
    keys: tuple[str, ...]
    reserve: bool = False

    @cached_property
    def definition(self) -> StaticPartitionsDefinition:
        """The family as Dagster knows it."""
        return StaticPartitionsDefinition(list(self.keys))


@dataclass(frozen=True)
class Job:
    """A part of the chain that is launched as one run, over a range of one partition family.

    Attributes:
        name: of the job.
        description: what it covers, and which partitions it needs.
        early: whether the chain begins with it as soon as its inputs exist, since it finds mistakes within seconds.
        optional: whether the chain can do without it; it then comes last.
    """

    name: str
    description: str
    early: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Extra:
    """An optional dependency: a package of an extra of plantclef-assets, and the module that it brings."""

    name: str
    package: str
    module: str

    @property
    def installed(self) -> bool:
        """Whether the module can be imported."""
        return find_spec(self.module) is not None

    @property
    def advice(self) -> str:
        """The sentence that says how to get it."""
        return f"{self.package} is not installed; `pip install 'plantclef-assets[{self.name}]'` adds it"


@dataclass(frozen=True)
class Input:
    """An asset that another one reads.

    Attributes:
        asset: the name of the upstream asset.
        keys: return the upstream keys that a key of the downstream asset reads, `[None]` for an upstream asset without
            partitions. None: the same key, or the one artifact of an upstream asset without partitions.
        all_keys: whether each downstream key reads every upstream key.
    """

    asset: str
    keys: Callable[[str | None], Iterable[str | None]] | None = None
    all_keys: bool = False


def every(asset: str) -> Input:
    """Read all partitions of an asset."""
    return Input(asset, all_keys=True)


def some(asset: str, keys: Callable[[str | None], Iterable[str | None]]) -> Input:
    """Read those partitions of an asset that `keys` returns for a partition of the reading asset."""
    return Input(asset, keys)


@dataclass(frozen=True)
class Asset:
    """An asset of the platform, see `platform_asset` for the attributes."""

    name: str
    group: str
    description: str
    body: Callable[..., MakeShards]
    kinds: frozenset[str]
    jobs: tuple[Job, ...]
    code_version: str
    inputs: tuple[Input, ...]
    config: Callable[[str | None], Config]
    sources: Callable[[], Config]
    family: Family | None
    checks: tuple[Check, ...]
    shown: Presentation
    sidecars: Sidecars
    origin: Origin | None
    advice: Sequence[str]
    accelerated: bool
    suffix: str
    extra: Extra | None
    for_people: bool

    @property
    def available(self) -> bool:
        """Whether the optional dependency that it needs, if any, is installed."""
        return self.extra is None or self.extra.installed

    def artifact(self, key: str | None = None) -> Artifact:
        """Return the artifact of a key, or the only one of an asset without partitions."""
        return Artifact(self.name, key, self.suffix)


def platform_asset(
    *,
    group: str,
    jobs: Sequence[Job],
    code_version: str,
    kinds: set[str],
    name: str | None = None,
    description: str | None = None,
    inputs: Iterable[str | Input] = (),
    config: Any = None,
    sources: Callable[[], Config] = dict,
    partitions: Family | None = None,
    checks: Iterable[Check] = (),
    describe: Describe | None = None,
    results: Sequence[str] = (),
    sidecars: Sidecars = lambda lake, artifact: (),
    origin: Origin | None = None,
    advice: Sequence[str] = (),
    accelerated: bool = False,
    suffix: str = "parquet",
    extra: Extra | None = None,
    for_people: bool = False,
) -> Callable[[Callable[..., MakeShards]], Asset]:
    """Declare an asset. The function below the decorator returns what makes its shards; Dagster hands it the resources.

    It is called only when there is something to make. Missing or stale inputs are refused before, artifacts that are up
    to date are left alone, and each shard that was made is recorded with its metadata.

    Args:
        group: in the UI.
        jobs: which the asset is part of.
        code_version: bumped by hand when the same inputs give other bytes.
        kinds: the tags that the UI shows.
        name: the function's name if not given.
        description: the function's docstring if not given.
        inputs: the assets that it reads. A plain name reads the same key of the same partition family, or the one
            artifact of an asset without partitions; `every` and `some` read across families.
        config: the settings that the bytes depend on: a mapping, a dataclass, or a function of the partition key where
            they differ by partition or depend on the device.
        sources: the identities of files outside the lake; costly, so only computed when the asset is made or checked.
        partitions: the family; None for one artifact.
        checks: besides those that follow from the schema of its table.
        describe: its own metadata in the UI.
        results: the statistics of its artifacts that the UI shows first.
        sidecars: files that are written with an artifact and belong to it.
        origin: the source of an asset at the beginning of the graph, to tell one survey from another.
        advice: the fields of the settings to change where an artifact cannot be made.
        accelerated: whether it holds the accelerator while it makes shards.
        suffix: of its files.
        extra: an optional dependency that it needs; jobs and schedules leave it out where that is not installed.
        for_people: whether people wait for it, so that the UI calls it overdue where the settings say when.
    """

    def declare(body: Callable[..., MakeShards]) -> Asset:
        return Asset(
            name=name or body.__name__,
            group=group,
            description=description or inspect.cleandoc(body.__doc__ or ""),
            body=body,
            kinds=frozenset(kinds),
            jobs=tuple(jobs),
            code_version=code_version,
            inputs=tuple(Input(one) if isinstance(one, str) else one for one in inputs),
            config=_config_function(config),
            sources=sources,
            family=partitions,
            checks=tuple(checks),
            shown=Presentation(describe, results),
            sidecars=sidecars,
            origin=origin,
            advice=advice,
            accelerated=accelerated,
            suffix=suffix,
            extra=extra,
            for_people=for_people,
        )

    return declare


@dataclass(frozen=True)
class Graph:
    """All assets that the settings ask for, in the order of the chain's stages."""

    assets: Mapping[str, Asset]

    @classmethod
    def of(cls, assets: Iterable[Asset]) -> "Graph":
        """Return the graph of declared assets.

        Raises:
            ValueError: an asset reads one that is not declared, or one of another family without saying which keys.
        """
        graph = cls({asset.name: asset for asset in assets})
        for asset in graph.assets.values():
            for one in asset.inputs:
                if one.asset not in graph.assets:
                    raise ValueError(f"{asset.name} reads {one.asset}, which is not declared under these settings")
                family = graph.assets[one.asset].family
                if one.keys is None and not one.all_keys and family not in (None, asset.family):
                    raise ValueError(
                        f"{asset.name} reads {one.asset}, which has other partitions: use every() or some()"
                    )
        return graph

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """What each artifact is a function of, by asset."""
        return {asset.name: self._recipe(asset) for asset in self.assets.values()}

    def ancestors(self, name: str) -> set[str]:
        """Return the names of the assets that an asset is made from, directly or through others."""
        found, waiting = set(), [name]
        while waiting:
            read = {one.asset for one in self.assets[waiting.pop()].inputs} - found
            found |= read
            waiting += read
        return found

    def upstream_keys(self, one: Input, key: str | None) -> Iterable[str | None]:
        """Return the keys of an input that a key of the reading asset needs."""
        family = self.assets[one.asset].family
        if one.keys is not None:
            return one.keys(key)
        if family is None:
            return (None,)
        return family.keys if one.all_keys else (key,)

    def _recipe(self, asset: Asset) -> Recipe:
        def inputs(key: str | None) -> tuple[Artifact, ...]:
            return tuple(self._artifacts_read(asset, key))

        return Recipe(
            asset.name,
            asset.code_version,
            inputs=inputs,
            config=asset.config,
            sources=asset.sources,
            origin=asset.origin,
            beside=asset.sidecars,
            partitions=asset.family.keys if asset.family else None,
            suffix=asset.suffix,
        )

    def _artifacts_read(self, asset: Asset, key: str | None) -> Iterator[Artifact]:
        for one in asset.inputs:
            for upstream in self.upstream_keys(one, key):
                yield self.assets[one.asset].artifact(upstream)


def _config_function(config: Any) -> Callable[[str | None], Config]:
    if callable(config):
        return lambda key: _as_mapping(config(key))
    return lambda key: _as_mapping(config)


def _as_mapping(config: Any) -> Config:
    values = asdict(config) if is_dataclass(config) else config or {}  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, where tuples are lists; provenance is compared with what was read."""
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
