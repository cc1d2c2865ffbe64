"""Presets: the rules of published systems as runs, added by name.

What belongs here: the rule of each system, and its feature set. Numbers that a team did not publish are chosen here;
docs/runs.md lists them.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from plantclef_assets.settings.runs import RunSettings

_BEST_FIRST = ("finetuned_head", "finetuned_cls", "base_cls")


@dataclass(frozen=True)
class Preset:
    """A run without its feature set, and the feature sets that it can use, the preferred one first."""

    run: dict[str, Any]
    feature_sets: tuple[str, ...] = _BEST_FIRST


PRESETS = {
    "paper": Preset({"tiling": "3x3", "aggregation": "argmax_union"}, ("finetuned_cls", "base_cls")),
    "espitalier": Preset({"tiling": "6x6+5x5+4x4+3x3+2x2+1x1", "aggregation": "bisection", "mean_species_per_plot": 3}),
    "dsgt2025": Preset({"tiling": "4x4", "aggregation": "vote", "min_votes": 2, "min_species": 1, "prior": "region"}),
    "hamburg": Preset(
        {
            "tiling": "4x4+5x5-b10",
            "aggregation": "topk_union",
            "top_per_tile": 1,
            "min_score": 0.1,
            "min_species": 1,
        }
    ),
    "neuon": Preset({"tiling": "4x4", "aggregation": "bayesian", "min_z": 2, "min_species": 1}),
}


def check_presets(names: Iterable[str]) -> None:
    """Check that presets of these names exist.

    Raises:
        ValueError: one does not.
    """
    unknown = [name for name in names if name not in PRESETS]
    if unknown:
        raise ValueError(f"there is no preset '{unknown[0]}'; use some of {', '.join(PRESETS)}")


def preset_runs(names: Iterable[str], feature_sets: Collection[str]) -> dict[str, RunSettings]:
    """Return the runs of presets over the best feature set that exists, as `<feature set>_<preset>`.

    A preset without an existing feature set has no run.
    """
    runs = {}
    for name in names:
        best = next((one for one in PRESETS[name].feature_sets if one in feature_sets), None)
        if best is not None:
            runs[f"{best}_{name}"] = RunSettings(feature_set=best, **PRESETS[name].run)
    return runs
