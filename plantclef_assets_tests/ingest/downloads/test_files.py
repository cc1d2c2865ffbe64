"""Downloads of one file and of many from a server on loopback: completeness, locking and limits."""

import hashlib
import threading
import time
from pathlib import Path

import pytest

from plantclef_assets.ingest.downloads import Download, DownloadError, Limits, download_files
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets_tests.ingest.failing_server import (
    CHUNK,
    CONTENT,
    ONE_BY_ONE,
    PARALLEL,
    QUICK,
    RANGES,
    SHA256,
    FailingServer,
    FakeClock,
    Fetch,
    download_file,
    left_in,
)
from plantclef_assets_tests.tiny import materialize, tiny_settings


@pytest.mark.parametrize("limits", [ONE_BY_ONE, PARALLEL, Limits()], ids=["one by one", "parallel", "in one chunk"])
def test_a_file_arrives_whole_and_nothing_else_is_left(
    limits: Limits, server: FailingServer, fetch: Fetch, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    assert fetch(limits, sha256=SHA256, progress=lambda done, total: seen.append((done, total))) == CONTENT
    assert left_in(tmp_path) == ["w.bin"]
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert server.sent == len(CONTENT), "no byte was fetched twice"
    assert sorted(map(str, server.requests)) == sorted(RANGES if limits.chunk_bytes == CHUNK else ["bytes=0-16777215"])


def test_no_more_connections_are_open_than_are_allowed(server: FailingServer, fetch: Fetch) -> None:
    server.stall_at = 1

    def let_go_once_three_are_open() -> None:
        while server.open_at_once < 3 and not server.go_on.wait(0.01):
            pass
        server.go_on.wait(0.1)  # for a fourth, if there were one
        server.go_on.set()

    threading.Thread(target=let_go_once_three_are_open, daemon=True).start()
    assert fetch(Limits(connections=3, chunk_bytes=CHUNK)) == CONTENT
    assert server.open_at_once == 3


def test_what_a_process_left_that_was_killed_after_publication_is_removed(
    server: FailingServer, fetch: Fetch, tmp_path: Path
) -> None:
    fetch(Limits(), sha256=SHA256)
    for name in ("w.bin.incomplete.journal", "w.bin.incomplete.lock"):
        (tmp_path / name).write_text("")
    assert fetch(Limits(), sha256=SHA256) == CONTENT
    assert left_in(tmp_path) == ["w.bin"]
    assert len(server.requests) == 1


def test_a_file_that_is_there_is_not_fetched_again(server: FailingServer, fetch: Fetch) -> None:
    fetch(Limits(), sha256=SHA256)
    fetch(Limits(), sha256=SHA256, md5=hashlib.md5(CONTENT).hexdigest())
    assert len(server.requests) == 1


def test_an_empty_file_arrives(server: FailingServer, fetch: Fetch) -> None:
    server.files["/w.bin"] = b""
    assert fetch() == b""


@pytest.mark.parametrize("checksum", [{"sha256": "0" * 64}, {"md5": "0" * 32}], ids=["sha256", "md5"])
def test_another_file_than_was_meant_is_refused_and_not_kept(
    checksum: dict[str, str], fetch: Fetch, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=r"has (sha256|md5) [0-9a-f]+, not 0000"):
        fetch(**checksum)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("connections", [1, 4])
def test_bytes_a_second_are_kept_over_all_connections(connections: int, fetch: Fetch) -> None:
    clock = FakeClock()
    assert fetch(Limits(connections, 100_000, CHUNK), clock=clock.clock) == CONTENT
    least = len(CONTENT) / 100_000 - 1  # the bucket starts with the bytes of one second
    # Waits at the same time put this clock forward one after another, so with several it may be later, never earlier.
    assert clock.time - 1000 == pytest.approx(least) if connections == 1 else clock.time - 1000 > least * 0.999


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_is_larger_than_allowed_is_not_begun(
    ranges: bool, server: FailingServer, fetch: Fetch, tmp_path: Path
) -> None:
    server.ranges = ranges
    with pytest.raises(DownloadError, match="its 3,300,000 bytes exceed the limit of 3,000,000 bytes"):
        fetch(Limits(max_bytes=3_000_000))
    assert "w.bin.incomplete" not in left_in(tmp_path)


def test_a_file_of_unknown_length_ends_where_the_limit_does(
    server: FailingServer, fetch: Fetch, tmp_path: Path
) -> None:
    server.ranges = server.length = False
    with pytest.raises(DownloadError, match="exceed the limit of 1,000,000 bytes"):
        fetch(Limits(max_bytes=1_000_000))
    assert "w.bin.incomplete" not in left_in(tmp_path)


def test_a_disk_without_room_is_told_before_it_is_full(
    server: FailingServer, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(DownloadError, match=r"has 3,300,000 bytes, but the disk of .* has only 1,000,000 free"):
        fetch()
    assert "w.bin.incomplete" not in left_in(tmp_path)


def test_a_disk_that_fills_up_on_the_way_is_one_clear_sentence(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(DownloadError, match=r"the disk of .* is full; 0 bytes are kept"):
        fetch(PARALLEL)


def test_a_second_download_of_the_same_file_waits_for_the_first(server: FailingServer, tmp_path: Path) -> None:
    server.stall_at = CHUNK
    said: list[str] = []
    results: list[bytes] = []

    def fetch() -> None:
        target = download_file(f"{server.root}w.bin", tmp_path / "w.bin", limits=PARALLEL, log=said.append)
        results.append(target.read_bytes())

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while not said and time.monotonic() < deadline:
        time.sleep(0.01)
    server.go_on.set()
    for thread in threads:
        thread.join()
    assert said == ["Another process is downloading w.bin; waiting for it"]
    assert results == [CONTENT, CONTENT]
    assert server.sent == len(CONTENT)


def test_of_many_files_one_that_fails_keeps_none_of_the_others(server: FailingServer, tmp_path: Path) -> None:
    server.files |= {f"/{n}.bin": CONTENT[: n * 100_000] for n in range(9)}
    names = ["0.bin", "1.bin", "missing.bin", *(f"{n}.bin" for n in range(2, 9))]
    downloads = [Download(f"{server.root}{name}", tmp_path / name) for name in names]
    seen: list[tuple[int, int | None]] = []
    failed = download_files(
        downloads, limits=PARALLEL, retries=QUICK, progress=lambda done, total: seen.append((done, total))
    )
    assert [one.target.name for one in failed] == ["missing.bin"]
    assert all((tmp_path / f"{n}.bin").read_bytes() == CONTENT[: n * 100_000] for n in range(9))
    assert seen[-1] == (3_600_000, 3_600_000)
    assert server.open_at_once <= 4


def test_many_files_share_what_is_allowed(server: FailingServer, tmp_path: Path) -> None:
    server.files |= {f"/{n}.bin": bytes(100_000) for n in range(5)}
    downloads = [Download(f"{server.root}{n}.bin", tmp_path / f"{n}.bin") for n in range(5)]
    failed = download_files(downloads, limits=Limits(max_bytes=350_000), retries=QUICK)
    assert len(failed) == 2
    assert sum(path.stat().st_size for path in tmp_path.glob("*.bin")) == 300_000


def test_weights_come_from_an_address_once(server: FailingServer, tmp_path: Path, tiny_survey: Path) -> None:
    content = (tiny_survey / "weights.safetensors").read_bytes()
    server.files["/weights.safetensors"] = content
    address = f"{server.root}weights.safetensors#sha256={hashlib.sha256(content).hexdigest()}"
    settings = tiny_settings(
        tiny_survey, tmp_path / "lake", base_weights=address, download={"connections": 2, "chunk_bytes": "64KiB"}
    )
    assert materialize(settings, "base_backbone").success
    record = Lake(settings.lake).record(Artifact("base_backbone", suffix="safetensors"))
    assert record is not None
    assert record.statistics["source"] == address
    assert record.statistics["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert server.sent == len(content)
    assert server.requests[0] == "bytes=0-65535", "the settings of downloads are those of weights too"
    Lake(settings.lake).path(Artifact("base_backbone", suffix="safetensors")).unlink()
    server.forget()
    assert materialize(settings, "base_backbone").success
    assert server.requests == []
