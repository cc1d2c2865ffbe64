"""The chain over archives: what comes out of a tar is what comes out of a folder."""

from pathlib import Path

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.ingest.tars import write_tar
from plantclef_assets_tests.tiny import materialize, tiny_settings

SHARDS = ("00", "01", "02")


def resized(settings: Settings) -> dict[str, bytes]:
    rows = [row for shard in SHARDS for row in Lake(settings.lake).read(Artifact("resized_images", shard)).to_pylist()]
    return {row["image_name"]: row["data"] for row in rows}


def test_photographs_and_plots_in_archives_give_what_folders_give(
    tiny_survey: Path, tiny_lake: Settings, tmp_path: Path
) -> None:
    files = {
        kind: {str(path.relative_to(tiny_survey)): path.read_bytes() for path in (tiny_survey / kind).rglob("*.jpg")}
        for kind in ("images", "plots")
    }
    settings = tiny_settings(
        tiny_survey,
        tmp_path / "lake",
        cache=str(tmp_path / "cache"),
        training_images=str(write_tar(tmp_path / "images.tar", files["images"])),
        plot_images=str(write_tar(tmp_path / "plots.tar.gz", files["plots"], "w:gz")),
        workers=2,
    )
    assert materialize(settings, "training_metadata,class_map,training_manifest,plot_manifest").success
    assert materialize(settings, "raw_images,resized_images", first="00", last="02").success
    assert materialize(settings, "plot_images", first="00", last="01").success
    assert resized(settings) == resized(tiny_lake)
    plots = [
        {
            row["plot_id"]: row["data"]
            for key in ("00", "01")
            for row in Lake(one.lake).read(Artifact("plot_images", key)).to_pylist()
        }
        for one in (settings, tiny_lake)
    ]
    assert plots[0] == plots[1]
    before = Lake(settings.lake).path(Artifact("training_manifest")).stat().st_mtime_ns
    assert materialize(settings, "training_manifest").success
    assert Lake(settings.lake).path(Artifact("training_manifest")).stat().st_mtime_ns == before


def test_licences_that_are_not_set_are_no_part_of_a_provenance(tiny_survey: Path, tmp_path: Path) -> None:
    def config(**changes: object) -> dict:
        recipes = build_graph(tiny_settings(tiny_survey, tmp_path / "lake", **changes)).recipes
        return dict(recipes["training_manifest"].config(None))

    assert config() == {"shards": 3}
    assert (
        config(licenses=("cc-by", "CC0"))
        == config(licenses=("CC0", "cc-by"))
        == {
            "shards": 3,
            "licenses": ["CC0", "cc-by"],
        }
    )
