"""The transfer of one file into its partial file: by ranges over several connections, or in one go.

The first request asks for the first missing chunk. A server that answers with that range, its length and the file's
version (or none, where the checksum is known) gets more connections; from any other the file is taken in one go. A
connection that is refused again and again is given up as long as others get through: some servers allow only a few.
"""

import errno
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import requests

from plantclef_assets.ingest.http import Answer, Interrupted, NoSuchRange, ask
from plantclef_assets.ingest.limits import Allowance, DownloadError, Retries, Stopped
from plantclef_assets.ingest.partial import PartialFile, Piece, Plan

_FRESH_STARTS = 2
"""So often a file is begun anew before it is taken in one go: servers that take turns may each name another version."""


class _BeginAnew(Exception):
    """What came is of no use; says why."""


@dataclass
class Transfer:
    """One file on its way.

    Attributes:
        url: where it comes from.
        partial: where it goes.
        verified: whether its checksum is known, so that pieces of two versions would be noticed.
        allowance: what it may take, together with others.
        retries: how patient it is.
        progress: told (bytes so far, all bytes or None where the server does not say) as they come.
        log: told in a sentence what takes another course than expected.
    """

    url: str
    partial: PartialFile
    verified: bool
    allowance: Allowance
    retries: Retries
    progress: Callable[[int, int | None], None]
    log: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _helpers: list[threading.Thread] = field(default_factory=list, init=False)
    _alive: int = field(default=1, init=False)
    _ending: BaseException | None = field(default=None, init=False)
    _silent_until: float = field(default=0.0, init=False)
    _in_one_go: bool = field(default=False, init=False)
    _furthest: int = field(default=0, init=False)
    _reserved: int = field(default=0, init=False)

    def run(self) -> None:
        """Fetch all that is missing.

        Raises:
            DownloadError: the server refuses, keeps failing, or the disk has no room.
        """
        if self.partial.resume(self._address) and self.partial.plan:
            if self.partial.plan.version or self.verified:
                self._make_room(self.partial.plan.total)
                self.progress(self.partial.done, self.partial.plan.total)
            else:
                self.partial.forget()
        fresh_starts = 0
        while True:
            try:
                self._run_connections()
                if not self.partial.unfinished:  # else one gave its piece back just when the others had found none
                    return
            except _BeginAnew as reason:
                fresh_starts += 1
                self._in_one_go = self._in_one_go or fresh_starts >= _FRESH_STARTS
                self.log(f"{self.url}: {reason}; it is begun anew{' in one go' if self._in_one_go else ''}")
                self.partial.forget()

    @property
    def _address(self) -> str:
        return self.url.partition("?")[0]

    def _run_connections(self) -> None:
        """Fetch with this thread, and with as many more as are allowed once a server has turned out to give ranges."""
        self._helpers, self._alive, self._ending = [], 1, None
        self.partial.stop.clear()
        try:
            self._connect()
            for helper in self._helpers:
                while helper.is_alive() and not self.partial.stop.is_set():
                    helper.join(0.1)
        finally:
            # Who still waits for a server writes nothing from here on, and leaves when it answers.
            self.partial.stop.set()
        if isinstance(self._ending, _BeginAnew):
            for helper in self._helpers:  # none of them may meet the file that comes next
                helper.join()
        if self._ending:
            raise self._ending

    def _start_helpers(self) -> None:
        with self._lock:
            if self._helpers or self.partial.plan is None:
                return
            self._alive = max(1, min(self.allowance.limits.connections, self.partial.unfinished))
            self._helpers = [threading.Thread(target=self._connect, daemon=True) for _ in range(self._alive - 1)]
            for helper in self._helpers:
                helper.start()

    def _connect(self) -> None:
        """Be one connection, to the end or until it is given up; how the transfer failed is kept for `run`."""
        try:
            with requests.Session() as session:
                self._fetch_all(session)
        except Stopped:
            pass
        except Exception as error:
            with self._lock:
                self._ending = self._ending or self._explained(error)
            self.partial.stop.set()

    def _fetch_all(self, session: requests.Session) -> None:
        failures = 0
        fetching = True
        while fetching:
            self._keep_silent(self.retries.wait_before(failures))
            try:
                with self.allowance.connection():
                    fetching = self._fetch_piece(session) if self.partial.plan else self._open(session)
                failures = 0
            except Interrupted as interruption:
                failures = 1 if interruption.brought_bytes else failures + 1
                if self._gives_up(interruption, failures):
                    return
            except NoSuchRange:
                self._in_one_go = self._in_one_go or self.partial.plan is None
                raise _BeginAnew("the server says that the file has no such bytes") from None
        with self._lock:
            self._alive -= 1

    def _open(self, session: requests.Session) -> bool:
        """Ask for a file of which nothing is known; gives whether there may be more to fetch."""
        limits = self.allowance.limits
        wanted = None if self._in_one_go else (0, limits.chunk_bytes)
        with ask(session, self.url, limits.timeout_seconds, wanted) as answer:
            joinable = answer.total is not None and bool(answer.version or self.verified)
            if answer.partial and not joinable and answer.end != answer.total:
                self._in_one_go = True
                raise _BeginAnew("the server gives ranges, but not the version and length to put them together by")
            self._make_room(answer.total or 0)
            self.progress(0, answer.total)
            if not answer.partial or not joinable or answer.total is None:
                self._receive(answer, self.partial.begin_stream(answer.total))
                return False
            self.partial.begin(Plan(self._address, answer.version, answer.total, limits.chunk_bytes))
            with self.partial.taken() as piece:
                self._start_helpers()
                if piece:
                    self._receive(answer, piece)
        return True

    def _fetch_piece(self, session: requests.Session) -> bool:
        """Fetch the next missing piece; False where none is left."""
        limits, plan = self.allowance.limits, self.partial.plan
        with self.partial.taken() as piece:
            if piece is None or plan is None or piece.end is None:
                return False
            with ask(session, self.url, limits.timeout_seconds, (piece.at, piece.end), plan.version) as answer:
                _judge(answer, plan)
                self._start_helpers()
                self._receive(answer, piece)
        return True

    def _receive(self, answer: Answer, piece: Piece) -> None:
        """Write what comes; a server that sends more than the piece is not heard out."""
        end, before = piece.end, piece.at
        total = self.partial.plan.total if self.partial.plan else answer.total
        try:
            for content in answer.read():
                content = content if end is None else content[: end - piece.at]
                self.allowance.spend(len(content), self.partial.stop)
                if end is None:
                    self._make_room(piece.at + len(content))
                self.partial.write(piece, content, lambda done: self.progress(done, total))
                if piece.at == end:
                    break
            if end is not None and piece.at < end:
                raise Interrupted(f"the connection ended after {piece.at:,} of {end:,} bytes")
        except Interrupted as interruption:
            # What comes in one go begins at zero each time: only bytes beyond the best try are new.
            interruption.brought_bytes = piece.at > (before if self.partial.plan else self._furthest)
            raise
        finally:
            if self.partial.plan is None:
                self._furthest = max(self._furthest, piece.at)
        self.partial.finish(piece)

    def _make_room(self, total: int) -> None:
        """Set aside what the file will take.

        Raises:
            DownloadError: the limit or the disk has no room for it.
        """
        limit = self.allowance.limits.max_bytes
        if not self.allowance.reserve(total - self._reserved):
            raise DownloadError(
                f"{self.url} is not downloaded: its {total:,} bytes would be more than the {limit:,} that are allowed"
            )
        self._reserved = total
        folder = self.partial.path.parent
        free = shutil.disk_usage(folder).free + self.partial.disk_bytes
        if total > free:
            raise DownloadError(f"{self.url} has {total:,} bytes, but the disk of {folder} has room for {free:,}")

    def _keep_silent(self, wait: float) -> None:
        """Wait before a try, at least as long as the server has asked any of the connections to."""
        wait = max(wait, self._silent_until - self.allowance.clock.now())
        if wait > 0:
            self.allowance.clock.wait(self.partial.stop, wait)
        if self.partial.stop.is_set():
            raise Stopped

    def _gives_up(self, interruption: Interrupted, failures: int) -> bool:
        """Judge a failed try: whether this connection ends and leaves the rest to the others.

        Raises:
            DownloadError: it was the last one, or the server asks for more patience than there is.
        """
        with self._lock:
            if interruption.wait > self.retries.longest_request:
                raise DownloadError(self._failure(f"{interruption}, and to come again in {interruption.wait:,.0f} s"))
            self._silent_until = max(self._silent_until, self.allowance.clock.now() + interruption.wait)
            if failures < self.retries.attempts:
                return False
            if self._alive == 1:
                tries = f"{failures} tries in a row without a new byte"
                raise DownloadError(self._failure(f"{interruption} ({tries})")) from interruption
            self._alive -= 1
        self.log(f"{self.url}: {interruption}; going on with one connection less")
        return True

    def _failure(self, reason: str) -> str:
        name, done = self.partial.path.name, self.partial.done
        kept = f"{done:,} bytes are kept in {name}, and are continued when it is asked for again"
        return f"{self.url} could not be downloaded: {reason}; {kept if self.partial.plan else 'nothing is kept'}"

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, OSError) or isinstance(error, DownloadError):
            return error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        folder = self.partial.path.parent
        reason = f"the disk of {folder} is full" if full else f"{folder} cannot be written to ({error.strerror})"
        return DownloadError(self._failure(reason))


def _judge(answer: Answer, plan: Plan) -> None:
    """See to it that a range belongs to the file that was begun.

    Raises:
        _BeginAnew: it does not.
    """
    if plan.version and answer.version and answer.version != plan.version:
        raise _BeginAnew("the file at the server has changed")
    if not answer.partial:
        raise _BeginAnew("the server no longer gives ranges of it")
    if answer.total not in (None, plan.total):
        raise _BeginAnew(f"the file at the server has changed its length from {plan.total:,} to {answer.total:,} bytes")
