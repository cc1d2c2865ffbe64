"""A fine-tuned checkpoint as the organisers publish it: its classifier, its archive, and plots without training."""

import argparse
import io
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plantclef_assets.definitions import build_defs
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models import small_vit  # noqa: F401
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.scoring.submission_format import read_submission
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets_tests.defs.test_materialization import failure
from plantclef_assets_tests.tiny import (
    SPECIES,
    failed_checks,
    materialize,
    metadata_row,
    tiny_settings,
    write_metadata,
)

MODEL = "vit_mini_patch14_reg4_dinov2"
CLASSES = (*reversed(SPECIES), 1355868, 1355869)
"""The checkpoint's class list: not ascending, and with species that no photograph shows."""
FOLDERS = ("pc24_onlyclassifier", "pc24_onlyclassifier_then_all")
RUNS = """
finetuned_cls_full = { feature_set = "finetuned_cls" }
finetuned_head_2x2 = { feature_set = "finetuned_head", tiling = "2x2" }
"""


def checkpoint_bytes(seed: int, classes: int = len(CLASSES), model: str = MODEL) -> bytes:
    """Make a checkpoint of the published structure with random weights."""
    torch.manual_seed(seed)
    weights = import_timm().create_model(model, num_classes=classes).state_dict()
    stored = {"state_dict": weights, "state_dict_ema": weights, "args": argparse.Namespace(model=model), "epoch": 9}
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    return buffer.getvalue()


def write_archive(path: Path, checkpoints: dict[str, bytes], classes: tuple[int, ...] = CLASSES) -> Path:
    """Write a tar as the organisers do: class list and names on top, a folder for each checkpoint."""
    names = "\n".join(['"species_id";"species"', *(f'"{one}";"Planta {one} L."' for one in classes)])
    files = {
        "pretrained_models/class_mapping.txt": "\n".join(map(str, classes)).encode(),
        "pretrained_models/species_id_to_name.txt": names.encode(),
        **{f"pretrained_models/{folder}/model_best.pth.tar": content for folder, content in checkpoints.items()},
    }
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive with two small checkpoints; to be read only."""
    checkpoints = {folder: checkpoint_bytes(seed) for seed, folder in enumerate(FOLDERS)}
    return write_archive(tmp_path_factory.mktemp("published") / "models.tar", checkpoints)


@pytest.fixture
def with_checkpoint(tiny_survey: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of the tiny survey with fine-tuned weights; `training=False` leaves the plots alone."""

    def settings(weights: Path, *, training: bool = True, **changes: object) -> Settings:
        profile = tmp_path / "checkpoint.toml"
        profile.write_text((tiny_survey / "tiny.toml").read_text() + RUNS)
        none = {} if training else {"training_metadata": None, "training_images": None}
        given = {"finetuned_model": MODEL, "finetuned_weights": str(weights), "finetuned_input_size": 42}
        return tiny_settings(tiny_survey, tmp_path / "lake", profile=str(profile), **(none | given | changes))

    return settings


def assets_of(settings: Settings) -> set[str]:
    return {key.to_user_string() for key in build_defs(settings).resolve_asset_graph().get_all_asset_keys()}


def test_an_archive_gives_backbone_classifier_and_answers(
    archive: Path, with_checkpoint: Callable[..., Settings]
) -> None:
    settings = with_checkpoint(archive)
    chain = (
        ("training_metadata,class_map,training_manifest,plot_manifest,base_backbone,finetuned_backbone", None, None),
        ("raw_images,resized_images,base_embeddings,finetuned_embeddings", "00", "02"),
        ("plot_images,base_tile_embeddings,finetuned_tile_embeddings", "00", "01"),
    )
    for selection, first, last in chain:
        assert materialize(settings, selection, first=first, last=last).success, selection
    lake = Lake(settings.lake)
    backbone = lake.record(Artifact("finetuned_backbone", suffix="safetensors"))
    assert backbone is not None
    assert backbone.statistics["classes"] == len(CLASSES)
    classified = materialize(settings, "classifier", first="base_dct", last="finetuned_head")
    assert ("classifier", "better_than_majority") not in failed_checks(classified) or not classified.success
    head = lake.record(Artifact("classifier", "finetuned_head", "safetensors"))
    assert head is not None
    assert head.statistics["species"] == sorted(SPECIES), "classes that the class map lacks are left out"
    assert head.statistics["classes_of_checkpoint"] == len(CLASSES)
    assert head.statistics["uncovered"] == 0
    assert head.statistics["validation_rows"] == 12


def test_the_better_of_the_two_checkpoints_is_taken(archive: Path, with_checkpoint: Callable[..., Settings]) -> None:
    settings = with_checkpoint(archive)
    assert materialize(settings, "finetuned_backbone").success
    from safetensors.torch import load_file

    saved = load_file(Lake(settings.lake).path(Artifact("finetuned_backbone", suffix="safetensors")))
    torch.manual_seed(1)
    wanted = import_timm().create_model(MODEL, num_classes=len(CLASSES)).state_dict()
    assert torch.equal(saved["checkpoint_head.weight"], wanted["head.weight"])
    assert torch.equal(saved["blocks.0.attn.qkv.weight"], wanted["blocks.0.attn.qkv.weight"])
    assert saved["checkpoint_head.species_ids"].tolist() == list(CLASSES)


def test_plots_alone_are_answered_by_the_checkpoint(archive: Path, with_checkpoint: Callable[..., Settings]) -> None:
    settings = with_checkpoint(archive, training=False)
    assert assets_of(settings) == {
        "class_map",
        "finetuned_backbone",
        "classifier",
        "plot_manifest",
        "plot_images",
        "finetuned_tile_embeddings",
        "tile_predictions",
        "species_cover",
        "submission",
        "leaderboard",
        "run_agreement",
        "sweep",
        "plot_report",
        "figure_pipeline",
        "figure_tiles",
        "figure_f1_by_species",
    }
    chain = (
        ("finetuned_backbone,class_map,plot_manifest", None, None),
        ("classifier", "finetuned_head", None),
        ("plot_images,finetuned_tile_embeddings,tile_predictions,species_cover", "00", "01"),
        ("submission,leaderboard,run_agreement", "finetuned_head_2x2", None),
        ("sweep", None, None),
    )
    for selection, first, last in chain:
        result = materialize(settings, selection, first=first, last=last)
        assert result.success, selection
    lake = Lake(settings.lake)
    classes = lake.read(Artifact("class_map")).to_pylist()
    assert [row["species_id"] for row in classes] == list(CLASSES)
    assert classes[0]["species"] == f"Planta {CLASSES[0]} L."
    answers = read_submission(Path(settings.lake, "submission", "finetuned_head_2x2.csv"))
    assert len(answers) == 4
    assert all(row.species_ids for row in answers)
    cover = lake.read(Artifact("species_cover", "00")).to_pylist()
    assert {(row["binomial"], row["genus"]) for row in cover} <= {(f"Planta {one} L.", None) for one in CLASSES}
    assert {(row["family"], row["gbif_species_id"]) for row in cover} == {(None, None)}, "a checkpoint has names alone"


def test_the_head_scores_tiles_as_the_whole_model_does(archive: Path, with_checkpoint: Callable[..., Settings]) -> None:
    settings = with_checkpoint(archive, training=False)
    for selection, first in (("finetuned_backbone,class_map,plot_manifest", None), ("classifier", "finetuned_head")):
        assert materialize(settings, selection, first=first).success
    assert materialize(settings, "plot_images,finetuned_tile_embeddings,tile_predictions", first="00").success
    lake = Lake(settings.lake)
    tiles = lake.read(Artifact("finetuned_tile_embeddings", "00"), filters=[("tiling", "=", "2x2")])
    torch.manual_seed(1)
    model = import_timm().create_model(MODEL, num_classes=len(CLASSES)).eval()
    features = torch.tensor(tiles.column("cls").to_pylist())
    with torch.inference_mode():
        wanted = model.forward_head(features[:, None].expand(-1, 5, -1)).softmax(dim=1)
    best = lake.read(Artifact("tile_predictions", "00"), filters=[("rank", "=", 1), ("tiling", "=", "2x2")])
    assert best.column("species_id").to_pylist() == [CLASSES[index] for index in wanted.argmax(dim=1)]
    assert best.column("probability").to_pylist() == pytest.approx(wanted.max(dim=1).values.tolist(), abs=1e-5)


def test_a_checkpoint_and_its_list_may_lie_in_a_folder(
    tmp_path: Path, with_checkpoint: Callable[..., Settings]
) -> None:
    folder = tmp_path / "models" / "pc24"
    folder.mkdir(parents=True)
    (folder / "model_best.pth.tar").write_bytes(checkpoint_bytes(0))
    assert "finetuned_head" not in with_checkpoint(folder / "model_best.pth.tar").feature_sets
    (folder.parent / "class_mapping.txt").write_text("\n".join(map(str, CLASSES)))
    settings = with_checkpoint(folder / "model_best.pth.tar")
    assert "finetuned_head" in settings.feature_sets
    assert materialize(settings, "finetuned_backbone").success


def test_a_list_of_other_length_is_refused(tmp_path: Path, with_checkpoint: Callable[..., Settings]) -> None:
    path = write_archive(tmp_path / "models.tar", {FOLDERS[1]: checkpoint_bytes(0)}, CLASSES[:4])
    message = str(failure(materialize(with_checkpoint(path), "finetuned_backbone")))
    assert "has a classifier of 5 classes, but its class list has 4" in message


def test_a_truncated_archive_is_one_sentence(
    archive: Path, tmp_path: Path, with_checkpoint: Callable[..., Settings]
) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[: archive.stat().st_size * 3 // 4])
    message = str(failure(materialize(with_checkpoint(cut), "finetuned_backbone")))
    assert "cut.tar cannot be read as a tar archive (unexpected end of data); download it again" in message


def test_a_hostile_pickle_is_refused_without_running(tmp_path: Path, with_checkpoint: Callable[..., Settings]) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "harm",)  # type: ignore[return-value]

    path = write_archive(tmp_path / "models.tar", {FOLDERS[1]: pickle.dumps({"state_dict": Hostile()})})
    message = str(failure(materialize(with_checkpoint(path), "finetuned_backbone")))
    assert "is refused" in message
    assert not (tmp_path / "harm").exists()


def test_an_archive_without_weights_is_one_sentence(tmp_path: Path, with_checkpoint: Callable[..., Settings]) -> None:
    path = write_archive(tmp_path / "models.tar", {})
    message = str(failure(materialize(with_checkpoint(path), "finetuned_backbone")))
    assert "has no model_best.pth.tar" in message


def test_without_a_class_list_there_is_nothing_to_answer_with(
    tmp_path: Path, with_checkpoint: Callable[..., Settings]
) -> None:
    weights = tmp_path / "model_best.pth.tar"
    weights.write_bytes(checkpoint_bytes(0))
    with pytest.raises(SettingsError, match="PLANTCLEF_TRAINING_METADATA: not set"):
        with_checkpoint(weights, training=False)


@pytest.fixture
def one_plot(tiny_survey: Path, tmp_path: Path) -> Path:
    """A folder with one plot of the tiny survey."""
    folder = tmp_path / "one_plot"
    folder.mkdir()
    shutil.copy(next((tiny_survey / "plots").glob("PLOT-0*")), folder)
    return folder


@pytest.mark.slow
def test_the_published_architecture_answers_plots_at_its_full_size(
    one_plot: Path, tmp_path: Path, with_checkpoint: Callable[..., Settings]
) -> None:
    model = "vit_base_patch14_reg4_dinov2"
    classes = tuple(range(1_355_868, 1_355_868 + 7_806))
    path = write_archive(tmp_path / "models.tar", {FOLDERS[1]: checkpoint_bytes(0, len(classes), model)}, classes)
    settings = with_checkpoint(
        path,
        training=False,
        plot_images=str(one_plot),
        finetuned_model=model,
        finetuned_input_size=518,
        batch_size=4,
        plot_shards=1,
    )
    chain = (
        ("finetuned_backbone,class_map,plot_manifest", None),
        ("classifier", "finetuned_head"),
        ("plot_images,finetuned_tile_embeddings,tile_predictions", "00"),
        ("submission,leaderboard", "finetuned_head_2x2"),
    )
    for selection, first in chain:
        assert materialize(settings, selection, first=first).success, selection
    record = Lake(settings.lake).record(Artifact("finetuned_tile_embeddings", "00"))
    assert record is not None
    assert record.rows == 4
    assert record.statistics["vectors"]["cls"]["width"] == 768
    answers = read_submission(Path(settings.lake, "submission", "finetuned_head_2x2.csv"))
    assert {species for row in answers for species in row.species_ids} <= set(classes)


@pytest.mark.slow
def test_the_published_architecture_goes_through_the_whole_chain_at_its_full_size(
    one_plot: Path, tmp_path: Path, with_checkpoint: Callable[..., Settings]
) -> None:
    model = "vit_base_patch14_reg4_dinov2"
    classes = (*range(1_355_868, 1_355_868 + 7_803), *SPECIES)
    path = write_archive(tmp_path / "models.tar", {FOLDERS[1]: checkpoint_bytes(0, len(classes), model)}, classes)
    rows = [
        metadata_row(f"{species}{number:033d}.jpg", species, "train" if number else "val", f"{species}{number}")
        for species in SPECIES
        for number in range(3)
    ]
    write_metadata(tmp_path / "few.csv", rows)
    settings = with_checkpoint(
        path,
        training_metadata=str(tmp_path / "few.csv"),
        plot_images=str(one_plot),
        finetuned_model=model,
        finetuned_input_size=518,
        batch_size=4,
        training_shards=2,
        plot_shards=1,
    )
    chain = (
        ("training_metadata,class_map,training_manifest,plot_manifest,base_backbone,finetuned_backbone", None, None),
        ("raw_images,resized_images,base_embeddings,finetuned_embeddings", "00", "01"),
        ("plot_images,base_tile_embeddings,finetuned_tile_embeddings", "00", "00"),
    )
    for selection, first, last in chain:
        assert materialize(settings, selection, first=first, last=last).success, selection
    # Random weights name nothing, so checks that ask for more than chance may fail; the artifacts are there.
    materialize(settings, "classifier", first="base_dct", last="finetuned_head")
    materialize(settings, "tile_predictions", first="00")
    materialize(settings, "submission", first="base_cls_full", last="finetuned_head_2x2")
    lake = Lake(settings.lake)
    vectors = [lake.record(Artifact("finetuned_embeddings", shard)) for shard in ("00", "01")]
    assert sum(record.rows or 0 for record in vectors if record) == 9
    assert all(record.statistics["vectors"]["cls"]["width"] == 768 for record in vectors if record)
    head, trained = (
        lake.record(Artifact("classifier", f"finetuned_{name}", "safetensors")) for name in ("head", "cls")
    )
    assert head is not None and trained is not None
    assert (head.statistics["classes_of_checkpoint"], head.statistics["uncovered"]) == (7_806, 0)
    assert head.statistics["species"] == trained.statistics["species"] == sorted(SPECIES)
    predicted = lake.read(Artifact("tile_predictions", "00")).to_pylist()
    tiles = {(row["feature_set"], row["tiling"], row["tile_index"]) for row in predicted}
    assert {("finetuned_cls", "full", 0), *(("finetuned_head", "2x2", tile) for tile in range(4))} <= tiles
