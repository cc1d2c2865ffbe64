"""Checks of the backbones."""

from collections.abc import Iterable

from plantclef_assets.checks.judging import Check, Evidence, Finding
from plantclef_assets.checks.tables import up_to_date
from plantclef_assets.recipes import backbone_settings
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""

    def model_as_set(evidence: Evidence) -> Iterable[Finding]:
        model, _, input_size = backbone_settings(evidence.recipe.asset.split("_")[0], settings)
        for artifact, record in evidence.records.items():
            wanted = {"model": model} | ({"input_size": input_size} if input_size else {})
            actual = record.figures | record.figures.get("data_config", {})
            for name, value in wanted.items():
                if actual.get(name) != value:
                    yield Finding(artifact, f"{artifact} has {name} {actual.get(name)}, the settings ask for {value}")

    return {
        f"{backbone}_backbone": [
            Check("model_as_set", "It is the model that the settings name.", model_as_set, blocking=True),
            Check("weights_finite", "No weight is infinite or not a number.", _weights_finite, blocking=True),
            up_to_date(),
        ]
        for backbone in settings.backbones
    }


def _weights_finite(evidence: Evidence) -> Iterable[Finding]:
    from safetensors.torch import load_file

    for artifact in evidence.records:
        for name, tensor in sorted(load_file(evidence.lake.path(artifact)).items()):
            if not tensor.isfinite().all():
                yield Finding(artifact, f"{artifact}: tensor {name} is not finite")
