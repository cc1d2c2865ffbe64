"""A lake in a bucket, against a real server: what is published, read, missing, and fought over."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.request import urlopen

import numpy as np
import pytest
from google.api_core.exceptions import Forbidden
from safetensors.numpy import save_file

from plantclef_assets.engines.local import run_shards
from plantclef_assets.lake.buckets import OvertakenError, UnreachableBucketError, default_client, explained
from plantclef_assets.lake.catalog import duplicate_keys, open_catalog
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.store import Artifact, Lake, MissingArtifactError, record_metadata
from plantclef_assets.lake.tables import Shard, write_quarantine
from plantclef_assets.lake.verification import verify_artifacts
from plantclef_assets_tests.gcs_server import put_object
from plantclef_assets_tests.lake.tables import WriteOneNumber, write_numbers

pytestmark = pytest.mark.gcs

ONE, OTHER = Artifact("sizes", "00"), Artifact("sizes", "01")


@pytest.fixture
def lake(bucket: str, tmp_path: Path) -> Lake:
    return Lake(f"{bucket}/some/lake", str(tmp_path / "cache"))


def objects(lake: Lake) -> list[str]:
    """Name the objects of the lake."""
    filesystem, root = open_filesystem(lake.root)
    return sorted(path.removeprefix(root + "/") for path in filesystem.find(root))


def test_what_is_published_is_there_and_says_what_it_is(lake: Lake) -> None:
    assert (lake.exists(ONE), lake.record(ONE)) == (False, None)
    write_numbers(lake, ONE, [("a", 1), ("b", 2)], made_by="test")
    record = lake.record(ONE)
    assert record is not None
    assert (record.provenance, record.rows, record.statistics["rows"]) == ({"made_by": "test"}, 2, 2)
    assert record.bytes == lake.path(ONE).stat().st_size
    assert lake.exists(ONE)
    assert objects(lake) == ["sizes/00.parquet"]
    assert lake.path(ONE).as_uri() == f"{lake.root}/sizes/00.parquet"


def test_it_is_the_same_artifact_as_in_a_folder(lake: Lake, tmp_path: Path) -> None:
    rows = [(f"name {number}", number) for number in range(5000)]
    local = Lake(str(tmp_path / "lake"))
    for one in (lake, local):
        write_numbers(one, ONE, rows, cut=700)
    assert lake.path(ONE).read_bytes() == local.path(ONE).read_bytes()
    assert lake.record(ONE) == local.record(ONE)
    assert lake.read(ONE) == local.read(ONE)
    assert lake.read(ONE, ["name"], [("size", "<", 7)]) == local.read(ONE, ["name"], [("size", "<", 7)])
    batches = [list(one.open(ONE).iter_batches(batch_size=300)) for one in (lake, local)]
    assert batches[0] == batches[1]


@pytest.mark.parametrize("read", [Lake.read, Lake.open])
def test_what_is_missing_is_named(lake: Lake, read: Callable[[Lake, Artifact], object]) -> None:
    with pytest.raises(MissingArtifactError, match="materialize sizes first") as caught:
        read(lake, ONE)
    assert str(lake.path(ONE)) in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(FileNotFoundError):
        lake.local(lake.path(ONE))


def test_an_exception_leaves_the_old_object_and_no_file(lake: Lake) -> None:
    write_numbers(lake, ONE, [("old", 1)])
    with pytest.raises(KeyboardInterrupt), lake.publish(lake.path(ONE)) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert lake.read(ONE).to_pylist() == [{"name": "old", "size": 1}]
    assert not [path for path in lake.folder.rglob("*") if path.is_file()]


def test_a_block_that_writes_nothing_publishes_nothing(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError), lake.publish(lake.path(ONE)):
        pass
    assert not lake.exists(ONE)


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize("size", [1000, 9 * 2**20], ids=["in one request", "resumable"])
def test_of_two_writers_the_later_one_is_told(lake: Lake, there_before: bool, size: int) -> None:
    path = lake.path(Artifact("weights", suffix="bin"))
    if there_before:
        with lake.publish(path) as temporary:
            temporary.write_bytes(b"before")
    with pytest.raises(OvertakenError, match="was changed by another process") as caught, lake.publish(path) as late:
        with lake.publish(path) as early:
            early.write_bytes(b"e" * size)
        late.write_bytes(b"l" * size)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"e" * size


def test_what_may_not_be_replaced_stays(lake: Lake) -> None:
    path = lake.path(Artifact("weights", suffix="bin"))
    with lake.publish(path, replace=False) as temporary:
        temporary.write_bytes(b"first")
    with pytest.raises(OvertakenError), lake.publish(path, replace=False) as temporary:
        temporary.write_bytes(b"second")
    assert path.read_bytes() == b"first"


def test_writers_who_race_leave_one_whole_object(lake: Lake) -> None:
    path, barrier = lake.path(Artifact("weights", suffix="bin")), Barrier(4)

    def publish(content: bytes) -> bool:
        try:
            with lake.publish(path) as temporary:
                temporary.write_bytes(content)
                barrier.wait()
        except OvertakenError:
            return False
        return True

    contents = [bytes([number]) * 300_000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(publish, contents))
    assert won.count(True) == 1
    assert path.read_bytes() == contents[won.index(True)]


def test_two_who_make_the_same_do_not_mind_each_other(lake: Lake) -> None:
    path = lake.path(Artifact("weights", suffix="bin"))
    with lake.publish(path) as late:
        with lake.publish(path) as early:
            early.write_bytes(b"same")
        late.write_bytes(b"same")
    assert path.read_bytes() == b"same"


def test_the_same_rows_of_the_same_making_are_the_same_whatever_their_bytes(lake: Lake) -> None:
    from plantclef_assets.lake.tables import write_table
    from plantclef_assets_tests.lake.tables import NUMBERS

    def write(provenance: dict, note: int, name: str = "a") -> None:
        with write_table(lake, ONE, NUMBERS, provenance) as table:
            table.write_rows(name=[name], size=[1])
            table.statistics = {"seconds": note}
            if note == 1:
                write(provenance if name == "a" else {"by": "another"}, 2)

    write({"by": "one"}, 1)
    record = lake.record(ONE)
    assert record is not None
    assert record.statistics["seconds"] == 2, "the first one stands"
    with pytest.raises(OvertakenError):
        write({"by": "one"}, 1, "b")


def test_a_kill_in_the_middle_of_an_upload_leaves_the_old_object(lake: Lake) -> None:
    path = lake.path(Artifact("weights", suffix="bin"))
    with lake.publish(path) as temporary:
        temporary.write_bytes(b"old")
    code = """
import os, signal, sys
from google.cloud.storage import _media
from google.cloud.storage._media.requests import ResumableUpload
from plantclef_assets.lake import buckets
from plantclef_assets.lake.store import Artifact, Lake
buckets._UPLOADED_AT_ONCE_BYTES = 2**18
sent, transmit = [], ResumableUpload.transmit_next_chunk
def transmit_and_die(self, *arguments, **options):
    answer = transmit(self, *arguments, **options)
    sent.append(self.bytes_uploaded)
    if len(sent) == 3:
        print(sent, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
ResumableUpload.transmit_next_chunk = transmit_and_die
lake = Lake(sys.argv[1], sys.argv[2])
with lake.publish(lake.path(Artifact("weights", suffix="bin"))) as temporary:
    temporary.write_bytes(b"n" * 2**24)
"""
    killed = subprocess.run([sys.executable, "-c", code, lake.root, lake.cache], capture_output=True, text=True)
    assert killed.returncode < 0, killed.stderr
    assert killed.stdout.strip() == str([2**18, 2**19, 3 * 2**18]), "it was in the middle"
    assert path.read_bytes() == b"old"
    assert len(list(lake.folder.rglob("*.incomplete"))) == 1
    with lake.publish(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert not list(lake.folder.rglob("*.incomplete")), "the next one clears it away"


def test_a_local_copy_is_fetched_once_and_follows_the_object(lake: Lake) -> None:
    path = lake.path(Artifact("weights", suffix="bin"))
    for content in (b"first", b"second"):
        with lake.publish(path) as temporary:
            temporary.write_bytes(content)
        copy = lake.local(path)
        assert copy.read_bytes() == content
        assert copy.suffix == ".bin"
        stamp = copy.stat().st_mtime_ns
        assert lake.local(path).stat().st_mtime_ns == stamp
        assert list(copy.parent.iterdir()) == [copy], "older copies go"


def test_a_reader_never_sees_parts_of_two_objects(lake: Lake) -> None:
    rows = [(f"{number}", number) for number in range(400_000)]
    write_numbers(lake, ONE, rows, cut=len(rows))
    file = lake.open(ONE)
    write_numbers(lake, ONE, [(name, size + 1) for name, size in rows], cut=len(rows))
    with pytest.raises(OSError, match="was replaced while it was read"):
        file.read()


def test_a_record_costs_two_requests(lake: Lake, gcs: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    write_numbers(lake, ONE, [("a", 1)])
    log = next(tmp_path_factory.getbasetemp().glob("gcs*/objects.log"))
    lake.require()
    before = log.read_text().count("HTTP/1.1")
    lake.record(ONE)
    assert log.read_text().count("HTTP/1.1") - before == 2


def test_the_catalog_has_a_view_of_each_table(lake: Lake) -> None:
    write_numbers(lake, ONE, [("a", 1), ("b", 2)])
    write_numbers(lake, OTHER, [("c", 3)])
    write_numbers(lake, Artifact("alone"), [("a", 1)])
    write_quarantine(lake, ONE, [{"source": "x.jpg", "image_name": "x", "reason": "empty", "detail": None}])
    with open_catalog(lake) as catalog:
        assert catalog.sql("select * from sizes order by name").fetchall() == [
            ("a", 1, "00"),
            ("b", 2, "00"),
            ("c", 3, "01"),
        ]
        assert catalog.sql("select * from alone").fetchall() == [("a", 1)]
        assert catalog.sql("select asset, reason from quarantine").fetchall() == [("sizes", "empty")]
    with open_catalog(lake, ["alone", "absent"]) as catalog:
        names = catalog.sql("select view_name from duckdb_views() where not internal").fetchall()
    assert names == [("alone",)], "only those that are wanted and there"


def test_duplicate_keys_are_found_within_and_across_objects(lake: Lake) -> None:
    write_numbers(lake, ONE, [("a", 1), ("b", 2), ("b", 3)])
    write_numbers(lake, OTHER, [("c", 1), ("a", 9)])
    assert duplicate_keys(lake, [ONE, OTHER], ["name"]) == [
        (OTHER, {"name": "a", "copies": 2}),
        (ONE, {"name": "b", "copies": 2}),
    ]


def test_a_prefix_may_have_an_odd_name(bucket: str, tmp_path: Path) -> None:
    lake = Lake(f"{bucket}/it's with space, comma", str(tmp_path))
    write_numbers(lake, ONE, [("a", 1)])
    with open_catalog(lake) as catalog:
        assert catalog.sql("select name, partition from sizes").fetchall() == [("a", "00")]
    assert lake.local(lake.path(ONE)).is_file()


def test_a_bucket_that_is_not_there_is_one_sentence(gcs: str, tmp_path: Path) -> None:
    lake = Lake("gs://no-such-bucket/lake", str(tmp_path))
    with pytest.raises(UnreachableBucketError, match="there is no bucket 'no-such-bucket'"):
        lake.require()
    with pytest.raises(UnreachableBucketError, match="there is no bucket 'no-such-bucket'"):
        write_numbers(lake, ONE, [("a", 1)])


def test_without_credentials_it_is_said_how_to_get_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(UnreachableBucketError, match="gcloud auth application-default login"):
        default_client.__wrapped__()


def test_without_permission_it_is_said_which_is_needed() -> None:
    with pytest.raises(UnreachableBucketError) as caught, explained("gs://bucket/lake"):
        raise Forbidden("not yours")
    assert str(caught.value).startswith("no permission for gs://bucket/lake: not yours; ")
    assert "Storage Object User" in str(caught.value)


def test_worker_processes_write_to_the_bucket(lake: Lake) -> None:
    shards = [Shard(artifact, {}) for artifact in (ONE, OTHER)]
    outcomes = list(run_shards(WriteOneNumber(lake), shards, workers=2))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [lake.read(artifact).to_pylist() for artifact in (ONE, OTHER)] == [
        [{"name": "00", "size": 1}],
        [{"name": "01", "size": 1}],
    ]


def test_a_question_on_the_command_line_is_answered(lake: Lake) -> None:
    write_numbers(lake, ONE, [("a", 17)])
    variables = os.environ | {"PLANTCLEF_LAKE": lake.root}
    command = [sys.executable, "-m", "plantclef_assets.lake", "select * from sizes"]
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "17" in answer.stdout
    absent = subprocess.run(
        command, env=variables | {"PLANTCLEF_LAKE": "gs://no-such-bucket"}, capture_output=True, text=True, timeout=120
    )
    assert absent.returncode == 1
    assert absent.stderr.strip() == "there is no bucket 'no-such-bucket'; create it, or correct its name"


def test_the_server_is_the_real_one(gcs: str, lake: Lake) -> None:
    """The other tests depend on the correctness of this server."""
    with lake.publish(lake.path(Artifact("words", suffix="txt"))) as temporary:
        temporary.write_text("over HTTP")
    bucket, _, prefix = lake.root.removeprefix("gs://").partition("/")
    key = f"{prefix}/words.txt".replace("/", "%2F")
    with urlopen(f"{gcs}/storage/v1/b/{bucket}/o/{key}?alt=media") as answer:
        assert answer.read() == b"over HTTP"


def test_records_of_weights_are_read_from_their_header(lake: Lake) -> None:
    weights = Artifact("backbone", suffix="safetensors")
    metadata = {"info": json.dumps({"metadata": record_metadata({"made": 1}, "abc", {"classes": 3})})}
    with lake.publish(lake.path(weights)) as temporary:
        save_file({"weight": np.zeros((1000, 1000), np.float32)}, temporary, metadata=metadata)
    record = lake.record(weights)
    assert record is not None
    assert (record.provenance, record.fingerprint, record.statistics) == ({"made": 1}, "abc", {"classes": 3})


def test_artifacts_in_a_bucket_are_verified(lake: Lake) -> None:
    for artifact in (ONE, OTHER):
        write_numbers(lake, artifact, [("a", 1), ("b", 2)])
    write_quarantine(lake, ONE, [{"source": "x.jpg", "image_name": "x", "reason": "empty", "detail": None}])

    def problems() -> dict[str, str | None]:
        found = verify_artifacts(lake, [], ["sizes"], lambda asset, path: None)
        return {str(artifact): problem for artifact, problem in found}

    assert problems() == {"quarantine/sizes/00": None, "sizes/00": None, "sizes/01": None}
    flipped = bytearray(lake.path(OTHER).read_bytes())
    flipped[10] ^= 0xFF
    put_object(str(lake.path(OTHER)), bytes(flipped))
    put_object(str(lake.path(ONE)), b"PAR1")
    after = problems()
    assert after["quarantine/sizes/00"] is None
    for artifact in (ONE, OTHER):
        assert (after[str(artifact)] or "").startswith(f"{artifact} is damaged (")
