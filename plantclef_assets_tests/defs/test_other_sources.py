"""A lake belongs to one survey: runs with other sources are refused unless replacing is allowed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import Failure

from plantclef_assets.cli import lake as lake_command
from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import PYTHON, run_command
from plantclef_assets_tests.defs.lake_corruption import rewrite
from plantclef_assets_tests.inboxes import Sensor
from plantclef_assets_tests.tiny import DEMO_SOURCES, materialize, tiny_settings

SOURCES = "training_metadata,class_map,training_manifest,plot_manifest"
MANIFESTS = (Artifact("training_manifest"), Artifact("plot_manifest"))
Ask = Callable[..., Settings]


@pytest.fixture(scope="module")
def source_lake(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake in which only the sources of the tiny survey are materialized; to be read only."""
    lake = tmp_path_factory.mktemp("sources") / "lake"
    assert materialize(tiny_settings(tiny_survey, lake), SOURCES).success
    return lake


@pytest.fixture
def ask(source_lake: Path, tiny_survey: Path, tmp_path: Path) -> Ask:
    """Settings of a copy of that lake."""
    shutil.copytree(source_lake, tmp_path / "lake")
    return lambda **changes: tiny_settings(tiny_survey, tmp_path / "lake", **changes)


@pytest.fixture
def other(tiny_survey: Path, tmp_path: Path) -> dict[str, str]:
    """The sources of another survey: the same names, other photographs."""
    folder = Path(shutil.copytree(tiny_survey, tmp_path / "other"))
    for path in folder.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"other")
    return {
        "training_metadata": str(folder / "metadata.csv"),
        "training_images": str(folder / "images"),
        "plot_images": str(folder / "plots"),
    }


def contents(settings: Settings) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(settings.lake).rglob("*") if path.is_file()}


def refusal(settings: Settings) -> str:
    with pytest.raises(OtherSourcesError) as caught:
        Lineage(Lake(settings.lake), build_graph(settings).recipes).require_same_sources()
    return str(caught.value)


def is_free(settings: Settings) -> bool:
    Lineage(Lake(settings.lake), build_graph(settings).recipes).require_same_sources()
    return True


def forget_origins(settings: Settings) -> None:
    """Leave the manifests as an earlier version made them."""
    for manifest in MANIFESTS:
        rewrite(settings, manifest, figures={"origin": None})


def grow(folder: Path) -> None:
    """Add a photograph to a folder."""
    photographs = sorted(folder.rglob("*.jpg"))
    (folder / f"added-{len(photographs)}.jpg").write_bytes(photographs[0].read_bytes() + b"added")


def test_manifests_record_where_their_photographs_lie(ask: Ask) -> None:
    records = [Lake(ask().lake).record(manifest) for manifest in MANIFESTS]
    assert [record.statistics["origin"] for record in records if record] == [ask().training_images, ask().plot_images]


@pytest.mark.parametrize("selection", ["training_metadata", "class_map", "plot_manifest", "base_backbone"])
def test_no_asset_of_another_survey_is_made_in_a_lake(selection: str, ask: Ask, other: dict[str, str]) -> None:
    settings = ask(**other)
    before = contents(settings)
    result = materialize(settings, selection)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.error.cls_name == Failure.__name__
    said = event.step_failure_data.error.message
    assert f"PLANTCLEF_TRAINING_IMAGES is {other['training_images']}" in said
    assert f"was made from {ask().training_images}" in said
    assert "PLANTCLEF_REPLACE_SOURCES=1" in said
    assert contents(settings) == before


@pytest.mark.parametrize("known", [True, False], ids=["recorded", "old footers"])
@pytest.mark.parametrize("names", [("training_images",), ("plot_images",)], ids=str)
def test_one_other_source_is_enough(known: bool, names: tuple[str], ask: Ask, other: dict[str, str]) -> None:
    if not known:
        forget_origins(ask())
    said = refusal(ask(**{name: other[name] for name in names}))
    assert said.startswith(f"PLANTCLEF_{names[0].upper()} is {other[names[0]]}")


@pytest.mark.parametrize("known", [True, False], ids=["recorded", "old footers"])
def test_the_demo_never_takes_the_place_of_a_survey(known: bool, ask: Ask) -> None:
    if not known:
        forget_origins(ask())
    demo = ask(**DEMO_SOURCES)
    before = contents(demo)
    assert not materialize(demo, f"demo_survey,{SOURCES}").success
    assert contents(demo) == before
    for asset in ("training_metadata", "training_manifest"):
        Path(demo.lake, f"{asset}.parquet").unlink()
    assert refusal(demo).startswith("PLANTCLEF_PLOT_IMAGES is demo:plots"), "each source is enough"


def test_a_survey_does_not_take_the_place_of_the_demo_by_mistake(ask: Ask) -> None:
    rewrite(ask(), Artifact("training_metadata"), provenance={"inputs": {"demo_survey": "0" * 32}})
    assert "training_metadata in the lake" in refusal(ask())
    assert "was made from the demo" in refusal(ask())


def test_photographs_do_not_give_way_to_a_checkpoints_class_list_by_mistake(ask: Ask, tiny_survey: Path) -> None:
    checkpoint = {
        "finetuned_weights": str(tiny_survey / "weights.safetensors"),
        "finetuned_model": "vit_mini_patch14_reg4_dinov2",
        "class_mapping": str(tiny_survey / "truth.csv"),
    }
    without = dict.fromkeys(("training_metadata", "training_images", "plot_images", "plot_truth"))
    settings = ask(**checkpoint).model_copy(update=without)
    assert not settings.has_training
    assert refusal(settings).startswith("PLANTCLEF_TRAINING_METADATA is not set, but class_map in the lake")


def test_sources_are_replaced_where_that_is_asked_for(ask: Ask, other: dict[str, str]) -> None:
    assert materialize(ask(**other, replace_sources=True), SOURCES).success
    assert is_free(ask(**other)), "the variable is needed once"
    assert refusal(ask())


def test_a_survey_that_grows_stays_free(source_lake: Path, tiny_survey: Path, tmp_path: Path) -> None:
    survey = Path(shutil.copytree(tiny_survey, tmp_path / "survey"))
    settings = tiny_settings(survey, tmp_path / "lake")
    assert materialize(settings, SOURCES).success
    for known in (True, False):
        grow(survey / "images")
        grow(survey / "plots")
        assert is_free(settings)
        assert materialize(settings, SOURCES).success
        if known:
            forget_origins(settings)
    record = Lake(settings.lake).record(Artifact("plot_manifest"))
    assert record and record.statistics["origin"] == settings.plot_images, "an old footer is replaced by one that knows"


def test_a_survey_that_was_moved_stays_free_as_it_is(ask: Ask, tiny_survey: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(tiny_survey, tmp_path / "moved"))
    settings = ask(training_images=str(moved / "images"), plot_images=str(moved / "plots"))
    before = contents(settings)
    assert materialize(settings, SOURCES).success
    assert contents(settings) == before, "nothing had to be made anew"
    grow(moved / "plots")
    assert refusal(settings).startswith("PLANTCLEF_PLOT_IMAGES")


def test_other_settings_stay_free(ask: Ask, tiny_survey: Path, tmp_path: Path) -> None:
    corrected = tmp_path / "corrected.csv"
    corrected.write_text((tiny_survey / "metadata.csv").read_text().replace("leaf", "flower"))
    for changes in (
        {"training_metadata": str(corrected)},
        {"licenses": ("cc0",)},
        {"training_shards": 2, "image_size": 64},
        {"plot_truth": None},
        {"plot_images": None, "plot_truth": None},
        {"base_weights": "hub"},
    ):
        assert is_free(ask(**changes)), changes


def test_a_manifest_without_photographs_protects_nothing(ask: Ask) -> None:
    rewrite(ask(), Artifact("training_manifest"), figures={"origin": "/wrong"})
    assert "was made from /wrong" in refusal(ask(training_images=ask().plot_images))
    rewrite(ask(), Artifact("training_manifest"), lambda table: table.slice(0, 0))
    assert is_free(ask(training_images=ask().plot_images)), "a mistaken folder can be corrected"


def test_the_sensor_takes_nothing_into_the_lake_of_another_survey(
    ask: Ask, other: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "inbox").mkdir()
    settings = ask(**other, inbox=str(tmp_path / "inbox"))
    tick = Sensor(settings).tick()
    assert not tick.run_requests
    assert "PLANTCLEF_REPLACE_SOURCES=1" in (tick.skip_message or "")


def test_nothing_is_cleaned_out_of_the_lake_of_another_survey(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = ask(**DEMO_SOURCES)
    monkeypatch.setattr(lake_command, "load_settings", lambda: demo)
    before = contents(demo)
    assert lake_command.main(["clean", "--delete"]) == 1
    assert "PLANTCLEF_TRAINING_METADATA is demo:metadata.csv" in capsys.readouterr().err
    assert contents(demo) == before


@pytest.mark.slow
def test_a_new_terminal_in_which_only_the_lake_is_set_ends_in_one_sentence(ask: Ask, tmp_path: Path) -> None:
    before = contents(ask())
    variables = {"DAGSTER_HOME": str(tmp_path), "PLANTCLEF_LAKE": ask().lake}
    result = run_command([str(PYTHON), "-m", "plantclef_assets"], variables)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("PLANTCLEF_TRAINING_METADATA is demo:metadata.csv, but training_metadata in the lake")
    assert contents(ask()) == before


def test_definitions_load_for_the_lake_of_another_survey(ask: Ask, other: dict[str, str]) -> None:
    assert build_defs(ask(**other)).resolve_asset_graph().get_all_asset_keys(), "the UI has to show why a run fails"
