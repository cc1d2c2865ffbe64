"""Records: what artifacts say of themselves, in parquet footers and safetensors headers."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from plantclef_assets.lake.store import Artifact, Lake, MissingArtifactError, record_metadata
from plantclef_assets.settings import Settings
from plantclef_assets_tests.lake.tables import NUMBERS, write_numbers

PROVENANCE = {"asset": "sizes", "config": {"shards": 3}, "inputs": {"other/00": "abc"}}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def test_an_artifact_lies_where_its_name_says(lake: Lake) -> None:
    assert lake.path(Artifact("leaderboard")) == Path(lake.root) / "leaderboard.parquet"
    assert lake.path(Artifact("raw_images", "007")) == Path(lake.root) / "raw_images" / "007.parquet"
    classifier = Artifact("classifier", "base_cls", "safetensors")
    assert lake.path(classifier) == Path(lake.root) / "classifier" / "base_cls.safetensors"
    assert str(classifier) == "classifier/base_cls"


def test_a_parquet_file_carries_its_record(lake: Lake) -> None:
    artifact = Artifact("sizes", "00")
    write_numbers(lake, artifact, [("a", 1), ("b", None)], **PROVENANCE)
    record = lake.record(artifact)
    assert record
    assert record.provenance == PROVENANCE
    assert record.rows == 2
    assert record.schema is not None and record.schema.names == list(NUMBERS.columns.names)
    assert record.statistics["rows"] == 2
    assert len(record.fingerprint) == 32


def test_the_record_is_read_without_the_rows(lake: Lake) -> None:
    artifact = Artifact("sizes")
    path = write_numbers(lake, artifact, [(f"row {row}", row) for row in range(1000)], **PROVENANCE)
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    path.write_bytes(b"PAR1" + b"\0" * (len(content) - footer - 4) + content[-footer:])
    record = lake.record(artifact)
    assert record and record.provenance == PROVENANCE


def test_a_safetensors_file_carries_its_record(lake: Lake) -> None:
    artifact = Artifact("weights", suffix="safetensors")
    stamp = record_metadata(PROVENANCE, "0" * 32, {"model": "small"})
    header = json.dumps({"info": {}, "metadata": stamp})
    save_file({"a": np.zeros(3, np.float32)}, lake.path(artifact), metadata={"backbone": header})
    record = lake.record(artifact)
    assert record
    assert (record.provenance, record.fingerprint) == (PROVENANCE, "0" * 32)
    assert record.statistics == {"model": "small"}
    assert (record.rows, record.schema) == (None, None)


def test_the_real_classifiers_and_backbones_carry_records(tiny_lake: Settings) -> None:
    lake = Lake(tiny_lake.lake)
    for artifact in (
        Artifact("base_backbone", suffix="safetensors"),
        Artifact("classifier", "base_dct", "safetensors"),
    ):
        record = lake.record(artifact)
        assert record
        assert record.provenance["asset"] == artifact.asset
        assert record.provenance["partition"] == artifact.partition
        assert len(record.fingerprint) == 32
        assert record.statistics


def test_foreign_files_have_empty_records(lake: Lake) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), lake.path(Artifact("foreign")))
    save_file({"a": np.zeros(1, np.float32)}, lake.path(Artifact("foreign", suffix="safetensors")))
    for suffix in ("parquet", "safetensors"):
        record = lake.record(Artifact("foreign", suffix=suffix))
        assert record
        assert (record.provenance, record.fingerprint, record.statistics) == ({}, "", {})


def test_what_is_not_there_has_no_record(lake: Lake) -> None:
    artifact = Artifact("sizes", "00")
    assert lake.record(artifact) is None
    assert lake.record(Artifact("sizes", suffix="safetensors")) is None
    assert not lake.exists(artifact)
    for look in (lake.read, lake.open):
        with pytest.raises(MissingArtifactError, match=r"sizes/00 is not in the lake .*materialize sizes first"):
            look(artifact)


def test_the_error_for_a_missing_artifact_crosses_processes() -> None:
    error = MissingArtifactError(Artifact("sizes", "00"), Path("lake/sizes/00.parquet"))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, MissingArtifactError)
    assert str(again) == str(error)


def test_columns_and_rows_can_be_chosen(lake: Lake) -> None:
    artifact = Artifact("sizes")
    write_numbers(lake, artifact, [("a", 1), ("b", 2), ("c", 3)])
    assert lake.read(artifact, ["name"]).column_names == ["name"]
    assert lake.read(artifact, filters=[("size", ">", 1)]).column("name").to_pylist() == ["b", "c"]
