"""Partial files: the bytes of a download beside its target, and a journal of the bytes that have arrived.

`<name>.incomplete` has the bytes, and the length of the complete file. The first line of `<name>.incomplete.journal`
describes the file (address, version, length, chunk size); each further line gives a chunk and the position up to which
it has arrived. A line is written after its bytes have reached the disk, so after a crash of the process or the machine
the journal never claims missing bytes. The file is sparse: free space is checked before the start, and some file
systems can only preallocate by writing every block.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from plantclef_assets.ingest.downloads.errors import Stopped
from plantclef_assets.lake.atomic import publish_file


@dataclass(frozen=True)
class Plan:
    """The description of a file that is downloaded in chunks.

    Attributes:
        address: its address without the query, which may be a signature that expires.
        version: the server's strong ETag or Last-Modified; None if it sends neither.
        total: bytes of the file.
        chunk_bytes: bytes of each chunk but the last.
    """

    address: str
    version: str | None
    total: int
    chunk_bytes: int


@dataclass
class Piece:
    """An unfinished chunk: the bytes before `at` have arrived, `end` is the position after its last byte.

    `marked` is the position in the journal. A file without ranges is one piece, whose end may be unknown (None).
    """

    index: int
    at: int
    end: int | None
    marked: int = 0


class PartialFile:
    """The bytes of an unfinished download; thread-safe.

    Attributes:
        plan: the description of the file; None before it is known, and for a file without ranges.
        done: bytes that have arrived.
        stop: set when nothing more is written.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".incomplete")
        self.plan: Plan | None = None
        self.done = 0
        self.stop = threading.Event()
        self._target = target
        self._journal_path = target.with_name(target.name + ".incomplete.journal")
        self._lock = threading.Lock()
        self._unfinished: dict[int, Piece] = {}
        self._waiting: list[int] = []
        self._content: BinaryIO | None = None
        self._journal: BinaryIO | None = None

    @property
    def unfinished(self) -> int:
        """Number of unfinished chunks."""
        return len(self._unfinished)

    @property
    def disk_bytes(self) -> int:
        """Bytes of disk that the file occupies; holes occupy none."""
        return self.path.stat().st_blocks * 512 if self.path.exists() else 0

    def resume(self, address: str) -> bool:
        """Resume the download of an earlier process; return False if there is none of this address."""
        try:
            lines = self._journal_path.read_bytes()
            lines = lines[: lines.rfind(b"\n") + 1]  # ignore a torn last line
            plan, pieces = _read_journal(lines)
            if plan.address != address or self.path.stat().st_size != plan.total:
                return False
        except (OSError, ValueError, TypeError, KeyError):
            return False
        self._content, self._journal = self.path.open("rb+", 0), self._journal_path.open("rb+", 0)
        self._journal.seek(self._journal.truncate(len(lines)))
        self._set_plan(plan, pieces)
        return True

    def begin(self, plan: Plan) -> None:
        """Start a file that is downloaded in chunks; earlier bytes are deleted.

        Raises:
            OSError: the disk is full or fails.
        """
        self.forget()
        self._content = self.path.open("wb", 0)
        self._content.truncate(plan.total)
        self._journal = self._journal_path.open("wb", 0)
        self._journal.write(f"{json.dumps(asdict(plan))}\n".encode())
        os.fsync(self._journal.fileno())
        self._set_plan(plan, _chunks(plan))

    def begin_stream(self, total: int | None) -> Piece:
        """Start a file without ranges, which cannot be resumed; return its only piece."""
        self.forget()
        self._content = self.path.open("wb", 0)
        self._unfinished = {0: Piece(0, 0, total)}
        return self._unfinished[0]

    @contextmanager
    def taken(self) -> Iterator[Piece | None]:
        """Reserve the next unfinished piece for the duration of the block; None if no piece is left.

        A piece that is still unfinished at the end returns to the queue and is continued from its position.

        Raises:
            Stopped: the transfer has ended.
        """
        with self._lock:
            if self.stop.is_set():
                raise Stopped
            piece = self._unfinished[self._waiting.pop(0)] if self._waiting else None
        try:
            yield piece
        finally:
            with self._lock:
                if piece and self._unfinished.get(piece.index) is piece:
                    self._waiting.insert(0, piece.index)

    def write(self, piece: Piece, content: bytes, report: Callable[[int], None]) -> None:
        """Write the next bytes of a piece, and call `report` with the number of bytes that have arrived in all.

        Raises:
            Stopped: the transfer has ended; nothing was written.
            OSError: the disk is full or fails.
        """
        with self._lock:
            if self.stop.is_set() or self._content is None:
                raise Stopped
            rest, at = memoryview(content), piece.at
            while rest:  # a write may be partial
                written = os.pwrite(self._content.fileno(), rest, at)
                rest, at = rest[written:], at + written
            piece.at = at
            self.done += len(content)
            report(self.done)

    def finish(self, piece: Piece) -> None:
        """Record a piece as finished, once its bytes have reached the disk.

        Raises:
            Stopped: the transfer has ended.
            OSError: the disk fails.
        """
        try:
            if self._content is not None:
                os.fsync(self._content.fileno())
        except (OSError, ValueError):
            if self.stop.is_set():
                raise Stopped from None
            raise
        with self._lock:
            if self.stop.is_set():
                raise Stopped
            self._record([piece])
            self._unfinished.pop(piece.index, None)

    def close(self) -> None:
        """Stop all writers; the bytes stay and are recorded in the journal, also those of unfinished chunks."""
        with self._lock:
            self.stop.set()
            if self._content is not None:
                with suppress(OSError):  # unrecorded bytes are downloaded again
                    os.fsync(self._content.fileno())
                    self._record(list(self._unfinished.values()))
            self._close_files()

    def forget(self) -> None:
        """Delete all bytes and the journal."""
        with self._lock:
            self._close_files()
            self._journal_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            self.plan, self.done = None, 0
            self._unfinished, self._waiting = {}, []

    def publish(self) -> None:
        """Rename the complete file to its target, atomically."""
        self.close()
        publish_file(self.path, self._target)
        self._journal_path.unlink(missing_ok=True)

    def _set_plan(self, plan: Plan, pieces: dict[int, Piece]) -> None:
        self.plan = plan
        self._unfinished = {index: piece for index, piece in pieces.items() if piece.at != piece.end}
        self._waiting = list(self._unfinished)
        self.done = plan.total - sum((piece.end or 0) - piece.at for piece in self._unfinished.values())

    def _record(self, pieces: list[Piece]) -> None:
        advanced = [piece for piece in pieces if piece.at > piece.marked]
        if self._journal is not None and advanced:
            self._journal.write("".join(f"{piece.index} {piece.at}\n" for piece in advanced).encode())
            os.fsync(self._journal.fileno())
            for piece in advanced:
                piece.marked = piece.at

    def _close_files(self) -> None:
        for stream in (self._content, self._journal):
            if stream is not None:
                stream.close()
        self._content = self._journal = None


def _read_journal(lines: bytes) -> tuple[Plan, dict[int, Piece]]:
    """Parse a journal into the plan and the chunks with their positions.

    Raises:
        ValueError, TypeError, KeyError: the content is not a journal.
    """
    header, *marks = lines.decode().splitlines()
    plan = Plan(**json.loads(header))
    pieces = _chunks(plan)
    for mark in marks:
        index, at = map(int, mark.split())
        piece = pieces[index]
        if not piece.at <= at <= (piece.end or 0):
            raise ValueError(f"chunk {index} has no byte {at}")
        piece.at = piece.marked = at
    return plan, pieces


def _chunks(plan: Plan) -> dict[int, Piece]:
    """Return the chunks of a file by number."""
    starts = range(0, plan.total, plan.chunk_bytes)
    return {
        index: Piece(index, start, min(start + plan.chunk_bytes, plan.total), marked=start)
        for index, start in enumerate(starts)
    }
