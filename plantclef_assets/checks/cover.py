"""Checks of the cover of species."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from plantclef_assets.lake.store import Artifact
from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.recipes import answered_sources, cover_of
from plantclef_assets.scoring.cover import union_area
from plantclef_assets.scoring.cover_files import box_of
from plantclef_assets.settings import Settings

_NAMED = 5
_TOLERANCE = 1e-9


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    return {asset: _checks_of(asset) for asset in map(cover_of, answered_sources(settings))}


def _checks_of(asset: str) -> list[Check]:
    return [
        *table_checks(asset),
        Check("every_plot", "Every plot of the shard is there, and no other.", _every_plot, blocking=True),
        Check(
            "cover_valid",
            "Coverage and uncovered lie in [0, 1] and are those of the tiles that are told.",
            _cover_valid,
            blocking=True,
        ),
    ]


def _every_plot(evidence: Evidence) -> Iterable[Finding]:
    for artifact in evidence.records:
        images = _plots_of(evidence, artifact)
        wanted, found = (
            set(evidence.lake.read(one, ["plot_id"]).column("plot_id").to_pylist()) for one in (images, artifact)
        )
        for plots, problem in ((wanted - found, "are missing"), (found - wanted, "are not of this shard")):
            if plots:
                named = ", ".join(sorted(plots)[:_NAMED])
                yield Finding(artifact, f"{artifact}: {len(plots)} plots {problem} ({named})")


def _plots_of(evidence: Evidence, artifact: Artifact) -> Artifact:
    _, plots, _ = evidence.recipe.inputs(artifact.partition)
    return plots


def _cover_valid(evidence: Evidence) -> Iterable[Finding]:
    """Compute the areas again from the tiles: per species, and over all species of a plot."""
    for artifact in evidence.records:
        images = evidence.lake.read(_plots_of(evidence, artifact), ["plot_id", "width", "height"])
        area = {row["plot_id"]: row["width"] * row["height"] for row in images.to_pylist()}
        table = evidence.lake.read(artifact, ["plot_id", "species_id", "coverage", "uncovered", "positions"])
        boxes_of = defaultdict(list)
        uncovered = defaultdict(set)
        for row in table.to_pylist():
            plot, boxes = row["plot_id"], [box_of(position) for position in row["positions"]]
            boxes_of[plot] += boxes
            uncovered[plot].add(row["uncovered"])
            share = union_area(np.array(boxes)) / area[plot]
            if not abs(row["coverage"] - share) <= _TOLERANCE:
                named = f"coverage of species {row['species_id']} in plot {plot}"
                yield Finding(artifact, f"{artifact}: {named} is {row['coverage']:.6g}, its tiles cover {share:.6g}")
        for plot, boxes in boxes_of.items():
            share = 1 - union_area(np.array(boxes)) / area[plot]
            if any(not abs(value - share) <= _TOLERANCE for value in uncovered[plot]):
                said = ", ".join(f"{value:.6g}" for value in sorted(uncovered[plot]))
                yield Finding(
                    artifact, f"{artifact}: uncovered of plot {plot} is {said}, its tiles leave {share:.6g} uncovered"
                )
