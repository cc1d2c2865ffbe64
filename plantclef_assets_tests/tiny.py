"""A tiny survey: 48 photographs of 3 species and 4 plots, drawn in a moment, and a chain over it that runs in seconds.

The backbone is the package's small vision transformer with random weights: its features are poor, but real.
"""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dagster import AssetSelection, DagsterInstance, ExecuteInProcessResult
from PIL import Image

from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.orchestration.jobs import chain
from plantclef_assets.orchestration.messages import explain_run
from plantclef_assets.settings import Settings, load_settings

SPECIES = {1000001: (200, 60, 60), 1000002: (60, 180, 60), 1000003: (60, 60, 200)}
COLUMNS = (
    "image_name",
    "organ",
    "species_id",
    "obs_id",
    "license",
    "partner",
    "author",
    "altitude",
    "latitude",
    "longitude",
    "gbif_species_id",
    "species",
    "genus",
    "family",
    "dataset",
    "publisher",
    "references",
    "url",
    "learn_tag",
    "image_backup_url",
)
PROFILE = """
[runs]
base_cls_full = { feature_set = "base_cls" }
base_cls_2x2 = { feature_set = "base_cls", tiling = "2x2" }
base_dct_2x2_max2 = { feature_set = "base_dct", tiling = "2x2", aggregation = "max", species_per_plot = 2 }
"""
FINETUNED_RUNS = """
finetuned_cls_full = { feature_set = "finetuned_cls" }
finetuned_head_2x2 = { feature_set = "finetuned_head", tiling = "2x2" }
"""


DEMO_SOURCES = {
    "training_metadata": "demo:metadata.csv",
    "training_images": "demo:images",
    "plot_images": "demo:plots",
    "plot_truth": "demo:plots_truth.csv",
}
"""The sources of the demo, to put in place of the tiny survey's."""


def write_tiny_survey(folder: Path) -> Path:
    """Write photographs, metadata, plots, truth and weights of the tiny survey below a folder."""
    random = np.random.default_rng(7)
    rows = []
    for species_id, colour in SPECIES.items():
        for number in range(16):
            tag = "val" if number % 4 == 0 else "train"
            name = f"{species_id}{number:033d}.jpg"
            save_picture(folder / "images" / tag / str(species_id) / name, random, [colour], 96)
            rows.append(metadata_row(name, species_id, tag, f"{species_id}{number}"))
    write_metadata(folder / "metadata.csv", rows)
    truth = []
    for plot, species in enumerate([[1000001, 1000002], [1000002], [1000003, 1000001], [1000001, 1000002, 1000003]]):
        save_picture(folder / "plots" / f"PLOT-{plot}-20240501.jpg", random, [SPECIES[one] for one in species], 240)
        truth.append((f"PLOT-{plot}-20240501", json.dumps(species)))
    lines = [f'"{plot}","{species}"' for plot, species in truth[:3]]  # the last plot has no known truth
    (folder / "truth.csv").write_text("\n".join(['"quadrat_id","species_ids"', *lines]) + "\n")
    write_random_weights(folder / "weights.safetensors")
    (folder / "tiny.toml").write_text(PROFILE)
    (folder / "finetuned.toml").write_text(PROFILE + FINETUNED_RUNS)
    return folder


def save_picture(path: Path, random: np.random.Generator, colours: Sequence[tuple[int, int, int]], side: int) -> None:
    """Save a noisy picture of vertical bands, one for each colour."""
    bands = np.repeat(np.array(colours), -(-side // len(colours)), axis=0)[:side]
    pixels = bands[None, :, :] + random.normal(0, 40, (side, side, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def metadata_row(name: str, species_id: int, tag: str, obs_id: str) -> dict[str, Any]:
    """Give a row of the published dialect."""
    values = {"image_name": name, "organ": "leaf", "species_id": species_id, "obs_id": obs_id, "learn_tag": tag}
    return dict.fromkeys(COLUMNS, "") | values | {"species": f"Planta {species_id}", "gbif_species_id": "12.0"}


def write_metadata(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as the organisers do: `;`, everything quoted."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter=";", quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_random_weights(path: Path) -> None:
    """Write weights for the small vision transformer, the same every time."""
    import torch
    from safetensors.torch import save_file

    from plantclef_assets.models import small_vit  # noqa: F401
    from plantclef_assets.models.timm_import import import_timm

    torch.manual_seed(0)
    model = import_timm().create_model("vit_mini_patch14_reg4_dinov2", num_classes=0)
    save_file(model.state_dict(), path)


def tiny_settings(survey: Path, lake: Path | str, **changes: Any) -> Settings:
    """Give the settings of a chain over the tiny survey."""
    values: dict[str, Any] = {
        "profile": str(survey / "tiny.toml"),
        "lake": str(lake),
        "training_metadata": str(survey / "metadata.csv"),
        "training_images": str(survey / "images"),
        "plot_images": str(survey / "plots"),
        "plot_truth": str(survey / "truth.csv"),
        "training_shards": 3,
        "plot_shards": 2,
        "base_model": "vit_mini_patch14_reg4_dinov2",
        "base_weights": str(survey / "weights.safetensors"),
        "base_input_size": 42,
        "image_size": 48,
        "workers": 1,
        "classifier": {"epochs": 15},
        "validation": {"plots": 6, "side": 240},
    }
    return load_settings(**(values | changes))


def with_finetuned(survey: Path, lake: Path | str, **changes: Any) -> Settings:
    """Give settings that fine-tune the backbone for a moment, and runs that use it."""
    values: dict[str, Any] = {
        "profile": str(survey / "finetuned.toml"),
        "finetuned_weights": "train",
        "finetuning": {"head_epochs": 5, "epochs": 2, "batch_size": 12, "holdout_share": 0.3},
    }
    return tiny_settings(survey, lake, **(values | changes))


def materialize(
    settings: Settings, selection: str, *, first: str | None = None, last: str | None = None, instance: Any = None
) -> ExecuteInProcessResult:
    """Materialize a selection with its checks, as a range where `first` and `last` are given; never raises."""
    defs = build_defs(settings)
    job = defs.resolve_implicit_global_asset_job_def()
    keys = AssetSelection.from_coercible(selection.split(",")).resolve(defs.resolve_asset_graph())
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    with DagsterInstance.ephemeral() as ephemeral:
        return job.execute_in_process(
            instance=instance or ephemeral,
            asset_selection=list(keys),
            tags={name: value for name, value in tags.items() if value},
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


Launch = tuple[str, str | None, str | None]
"""A selection of assets, with the first and last key of its partition family."""


def launches(settings: Settings, *, inbox: bool = False) -> list[Launch]:
    """Return the runs of the whole chain, or those of the inbox, which run over two deliveries."""
    found = []
    for step in chain(build_graph(settings)):
        reserve = bool(step.family and step.family.reserve)
        if reserve == inbox:
            first, last = (step.family.keys[0], step.family.keys[1 if reserve else -1]) if step.family else (None, None)
            found.append((",".join(step.assets), first, last))
    return found


def materialize_chain(settings: Settings, *, inbox: bool = False) -> None:
    """Materialize everything; every asset and blocking check has to pass."""
    for selection, first, last in launches(settings, inbox=inbox):
        result = materialize(settings, selection, first=first, last=last)
        assert result.success, f"{selection}: {explain_run(result.all_events)[0]}"


def failed_checks(result: ExecuteInProcessResult) -> set[tuple[str, str]]:
    """Give (asset, check) of the checks that did not pass."""
    return {
        (evaluation.asset_key.to_user_string(), evaluation.check_name)
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    }


def materialized(result: ExecuteInProcessResult) -> set[str]:
    """Give the assets that a run materialized."""
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


def copy_lake(lake: Path, target: Path) -> Path:
    """Copy a lake, to be damaged."""
    shutil.copytree(lake, target)
    return target
