from pathlib import Path

import numpy as np
import pytest

from plantclef_assets.ingest.validation_split import MissingPhotographsError, fetch_photographs, read_split, split_rows
from plantclef_assets.lake import tables
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Lake

from .photograph_lake import photograph, survey, write_photographs


def held_out(lake: Lake, shards: int = 2, seed: int = 1):
    return read_split(lake, shard_keys(shards), validation_share=0.3, seed=seed)


def names(grouped) -> set[str]:
    return {name for observations in grouped.values() for some in observations.values() for name in some}


def test_tagged_photographs_are_held_out_by_their_tag(tmp_path: Path) -> None:
    rows = [*survey(), ("t.jpg", 1, "77", "test")]
    photographs = held_out(write_photographs(tmp_path, rows))
    assert names(photographs.by_species) == {name for name, _, _, tag in rows if tag == "val"}
    assert list(photographs.by_species[3]) == ["observation 31", "observation 33"]
    assert photographs.by_species[3]["observation 31"] == ["3-1-0.jpg", "3-1-1.jpg"]


def test_a_photograph_whose_observation_trains_is_not_held_out(tmp_path: Path) -> None:
    rows = [*survey(), ("leak.jpg", 1, "10", "val"), ("fine.jpg", 1, None, "val"), ("nameless.jpg", 1, "", "val")]
    rows.append(("trains.jpg", 1, "", "train"))
    photographs = held_out(write_photographs(tmp_path, rows))
    found = names(photographs.by_species)
    assert "leak.jpg" not in found
    assert {"fine.jpg", "nameless.jpg"} <= found, "without obs_id each is an observation of its own"
    assert photographs.not_held_out(["leak.jpg", "1-0-0.jpg", "1-1-0.jpg"]) == ["1-0-0.jpg", "leak.jpg"]


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_without_tags_the_split_is_that_of_the_classifiers_however_shards_are_cut(tmp_path: Path, shards: int) -> None:
    rows = [(name, species, None if species == 2 else obs, None) for name, species, obs, _ in survey(6, 8)]
    photographs = held_out(write_photographs(tmp_path, rows, shards), shards)
    _, validation = split_rows([None] * len(rows), [row[2] for row in rows], validation_share=0.3, seed=1)
    assert names(photographs.by_species) == {rows[row][0] for row in np.flatnonzero(validation)}


def test_a_species_that_the_class_map_lacks_is_left_out(tmp_path: Path) -> None:
    write_photographs(tmp_path / "few", survey(5))
    lake = write_photographs(tmp_path / "all", survey(6))
    (tmp_path / "all" / "class_map.parquet").write_bytes((tmp_path / "few" / "class_map.parquet").read_bytes())
    assert set(held_out(lake).by_species) == {1, 2, 3, 4, 5}


def test_only_row_groups_with_wanted_photographs_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 1)  # every photograph in a group of its own
    lake = write_photographs(tmp_path, survey())
    photographs = held_out(lake)
    data = []

    class Counted:
        def __init__(self, file):
            self.file, self.num_row_groups = file, file.num_row_groups

        def read_row_group(self, group, columns):
            data.extend([group] if "data" in columns else [])
            return self.file.read_row_group(group, columns=columns)

    opened = Lake.open
    monkeypatch.setattr(Lake, "open", lambda lake, artifact: Counted(opened(lake, artifact)))
    wanted = ["1-1-0.jpg", "6-3-1.jpg"]
    found = fetch_photographs(lake, photographs, wanted)
    assert found == {"1-1-0.jpg": photograph("1-1-0.jpg", 1), "6-3-1.jpg": photograph("6-3-1.jpg", 6)}
    assert len(data) == 2


def test_a_photograph_that_raw_images_lacks_is_named(tmp_path: Path) -> None:
    lake = write_photographs(tmp_path, survey(), lost=["2-1-0.jpg"])
    with pytest.raises(MissingPhotographsError, match=r"lacks 1 photographs .*\(2-1-0.jpg\); materialize"):
        fetch_photographs(lake, held_out(lake), ["2-1-0.jpg", "2-1-1.jpg"])
