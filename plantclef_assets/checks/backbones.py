"""Checks of the backbones."""

from collections.abc import Iterable

from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import up_to_date
from plantclef_assets.recipes import backbone_settings
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""

    def model_as_set(evidence: Evidence) -> Iterable[Finding]:
        model, _, input_size = backbone_settings(evidence.recipe.asset.split("_")[0], settings)
        for artifact, record in evidence.records.items():
            wanted = {"model": model} | ({"input_size": input_size} if input_size else {})
            actual = record.statistics | record.statistics.get("data_config", {})
            for name, value in wanted.items():
                if actual.get(name) != value:
                    yield Finding(artifact, f"{artifact} has {name} {actual.get(name)}, the settings ask for {value}")

    every = [
        Check("model_as_set", "It is the model that the settings name.", model_as_set, blocking=True),
        Check("weights_finite", "No weight is infinite or not a number.", _weights_finite, blocking=True),
        up_to_date(),
    ]
    helped = Check("finetuning_helped", "It does better than its classifier alone did.", _finetuning_helped)
    own = {"finetuned": [helped]} if settings.trains_backbone else {}
    return {f"{backbone}_backbone": [*every, *own.get(backbone, [])] for backbone in settings.backbones}


def _finetuning_helped(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        if record.statistics.get("best_epoch") == 0:
            yield Finding(artifact, f"{artifact}: no epoch was better than the classifier on the backbone as it came")


def _weights_finite(evidence: Evidence) -> Iterable[Finding]:
    from safetensors.torch import load_file

    for artifact in evidence.records:
        for name, tensor in sorted(load_file(evidence.lake.local(evidence.lake.path(artifact))).items()):
            if not tensor.isfinite().all():
                yield Finding(artifact, f"{artifact}: tensor {name} is not finite")
