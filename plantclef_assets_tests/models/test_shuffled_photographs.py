"""Photographs in random order."""

from pathlib import Path

import numpy as np
import pytest
import torch

from plantclef_assets.lake.store import Artifact, Lake, MissingArtifactError
from plantclef_assets.models.shuffled_photographs import batches, open_photographs
from plantclef_assets_tests.models.photograph_fixtures import PHOTOGRAPHS


def test_every_photograph_can_be_read_by_its_place(photograph_lake: Lake) -> None:
    rows = [row for shard in PHOTOGRAPHS for row in photograph_lake.read(shard).to_pylist()]
    with open_photographs(photograph_lake, PHOTOGRAPHS) as photographs:
        assert len(photographs.species_id) == 48
        for place in reversed(range(48)):
            assert photographs.encoded(place) == rows[place]["data"]
        assert photographs.species_id.tolist() == [row["species_id"] for row in rows]
        assert photographs.obs_id == [row["obs_id"] for row in rows]
        assert photographs.learn_tag == [row["learn_tag"] for row in rows]


def test_no_file_is_left_behind(photograph_lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_photographs(photograph_lake, PHOTOGRAPHS):
        assert not list(tmp_path.iterdir()), "not even while it is open, so a killed process leaves none"


def test_a_missing_shard_is_named(photograph_lake: Lake) -> None:
    with (
        pytest.raises(MissingArtifactError, match="resized_images/07"),
        open_photographs(photograph_lake, [Artifact("resized_images", "07")]),
    ):
        pass


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_keep_the_order_of_the_rows(threads: int) -> None:
    rows = np.array([5, 3, 9, 1, 0, 7, 2])
    given = list(batches(rows, 3, lambda row: torch.full((2,), row), threads))
    assert [some.tolist() for some, _ in given] == [[5, 3, 9], [1, 0, 7], [2]]
    assert [stacked[:, 1].tolist() for _, stacked in given] == [[5, 3, 9], [1, 0, 7], [2]]


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def prepare(row: int) -> torch.Tensor:
        raise ValueError(f"row {row} is broken")

    with pytest.raises(ValueError, match="row 0 is broken"):
        list(batches(np.arange(4), 2, prepare, 2))
