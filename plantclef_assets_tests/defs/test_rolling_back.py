"""Rolling back, as docs/rolling-back.md tells it: what was current once is so again, with all that follows from it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.queries import write_result
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import SPECIES, materialize

OwnLake = Callable[..., Settings]
BACKBONE = Artifact("base_backbone", suffix="safetensors")


def stale(settings: Settings) -> set[str]:
    """Name the assets of which something is not as the settings, the sources and its inputs ask for."""
    recipes = build_graph(settings).recipes
    lineage = Lineage(Lake(settings.lake), recipes)
    return {
        recipe.asset
        for recipe in recipes.values()
        for artifact in recipe.artifacts
        if lineage.stale(artifact, with_sources=True)
    }


def with_other_weights(own_lake: OwnLake, folder: Path) -> Settings:
    """Materialize a backbone of other weights over the lake's own."""
    tensors = load_file(own_lake().base_weights)
    save_file(
        {name: torch.flip(tensor, [0]).contiguous() for name, tensor in tensors.items()}, folder / "new.safetensors"
    )
    settings = own_lake(base_weights=str(folder / "new.safetensors"))
    assert materialize(settings, "base_backbone").success
    return settings


def test_the_file_of_an_earlier_backbone_makes_its_embeddings_valid_again(own_lake: OwnLake, tmp_path: Path) -> None:
    newer = with_other_weights(own_lake, tmp_path)
    assert {"base_embeddings", "classifier", "submission"} <= stale(newer)
    earlier = own_lake()
    assert "base_backbone" in stale(earlier)
    assert materialize(earlier, "base_backbone").success
    assert not stale(earlier), "no embedding had to be made anew"


def test_an_artifact_that_was_set_aside_is_current_again_when_it_is_put_back(own_lake: OwnLake, tmp_path: Path) -> None:
    settings = own_lake()
    place = Path(settings.lake, "base_backbone.safetensors")
    kept = Path(shutil.copy(place, tmp_path / "kept.safetensors"))
    with_other_weights(own_lake, tmp_path)
    assert stale(settings)
    shutil.copy(kept, place)
    assert not stale(settings)


def test_an_earlier_class_map_is_made_again_from_the_list_that_was_written_of_it(
    own_lake: OwnLake, tmp_path: Path
) -> None:
    earlier = own_lake()
    lake = Lake(earlier.lake)
    was = lake.record(Artifact("class_map"))
    listed = tmp_path / "classes.txt"
    query = "select species_id from class_map order by class_index"
    assert write_result(open_catalog(lake, ["class_map"]).sql(query), listed, lake) == len(SPECIES)
    other = tmp_path / "other.txt"
    other.write_text("\n".join(str(species) for species in reversed(SPECIES)))
    newer = own_lake(class_mapping=str(other))
    assert materialize(newer, "class_map").success
    assert {"training_manifest", "classifier", "submission"} <= stale(newer)
    rolled_back = own_lake(class_mapping=str(listed))
    assert materialize(rolled_back, "class_map").success
    now = lake.record(Artifact("class_map"))
    assert was and now and now.fingerprint == was.fingerprint
    assert not stale(rolled_back), "no classifier had to be trained anew"
