"""Checks of the embeddings of photographs and tiles."""

from collections import Counter
from collections.abc import Iterable, Sequence

from plantclef_assets.lake.store import Artifact
from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.recipes import tile_embeddings_of, tiled_sources
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    covered = Check("classes_covered", "Every class with photographs has embedded ones.", _classes_covered)
    complete = Check("every_tile", "Every plot has every tile of every tiling.", _every_tile, blocking=True)
    by_asset: dict[str, list[Check]] = {}
    for backbone in settings.backbones:
        by_asset[f"{backbone}_embeddings"] = [*table_checks(f"{backbone}_embeddings"), covered]
        for source in tiled_sources(settings):
            tiles = tile_embeddings_of(source, backbone)
            by_asset[tiles] = [*table_checks(tiles), complete]
    return by_asset


def _classes_covered(evidence: Evidence) -> Iterable[Finding]:
    if len(evidence.records) < len(evidence.recipe.artifacts):
        return  # only all shards together can cover all classes
    wanted = set(evidence.figures("training_manifest").get("species", []))
    found = {species for record in evidence.records.values() for species in record.statistics.get("species", [])}
    missing = sorted(wanted - found)
    if missing:
        named = ", ".join(map(str, missing[:5]))
        yield Finding(next(iter(evidence.records)), f"{len(missing)} species have no embedded photograph ({named})")


def _every_tile(evidence: Evidence) -> Iterable[Finding]:
    from plantclef_assets.images.tiling import parse_tiling

    for artifact, record in evidence.records.items():
        tilings = evidence.recipe.config(artifact.partition)["tilings"]
        of_every_plot = [parse_tiling(tiling).tiles for tiling in tilings]
        plots = record.statistics.get("rows_out", 0)
        if None in of_every_plot:
            yield from _every_tile_by_size(evidence, artifact, plots, tilings)
            continue
        tiles = sum(count or 0 for count in of_every_plot)
        if record.rows != plots * tiles:
            yield Finding(artifact, f"{artifact}: {record.rows} tiles of {plots} plots, not {tiles} each")


def _every_tile_by_size(
    evidence: Evidence, artifact: Artifact, count: int, tilings: Sequence[str]
) -> Iterable[Finding]:
    """Count the tiles of each plot where their number depends on its size."""
    from plantclef_assets.images.tiling import tile_boxes

    plots, *_ = evidence.recipe.inputs(artifact.partition)
    sizes = evidence.lake.read(plots, ["plot_id", "width", "height"])
    found = Counter(evidence.lake.read(artifact, ["plot_id"]).column("plot_id").to_pylist())
    if len(found) != count:
        yield Finding(artifact, f"{artifact}: tiles of {len(found)} plots, not {count}")
    for row in sizes.to_pylist():
        plot, size = row["plot_id"], (row["width"], row["height"])
        if plot in found:
            tiles = sum(len(tile_boxes(*size, tiling)) for tiling in tilings)
            if found[plot] != tiles:
                yield Finding(artifact, f"{artifact}: {found[plot]} tiles of plot {plot}, not {tiles}")
