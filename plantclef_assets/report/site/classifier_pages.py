"""What the report shows of a classifier: its metrics, reliability, learning curves and accuracy by species."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.site.species import Species

_BINS = 10
_WORST = 200
"""Species in the table of a classifier; `val_predictions` has all."""
_FACTS = (
    ("accuracy", "Accuracy"),
    ("accuracy_top5", "Accuracy, best five"),
    ("macro_f1", "Macro F1"),
    ("ece", "Expected calibration error"),
    ("temperature", "Temperature"),
    ("best_epoch", "Best epoch"),
    ("start", "Closed form at the start"),
)
_WIDTH, _HEIGHT = 250, 200
"""Size of the learning curves in the units of their drawing."""


def describe_classifiers(
    lake: Lake, names: Sequence[str], species: Mapping[int, Species], *, validated: bool
) -> list[dict[str, Any]]:
    """Return what the page shows of each classifier in the lake; `validated` says whether there are photographs."""
    found = []
    for name in names:
        record = lake.record(Artifact("classifier", name, "safetensors"))
        if record is not None:
            facts = [
                (title, f"{value:.3f}" if isinstance(value, float) else value)
                for key, title in _FACTS
                if (value := record.statistics.get(key)) is not None
            ]
            described = {"name": name, "facts": facts, "bins": [], "species": [], "photographs": 0}
            found.append(
                described | _curves(record.statistics) | (_validation(lake, name, species) if validated else {})
            )
    return found


def _validation(lake: Lake, name: str, species: Mapping[int, Species]) -> dict[str, Any]:
    rows = lake.read(Artifact("val_predictions", name), ["species_id", "species_ids", "probabilities"]).to_pylist()
    truth = np.array([row["species_id"] for row in rows], np.int64)
    correct = np.array([row["species_ids"][0] == row["species_id"] for row in rows], bool)
    confidence = np.array([row["probabilities"][0] for row in rows])
    table = [
        {
            "name": species[one].name if one in species else str(one),
            "photographs": int((truth == one).sum()),
            "accuracy": float(correct[truth == one].mean()),
            "images": species[one].images if one in species else 0,
        }
        for one in np.unique(truth).tolist()
    ]
    table.sort(key=lambda row: (row["accuracy"], row["name"]))
    return {"bins": _bins(confidence, correct), "species": table[:_WORST], "photographs": len(rows)}


def _bins(confidence: np.ndarray, correct: np.ndarray) -> list[dict[str, Any]]:
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return [
        {
            "low": one / _BINS,
            "width": 1 / _BINS,
            "confidence": float(confidence[place == one].mean()),
            "accuracy": float(correct[place == one].mean()),
            "photographs": int((place == one).sum()),
        }
        for one in range(_BINS)
        if (place == one).any()
    ]


def _curves(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the learning curves as points of a drawing; none for a classifier that was not trained by epochs."""
    lines = {
        name: [value for value in statistics.get(key) or [] if value is not None]
        for name, key in (("training", "train_losses"), ("held out", "stopping_losses"))
    }
    values = [value for line in lines.values() for value in line]
    if len(values) < 2:
        return {"curves": []}
    low, high, epochs = min(values), max(values), max(map(len, lines.values()))
    curves = [
        {
            "name": name,
            "points": " ".join(
                f"{_WIDTH * place / max(epochs - 1, 1):.1f},{_HEIGHT * (high - value) / ((high - low) or 1):.1f}"
                for place, value in enumerate(line)
            ),
        }
        for name, line in lines.items()
        if line
    ]
    return {"curves": curves, "loss_range": (low, high), "epoch_range": (1, epochs)}
