"""Checks of the embeddings of photographs and tiles."""

from collections.abc import Iterable

from plantclef_assets.checks.judging import Check, Evidence, Finding
from plantclef_assets.checks.tables import table_checks
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    covered = Check("classes_covered", "Every class with photographs has embedded ones.", _classes_covered)
    complete = Check("every_tile", "Every plot has every tile of every tiling.", _every_tile, blocking=True)
    by_asset: dict[str, list[Check]] = {}
    for backbone in settings.backbones:
        by_asset[f"{backbone}_embeddings"] = [*table_checks(f"{backbone}_embeddings"), covered]
        by_asset[f"{backbone}_tile_embeddings"] = [*table_checks(f"{backbone}_tile_embeddings"), complete]
    return by_asset


def _classes_covered(evidence: Evidence) -> Iterable[Finding]:
    if len(evidence.records) < len(evidence.recipe.artifacts):
        return  # only all shards together can cover all classes
    wanted = set(evidence.figures("training_manifest").get("species", []))
    found = {species for record in evidence.records.values() for species in record.figures.get("species", [])}
    missing = sorted(wanted - found)
    if missing:
        named = ", ".join(map(str, missing[:5]))
        yield Finding(next(iter(evidence.records)), f"{len(missing)} species have no embedded photograph ({named})")


def _every_tile(evidence: Evidence) -> Iterable[Finding]:
    from plantclef_assets.vision.tiling import parse_tiling

    for artifact, record in evidence.records.items():
        tilings = evidence.recipe.config(artifact.partition)["tilings"]
        tiles = sum(rows * columns for rows, columns in map(parse_tiling, tilings))
        plots = record.figures.get("rows_out", 0)
        if record.rows != plots * tiles:
            yield Finding(artifact, f"{artifact}: {record.rows} tiles of {plots} plots, not {tiles} each")
