"""Presets: rules of published systems as runs, added by name.

What belongs here: which rule each is, and over which feature set. Where a team's own number is not known, it is a
choice; docs/runs.md says which.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from plantclef_assets.settings.tables import RunSettings

_BEST_FIRST = ("finetuned_head", "finetuned_cls", "base_cls")


@dataclass(frozen=True)
class Preset:
    """A run without its feature set, and the feature sets that it may be of, the preferred one first."""

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
    """Check that there are presets of these names.

    Raises:
        ValueError: there is none of some name.
    """
    unknown = [name for name in names if name not in PRESETS]
    if unknown:
        raise ValueError(f"there is no preset '{unknown[0]}'; say some of {', '.join(PRESETS)}")


def preset_runs(names: Iterable[str], feature_sets: Collection[str]) -> dict[str, RunSettings]:
    """Give the runs of presets over the best feature set that exists, as `<feature set>_<preset>`.

    A preset of which no feature set exists gives no run.
    """
    runs = {}
    for name in names:
        of = next((one for one in PRESETS[name].feature_sets if one in feature_sets), None)
        if of is not None:
            runs[f"{of}_{name}"] = RunSettings(feature_set=of, **PRESETS[name].run)  # type: ignore[arg-type]
    return runs
