"""Checks of the validation plots: whether their truth can be trusted, and what it is a truth of."""

from collections.abc import Iterable

from plantclef_assets.ingest.validation_plots import species_seen
from plantclef_assets.orchestration.checks import Check, Evidence, Finding, none_counted
from plantclef_assets.orchestration.table_checks import labels_in_class_map, table_checks
from plantclef_assets.settings import Settings

_NAMED = 5


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    return {
        "validation_plots": [
            *table_checks("validation_plots"),
            labels_in_class_map(),
            Check(
                "truth_as_pasted",
                "The truth of each plot is the species of which half of a pasted photograph is seen, and no other.",
                _truth_as_pasted,
                blocking=True,
            ),
            Check(
                "held_out_photographs",
                "No photograph, and none of its observation, has trained a classifier or a backbone.",
                none_counted(
                    "not_held_out", "{artifact}: {count} photographs are not held out ({named})", "first_not_held_out"
                ),
                blocking=True,
            ),
            Check("species_covered", "Every held-out species is on some plot.", _species_covered),
        ]
    }


def _truth_as_pasted(evidence: Evidence) -> Iterable[Finding]:
    for artifact in evidence.records:
        for row in evidence.lake.read(artifact, ["plot_id", "species_ids", "objects"]).to_pylist():
            pasted = species_seen(row["objects"])
            if not pasted or row["species_ids"] != pasted:
                said = f"its truth is {row['species_ids']}, but what is seen is {pasted}"
                yield Finding(artifact, f"{artifact}: plot {row['plot_id']}: {said}")


def _species_covered(evidence: Evidence) -> Iterable[Finding]:
    if len(evidence.records) < len(evidence.recipe.artifacts):
        return  # only all shards together can cover all species
    figures = [record.statistics for record in evidence.records.values()]
    held_out = {species for one in figures for species in one.get("held_out_species", [])}
    missing = sorted(held_out - {species for one in figures for species in one.get("species", [])})
    if missing:
        named = ", ".join(map(str, missing[:_NAMED]))
        yield Finding(
            next(iter(evidence.records)),
            f"{len(missing)} of {len(held_out)} held-out species are on no validation plot ({named}); "
            "a greater PLANTCLEF_VALIDATION__PLOTS shows more",
        )
