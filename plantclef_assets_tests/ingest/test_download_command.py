"""The command that fetches published files, as a person runs it: killed, asked again, told what is wrong."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from plantclef_assets.cli.ingest import main
from plantclef_assets_tests.ingest.failing_server import CHUNK, CONTENT, SHA256, FailingServer, left_in

CONNECTIONS = 3


def start(server: FailingServer, folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "plantclef_assets.ingest", "download", f"{server.root}w.bin"]
    return subprocess.Popen(
        [*command, "--to", str(folder), "--connections", str(CONNECTIONS), *options],
        env=os.environ | {"PLANTCLEF_DOWNLOAD__CHUNK_BYTES": str(CHUNK)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a script they ignore interruptions, and hand that on.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def marked(folder: Path) -> dict[int, int]:
    """Read from the journal how many bytes of each chunk are there."""
    try:
        header, *marks = (folder / "w.bin.incomplete.journal").read_text().splitlines()
    except (OSError, ValueError):
        return {}
    size = json.loads(header)["chunk_bytes"]
    return {int(index): int(at) - int(index) * size for index, at in (mark.split() for mark in marks)}


def wait_until_marked(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while sum(marked(folder).values()) < count:
        assert time.monotonic() < deadline, "the download does not come on"
        time.sleep(0.01)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_download_that_is_ended_in_the_middle_is_finished_by_the_same_command(
    kill: signal.Signals, server: FailingServer, tmp_path: Path
) -> None:
    server.stall_at = len(CONTENT) // 2
    first = start(server, tmp_path, "--sha256", SHA256)
    wait_until_marked(tmp_path, server.stall_at - CONNECTIONS * CHUNK)
    first.send_signal(kill)
    _, said = first.communicate(timeout=60)
    assert first.returncode == (130 if kill == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in said
    assert "w.bin" not in left_in(tmp_path)
    there = marked(tmp_path)
    sent_before = server.sent
    server.stall_at = None
    server.go_on.set()
    server.forget()
    second = start(server, tmp_path, "--sha256", SHA256)
    out, said = second.communicate(timeout=60)
    assert (second.returncode, out) == (0, f"1 of 1 files are in {tmp_path}\n"), said
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert left_in(tmp_path) == ["w.bin"]
    asked = [tuple(map(int, (span or "").removeprefix("bytes=").split("-"))) for span in server.requests]
    assert all(first // CHUNK not in there or first % CHUNK == there[first // CHUNK] for first, _ in asked)
    assert server.sent == len(CONTENT) - sum(there.values())
    assert server.sent + sent_before <= len(CONTENT) + CONNECTIONS * CHUNK, "not more than a chunk a connection twice"


def test_two_commands_at_once_fetch_a_file_once(server: FailingServer, tmp_path: Path) -> None:
    server.stall_at = CHUNK
    first, second = start(server, tmp_path), start(server, tmp_path)
    wait_until_marked(tmp_path, 1)
    time.sleep(1)  # for the other one to come
    server.go_on.set()
    said = "".join(process.communicate(timeout=60)[1] for process in (first, second))
    assert (first.returncode, second.returncode) == (0, 0), said
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert server.sent == len(CONTENT)


def run(*arguments: str) -> int:
    return main(["download", *arguments])


def test_files_of_a_directory_and_of_a_list_come_by_one_command(
    server: FailingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = "<a href='../'>Up</a><a href='?C=N'>Name</a><a href='a%20b.tar'>a b</a><a href='c.tar'>c</a><a href='c.md5'>"
    server.files |= {"/set/": page.encode(), "/set/a%20b.tar": b"one", "/set/c.tar": b"two"}
    (tmp_path / "list.txt").write_text(
        f"# comment\n\n{server.root}w.bin#md5={hashlib.md5(CONTENT).hexdigest()}\n", encoding="utf-8"
    )
    folder = tmp_path / "to"
    arguments = (f"{server.root}set/", "--match", "*.tar", "--list", str(tmp_path / "list.txt"), "--to", str(folder))
    assert run(*arguments) == 0
    assert capsys.readouterr().out == f"3 of 3 files are in {folder}\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a b.tar": b"one",
        "c.tar": b"two",
        "w.bin": CONTENT,
    }


def test_what_fails_is_one_line_and_what_does_not_is_kept(
    server: FailingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{server.root}missing.tar", f"{server.root}w.bin", "--to", str(tmp_path)) == 1
    said = capsys.readouterr()
    assert said.err == f"{server.root}missing.tar could not be downloaded: the server answers 404\n"
    assert said.out == f"1 of 2 files are in {tmp_path}\n"
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_options_beat_the_settings(
    server: FailingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTCLEF_DOWNLOAD__MAX_BYTES", "1M")
    monkeypatch.setenv("PLANTCLEF_TRAINING_IMAGES", "/not/there/yet")
    assert run(f"{server.root}w.bin", "--to", str(tmp_path)) == 1
    assert "exceed the limit of 1,000,000 bytes" in capsys.readouterr().err
    assert run(f"{server.root}w.bin", "--to", str(tmp_path), "--max-bytes", "4MB") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no address is given"),
        (["ftp://host/file"], "'ftp://host/file' is not an http or https address"),
        (["http://[::1"], "'http://[::1' has no valid host"),
        (["http://user:hunter2@host:x/w.bin"], "'http://host:x/w.bin' has no valid host"),
        (["https:///w.bin"], "'https:///w.bin' has no valid host"),
        (["{root}"], "could not be listed: the server answers 404"),
        (["{root}empty/"], "lists no file with a name that matches"),
        (["{root}.."], "does not end with the name of a file"),
        (["{root}a%2Fb"], "does not end with the name of a file"),
        (["{root}a/w.bin", "{root}b/w.bin"], "2 of the addresses would be written to"),
        (["{root}w.bin#sha256=12"], "does not end with a checksum"),
        (["{root}w.bin#crc32=12"], "does not end with a checksum"),
        (["{root}w.bin", "{root}x.bin", "--sha256", "0" * 64], "--sha256 is for one address"),
        (["--list", "/nowhere.txt"], "the list of addresses /nowhere.txt cannot be read"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_fetches_nothing(
    arguments: list[str], said: str, server: FailingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/empty/"] = b"<a href='../'>"
    assert run(*(one.format(root=server.root) for one in arguments), "--to", str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not any("w.bin" in name for name in left_in(tmp_path))


@pytest.mark.parametrize("options", [["--rate", "fast"], ["--connections", "0"], ["--sha256", "12"], ["--rate", "0"]])
def test_an_impossible_option_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("http://localhost/file", "--to", "folder", *options)
    assert options[1] in capsys.readouterr().err


def test_what_is_published_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTCLEF_PROFILE", "plantclef2025")
    assert main(["published"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["training_metadata", "780.0MB"],
        ["training_images", "160.0GB"],
        ["training_images_full", "281.0GB"],
        ["plot_images", "8.0GB"],
        ["finetuned_weights", "2.3GB"],
    ]
    assert all(address.startswith("https://") for *_, address in rows)
    monkeypatch.setenv("PLANTCLEF_PROFILE", "demo")
    assert main(["published"]) == 1
    assert "The profile has no published files" in capsys.readouterr().err
