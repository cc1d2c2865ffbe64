"""A file that is on its way: its bytes beside the target, and a journal of which of them are there.

The bytes lie in `<name>.incomplete`, as long as the whole file will be; `<name>.incomplete.journal` has a line for what
the file is (address, the server's mark of its version, length, bytes of a chunk), and then lines that say up to which
byte a chunk is there. A line is written after its bytes have reached the disk, so whatever kills the process or the
machine, no line speaks of bytes that are not there. The file is sparse: room is judged before it starts, and some file
systems would have to write every block in order to set it aside.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from plantclef_assets.ingest.limits import Stopped


@dataclass(frozen=True)
class Plan:
    """What a file that comes in chunks is.

    Attributes:
        address: where it comes from, without what follows `?` (a signature, which may be another one tomorrow).
        version: the server's strong ETag or its Last-Modified; None where it has neither.
        total: bytes of the file.
        chunk_bytes: bytes of each chunk but the last.
    """

    address: str
    version: str | None
    total: int
    chunk_bytes: int


@dataclass
class Piece:
    """A chunk that is not whole yet: its bytes up to `at` have come, `end` is the first that does not belong to it.

    `marked` is what the journal says of it. A file that comes in one go is one piece; its end may not be known (None).
    """

    index: int
    at: int
    end: int | None
    marked: int = 0


class PartialFile:
    """The bytes of a file that is on its way, for any number of threads.

    Attributes:
        plan: what the file is; None where nothing is known or it comes in one go.
        done: bytes that have come.
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
        """How many chunks are not whole yet."""
        return len(self._unfinished)

    @property
    def disk_bytes(self) -> int:
        """Bytes of disk that it takes by now; holes take none."""
        return self.path.stat().st_blocks * 512 if self.path.exists() else 0

    def resume(self, address: str) -> bool:
        """Go on with what an earlier process has left of the same address; False where there is nothing usable."""
        try:
            lines = self._journal_path.read_bytes()
            lines = lines[: lines.rfind(b"\n") + 1]  # a torn last line does not count
            plan, pieces = _read_journal(lines)
            if plan.address != address or self.path.stat().st_size != plan.total:
                return False
        except (OSError, ValueError, TypeError, KeyError):
            return False
        self._content, self._journal = self.path.open("rb+", 0), self._journal_path.open("rb+", 0)
        self._journal.seek(self._journal.truncate(len(lines)))
        self._lay_out(plan, pieces)
        return True

    def begin(self, plan: Plan) -> None:
        """Lay out a new file that comes in chunks; whatever was there is lost.

        Raises:
            OSError: the disk refuses.
        """
        self.forget()
        self._content = self.path.open("wb", 0)
        self._content.truncate(plan.total)
        self._journal = self._journal_path.open("wb", 0)
        self._journal.write(f"{json.dumps(asdict(plan))}\n".encode())
        os.fsync(self._journal.fileno())
        self._lay_out(plan, _cut(plan))

    def begin_stream(self, total: int | None) -> Piece:
        """Begin a new file that comes in one go, of which nothing can be continued; gives its one piece."""
        self.forget()
        self._content = self.path.open("wb", 0)
        self._unfinished = {0: Piece(0, 0, total)}
        return self._unfinished[0]

    @contextmanager
    def taken(self) -> Iterator[Piece | None]:
        """Take the next missing piece (None where nothing is left to be taken) for the time of a block.

        What is not finished then is given back: who takes it next goes on where it stands.

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

    def write(self, piece: Piece, content: bytes, tell: Callable[[int], None]) -> None:
        """Write the next bytes of a piece, and tell how many have come in all.

        Raises:
            Stopped: the transfer has ended; nothing is written any more.
            OSError: the disk is full, or fails.
        """
        with self._lock:
            if self.stop.is_set() or self._content is None:
                raise Stopped
            rest, at = memoryview(content), piece.at
            while rest:  # a write may take less than it is given
                written = os.pwrite(self._content.fileno(), rest, at)
                rest, at = rest[written:], at + written
            piece.at = at
            self.done += len(content)
            tell(self.done)

    def finish(self, piece: Piece) -> None:
        """Mark a piece as whole, once its bytes have reached the disk.

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
            self._mark([piece])
            self._unfinished.pop(piece.index, None)

    def close(self) -> None:
        """Stop all who write; what came stays and is marked, unfinished chunks too."""
        with self._lock:
            self.stop.set()
            if self._content is not None:
                with suppress(OSError):  # what cannot be marked is fetched again
                    os.fsync(self._content.fileno())
                    self._mark(list(self._unfinished.values()))
            self._close_files()

    def forget(self) -> None:
        """Delete all that came."""
        with self._lock:
            self._close_files()
            self._journal_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            self.plan, self.done = None, 0
            self._unfinished, self._waiting = {}, []

    def publish(self) -> None:
        """Give the file its name, in one step."""
        self.close()
        self.path.replace(self._target)
        self._journal_path.unlink(missing_ok=True)

    def _lay_out(self, plan: Plan, pieces: dict[int, Piece]) -> None:
        self.plan = plan
        self._unfinished = {index: piece for index, piece in pieces.items() if piece.at != piece.end}
        self._waiting = list(self._unfinished)
        self.done = plan.total - sum((piece.end or 0) - piece.at for piece in self._unfinished.values())

    def _mark(self, pieces: list[Piece]) -> None:
        news = [piece for piece in pieces if piece.at > piece.marked]
        if self._journal is not None and news:
            self._journal.write("".join(f"{piece.index} {piece.at}\n" for piece in news).encode())
            os.fsync(self._journal.fileno())
            for piece in news:
                piece.marked = piece.at

    def _close_files(self) -> None:
        for stream in (self._content, self._journal):
            if stream is not None:
                stream.close()
        self._content = self._journal = None


def _read_journal(lines: bytes) -> tuple[Plan, dict[int, Piece]]:
    """Read what a file is, and its chunks with what is there of each.

    Raises:
        ValueError, TypeError, KeyError: it is no journal.
    """
    header, *marks = lines.decode().splitlines()
    plan = Plan(**json.loads(header))
    pieces = _cut(plan)
    for mark in marks:
        index, at = map(int, mark.split())
        piece = pieces[index]
        if not piece.at <= at <= (piece.end or 0):
            raise ValueError(f"chunk {index} has no byte {at}")
        piece.at = piece.marked = at
    return plan, pieces


def _cut(plan: Plan) -> dict[int, Piece]:
    """Cut a file into its chunks, by number."""
    starts = range(0, plan.total, plan.chunk_bytes)
    return {
        index: Piece(index, start, min(start + plan.chunk_bytes, plan.total), marked=start)
        for index, start in enumerate(starts)
    }
