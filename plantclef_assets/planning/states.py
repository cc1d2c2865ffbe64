"""Which artifacts of an asset are up to date, missing or stale, from their footers."""

from collections.abc import Collection

from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, MissingArtifactError
from plantclef_assets.orchestration.declaration import Asset, Graph

STATES = ("up to date", "missing", "stale")


def artifact_states(graph: Graph, lineage: Lineage, asset: str, *, with_sources: bool = True) -> dict[Artifact, str]:
    """Return the state of each artifact of an asset; for assets in the order of the graph.

    Args:
        graph: all assets.
        lineage: the lake.
        asset: the name of the asset.
        with_sources: whether files outside the lake are compared too.
    """
    recipe = graph.recipes[asset]
    lineage.read_ahead(recipe.artifacts)
    return {artifact: _state(lineage, artifact, with_sources) for artifact in recipe.artifacts}


def quick_states(graph: Graph, lineage: Lineage, asset: str, stale: Collection[str]) -> dict[Artifact, str]:
    """Return the states by one listing and one footer: the first artifact that exists decides for the others.

    Args:
        graph: all assets.
        lineage: the lake.
        asset: the name of the asset.
        stale: assets that are known to be stale; what reads them is stale, too.
    """
    declared, artifacts = graph.assets[asset], graph.recipes[asset].artifacts
    there = _existing(lineage, artifacts)
    state = "up to date"
    if any(one.asset in stale for one in declared.inputs) or (there and _differs(lineage, declared, there[0])):
        state = "stale"
    existing = set(there)
    return {artifact: state if artifact in existing else "missing" for artifact in artifacts}


def _state(lineage: Lineage, artifact: Artifact, with_sources: bool) -> str:
    try:
        if lineage.record(artifact) is None:
            return "missing"
    except ValueError:  # damaged: a run replaces it
        return "stale"
    return "stale" if lineage.stale(artifact, with_sources=with_sources) else "up to date"


def _existing(lineage: Lineage, artifacts: Collection[Artifact]) -> list[Artifact]:
    folders = {lineage.lake.path(artifact).parent for artifact in artifacts}
    names = {(str(folder), path.name) for folder in folders if folder.is_dir() for path in folder.iterdir()}
    paths = {artifact: lineage.lake.path(artifact) for artifact in artifacts}
    return [artifact for artifact, path in paths.items() if (str(path.parent), path.name) in names]


def _differs(lineage: Lineage, asset: Asset, artifact: Artifact) -> bool:
    """Whether the provenance of an artifact is not what it would be now; its inputs are not looked into."""
    if any(one.all_keys for one in asset.inputs):
        return False  # comparing would read a footer of every shard
    try:
        record = lineage.record(artifact)
        expected = lineage.expected(artifact, with_sources=False)
    except (MissingArtifactError, ValueError):
        return True
    return record is None or any(record.provenance.get(name) != value for name, value in expected.items())
