"""The transfer of one file into its partial file: by ranges over several connections, or as a whole.

The first request asks for the first missing chunk. If the server answers with that range, its length and the version of
the file (not needed if the checksum is known), more connections start; otherwise the file is downloaded as a whole. A
connection that is refused repeatedly is dropped while others succeed: some servers accept only a few.
"""

import errno
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from plantclef_assets.ingest.downloads.errors import DownloadError, Interrupted, NoSuchRange, Stopped
from plantclef_assets.ingest.downloads.http import Response, request
from plantclef_assets.ingest.downloads.limits import Allowance, Retries
from plantclef_assets.ingest.downloads.partial import PartialFile, Piece, Plan
from plantclef_assets.ingest.downloads.session import Session
from plantclef_assets.redaction import without_secrets

_RESTARTS = 2
"""Number of restarts before the file is downloaded as a whole: mirrors behind one address may differ in version."""


class _RestartNeeded(Exception):
    """The bytes that have arrived are useless; the message gives the reason."""


@dataclass
class Transfer:
    """The transfer of one file.

    Attributes:
        url: the address.
        partial: the destination.
        verified: whether the checksum is known, so that a mixture of two versions would be detected.
        allowance: the limits, shared with other transfers.
        retries: the retry policy.
        progress: called with the bytes so far and the total (None if unknown) as bytes arrive.
        log: called with a sentence when the transfer deviates from its usual course.
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
    _error: BaseException | None = field(default=None, init=False)
    _silent_until: float = field(default=0.0, init=False)
    _as_whole: bool = field(default=False, init=False)
    _furthest: int = field(default=0, init=False)
    _reserved: int = field(default=0, init=False)

    def run(self) -> None:
        """Download everything that is missing.

        Raises:
            DownloadError: the server refuses or keeps failing, or the disk has no space.
        """
        if self.partial.resume(self._address) and self.partial.plan:
            if self.partial.plan.version or self.verified:
                self._reserve(self.partial.plan.total)
                self.progress(self.partial.done, self.partial.plan.total)
            else:
                self.partial.forget()
        restarts = 0
        while True:
            try:
                self._run_connections()
                if not self.partial.unfinished:  # else a piece was returned just after the others had found none
                    return
            except _RestartNeeded as reason:
                restarts += 1
                self._as_whole = self._as_whole or restarts >= _RESTARTS
                self.log(
                    f"{self._shown}: {reason}; restarting the download{' without ranges' if self._as_whole else ''}"
                )
                self.partial.forget()

    @property
    def _address(self) -> str:
        """The address in the journal; the query of a signed address changes between two commands."""
        return without_secrets(self.url.partition("?")[0])

    @property
    def _shown(self) -> str:
        return without_secrets(self.url)

    def _run_connections(self) -> None:
        """Download with this thread, and with all permitted helpers once the server has answered with a range."""
        self._helpers, self._alive, self._error = [], 1, None
        self.partial.stop.clear()
        try:
            self._connect()
            for helper in self._helpers:
                while helper.is_alive() and not self.partial.stop.is_set():
                    helper.join(0.1)
        finally:
            # A helper that still waits for the server writes nothing from here on, and ends at the next response.
            self.partial.stop.set()
        if isinstance(self._error, _RestartNeeded):
            for helper in self._helpers:  # none of them may write into the restarted file
                helper.join()
        if self._error:
            raise self._error

    def _start_helpers(self) -> None:
        with self._lock:
            if self._helpers or self.partial.plan is None:
                return
            self._alive = max(1, min(self.allowance.limits.connections, self.partial.unfinished))
            self._helpers = [threading.Thread(target=self._connect, daemon=True) for _ in range(self._alive - 1)]
            for helper in self._helpers:
                helper.start()

    def _connect(self) -> None:
        """Run one connection until nothing is left or it is dropped; an error is kept for `run`."""
        try:
            with Session() as session:
                self._fetch_all(session)
        except Stopped:
            pass
        except Exception as error:
            with self._lock:
                self._error = self._error or self._explain(error)
            self.partial.stop.set()

    def _fetch_all(self, session: Session) -> None:
        failures = 0
        fetching = True
        while fetching:
            self._back_off(self.retries.wait_before(failures))
            try:
                with self.allowance.connection():
                    fetching = self._fetch_piece(session) if self.partial.plan else self._fetch_first(session)
                failures = 0
            except Interrupted as interruption:
                failures = 1 if interruption.brought_bytes else failures + 1
                if self._drops_connection(interruption, failures):
                    return
            except NoSuchRange:
                self._as_whole = self._as_whole or self.partial.plan is None
                raise _RestartNeeded("the server reports that the file has no such bytes") from None
        with self._lock:
            self._alive -= 1

    def _fetch_first(self, session: Session) -> bool:
        """Send the first request for a file; return whether more may have to be fetched."""
        limits = self.allowance.limits
        wanted = None if self._as_whole else (0, limits.chunk_bytes)
        with request(session, self.url, limits.timeout_seconds, wanted) as response:
            joinable = response.total is not None and bool(response.version or self.verified)
            if response.partial and not joinable and response.end != response.total:
                self._as_whole = True
                raise _RestartNeeded("the server sends ranges, but not the version and length needed to join them")
            self._reserve(response.total or 0)
            self.progress(0, response.total)
            if not response.partial or not joinable or response.total is None:
                self._receive(response, self.partial.begin_stream(response.total))
                return False
            self.partial.begin(Plan(self._address, response.version, response.total, limits.chunk_bytes))
            with self.partial.taken() as piece:
                self._start_helpers()
                if piece:
                    self._receive(response, piece)
        return True

    def _fetch_piece(self, session: Session) -> bool:
        """Fetch the next unfinished piece; return False if there is none."""
        limits, plan = self.allowance.limits, self.partial.plan
        with self.partial.taken() as piece:
            if piece is None or plan is None or piece.end is None:
                return False
            wanted = (piece.at, piece.end)
            with request(session, self.url, limits.timeout_seconds, wanted, plan.version) as response:
                _require_same_file(response, plan)
                self._start_helpers()
                self._receive(response, piece)
        return True

    def _receive(self, response: Response, piece: Piece) -> None:
        """Write the body as it arrives; bytes beyond the end of the piece are not read."""
        end, before = piece.end, piece.at
        total = self.partial.plan.total if self.partial.plan else response.total
        try:
            for content in response.read():
                content = content if end is None else content[: end - piece.at]
                self.allowance.spend(len(content), self.partial.stop)
                if end is None:
                    self._reserve(piece.at + len(content))
                self.partial.write(piece, content, lambda done: self.progress(done, total))
                if piece.at == end:
                    break
            if end is not None and piece.at < end:
                raise Interrupted(f"the connection ended after {piece.at:,} of {end:,} bytes")
        except Interrupted as interruption:
            # A file without ranges starts at zero each time: only bytes beyond the best try are new.
            interruption.brought_bytes = piece.at > (before if self.partial.plan else self._furthest)
            raise
        finally:
            if self.partial.plan is None:
                self._furthest = max(self._furthest, piece.at)
        self.partial.finish(piece)

    def _reserve(self, total: int) -> None:
        """Reserve the disk space of the file.

        Raises:
            DownloadError: the limit or the free disk space is too small.
        """
        most = self.allowance.limits.max_bytes
        if not self.allowance.reserve(total - self._reserved):
            raise DownloadError(
                f"{self._shown} is not downloaded: its {total:,} bytes exceed the limit of {most:,} bytes"
            )
        self._reserved = total
        folder = self.partial.path.parent
        free = shutil.disk_usage(folder).free + self.partial.disk_bytes
        if total > free:
            raise DownloadError(f"{self._shown} has {total:,} bytes, but the disk of {folder} has only {free:,} free")

    def _back_off(self, wait: float) -> None:
        """Wait before a try, at least for as long as the server has asked of any connection."""
        wait = max(wait, self._silent_until - self.allowance.clock.now())
        if wait > 0:
            self.allowance.clock.wait(self.partial.stop, wait)
        if self.partial.stop.is_set():
            raise Stopped

    def _drops_connection(self, interruption: Interrupted, failures: int) -> bool:
        """Handle a failed try; return whether this connection ends and leaves the rest to the others.

        Raises:
            DownloadError: it was the last connection, or the server asks for a longer wait than permitted.
        """
        with self._lock:
            if interruption.wait > self.retries.longest_request:
                raise DownloadError(self._failure(f"{interruption} and asks to wait {interruption.wait:,.0f} s"))
            self._silent_until = max(self._silent_until, self.allowance.clock.now() + interruption.wait)
            if failures < self.retries.attempts:
                return False
            if self._alive == 1:
                tries = f"{failures} tries in a row without a new byte"
                raise DownloadError(self._failure(f"{interruption} ({tries})")) from interruption
            self._alive -= 1
        self.log(f"{self._shown}: {interruption}; continuing with one connection less")
        return True

    def _failure(self, reason: str) -> str:
        name, done = self.partial.path.name, self.partial.done
        kept = f"{done:,} bytes are kept in {name}, and the next try resumes there"
        return f"{self._shown} could not be downloaded: {reason}; {kept if self.partial.plan else 'nothing is kept'}"

    def _explain(self, error: Exception) -> Exception:
        if not isinstance(error, OSError) or isinstance(error, DownloadError):
            return error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        folder = self.partial.path.parent
        reason = f"the disk of {folder} is full" if full else f"{folder} cannot be written to ({error.strerror})"
        return DownloadError(self._failure(reason))


def _require_same_file(response: Response, plan: Plan) -> None:
    """Check that a range belongs to the file whose download was started.

    Raises:
        _RestartNeeded: it does not.
    """
    if plan.version and response.version and response.version != plan.version:
        raise _RestartNeeded("the file on the server has changed")
    if not response.partial:
        raise _RestartNeeded("the server no longer sends ranges")
    if response.total not in (None, plan.total):
        raise _RestartNeeded(
            f"the file on the server has changed its length from {plan.total:,} to {response.total:,} bytes"
        )
