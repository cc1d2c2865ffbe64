"""What follows from the declaration of an asset: recipe, edges, jobs, and the order of the chain."""

from dataclasses import dataclass
from typing import Any

import pytest
from dagster import AllPartitionMapping, AssetExecutionContext, StaticPartitionMapping

from plantclef_assets.lake.store import Artifact
from plantclef_assets.orchestration.assets import build_assets
from plantclef_assets.orchestration.declaration import Asset, Extra, Family, Graph, Job, every, platform_asset, some
from plantclef_assets.orchestration.jobs import chain
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.settings import load_settings

SHARDS, RUNS = Family("shards", ("00", "01")), Family("runs", ("00", "01"))
"""Two families with the same keys."""
FIRST, SECOND, LAST, EARLY = (
    Job("first", ""),
    Job("second", ""),
    Job("last", "", optional=True),
    Job("e", "", early=True),
)


def declared(name: str, *inputs: Any, job: Job = FIRST, **options: Any) -> Asset:
    @platform_asset(name=name, group="g", jobs=[job], code_version="1", kinds=set(), inputs=inputs, **options)
    def asset(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """What it is."""
        return in_this_process(lambda shard: None)

    return asset


def inputs_of(graph: Graph, asset: str, key: str | None = None) -> set[str]:
    return {str(one) for one in graph.recipes[asset].inputs(key)}


def test_a_plain_input_is_the_same_key_or_the_only_artifact() -> None:
    graph = Graph.of([declared("a"), declared("b", "a", partitions=SHARDS), declared("c", "b", "a", partitions=SHARDS)])
    assert inputs_of(graph, "b", "01") == {"a"}
    assert inputs_of(graph, "c", "01") == {"a", "b/01"}
    assert graph.recipes["c"].artifacts == (Artifact("c", "00"), Artifact("c", "01"))


def test_ancestors_are_found_through_others() -> None:
    graph = Graph.of([declared("a"), declared("b", "a"), declared("c", "b", "a"), declared("apart", "a")])
    assert graph.ancestors("c") == {"a", "b"}
    assert graph.ancestors("a") == set()


def test_inputs_of_another_family_say_which_keys_they_read() -> None:
    shards = declared("shards", partitions=SHARDS)
    with pytest.raises(ValueError, match=r"runs reads shards, which has other partitions: use every\(\) or some\(\)"):
        Graph.of([shards, declared("runs", "shards", partitions=RUNS)])
    with pytest.raises(ValueError, match="total reads shards"):
        Graph.of([shards, declared("total", "shards")])
    with pytest.raises(ValueError, match="total reads shrads, which is not declared under these settings"):
        Graph.of([shards, declared("total", every("shrads"))])
    graph = Graph.of(
        [
            shards,
            declared("runs", every("shards"), partitions=RUNS),
            declared("half", some("shards", lambda key: ["00"] if key == "01" else []), partitions=RUNS),
            declared("total", every("shards")),
        ]
    )
    assert inputs_of(graph, "runs", "00") == inputs_of(graph, "total") == {"shards/00", "shards/01"}
    assert (inputs_of(graph, "half", "00"), inputs_of(graph, "half", "01")) == (set(), {"shards/00"})
    settings = load_settings(profile="demo")
    mappings = [
        dep.partition_mapping for built in build_assets(graph, settings) for spec in built.specs for dep in spec.deps
    ]
    expected = [AllPartitionMapping(), StaticPartitionMapping({"00": {"01"}}), AllPartitionMapping()]
    assert mappings == expected


def test_a_configuration_is_recorded_however_it_is_declared() -> None:
    @dataclass(frozen=True)
    class Resizing:
        side: int

    graph = Graph.of(
        [
            declared("mapping", config={"side": 3}),
            declared("dataclass", config=Resizing(3)),
            declared("function", config=lambda key: Resizing(3 if key is None else 4)),
            declared("nothing"),
        ]
    )
    configs = [graph.recipes[name].config(None) for name in graph.assets]
    assert configs == [{"side": 3}, {"side": 3}, {"side": 3}, {}]


def test_the_chain_follows_the_inputs_then_early_jobs_then_the_declaration() -> None:
    graph = Graph.of(
        [
            declared("optional", job=LAST),
            declared("b", "a", job=SECOND),
            declared("a", job=FIRST),
            declared("early", job=EARLY),
        ]
    )
    assert [step.job for step in chain(graph)] == [EARLY, FIRST, SECOND, LAST]


def test_jobs_that_wait_for_each_other_are_refused() -> None:
    graph = Graph.of([declared("a", "c"), declared("b", "a", job=SECOND), declared("c", "b")])
    with pytest.raises(ValueError, match="jobs wait for each other: first, second"):
        chain(graph)
    mixed = Graph.of([declared("a", partitions=SHARDS), declared("b", partitions=RUNS)])
    with pytest.raises(ValueError, match="the job first has assets of several partition families"):
        chain(mixed)


def test_what_needs_a_package_that_is_not_installed_is_left_out_of_jobs() -> None:
    missing = Extra("map", package="a-package", module="a_module_that_nobody_has")
    graph = Graph.of([declared("a"), declared("b", extra=missing), declared("c", extra=Extra("os", "os", "os"))])
    (step,) = chain(graph)
    assert step.assets == ("a", "c")
    assert [asset.name for asset in step.skipped] == ["b"]
    advice = "a-package is not installed; `pip install 'plantclef-assets[map]'` adds it"
    assert missing.advice == advice
