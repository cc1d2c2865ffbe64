"""Downloads of one file or many: locks between processes, checksums, and publication of complete files."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from plantclef_assets.ingest.downloads.errors import DownloadError
from plantclef_assets.ingest.downloads.limits import Allowance, Clock, Limits, Retries
from plantclef_assets.ingest.downloads.partial import PartialFile
from plantclef_assets.ingest.downloads.transfers import Transfer
from plantclef_assets.redaction import without_secrets

ProgressCallback = Callable[[int, int | None], None]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Download:
    """A file to download.

    Attributes:
        url: http or https address.
        target: the file to write.
        sha256: expected checksum, 64 hexadecimal digits.
        md5: expected checksum, 32 hexadecimal digits, where only that is published.
    """

    url: str
    target: Path
    sha256: str | None = None
    md5: str | None = None

    @property
    def address(self) -> str:
        """The address without its secrets, for messages."""
        return without_secrets(self.url)

    @property
    def checksums(self) -> dict[str, str]:
        """The expected checksums, by the name of their algorithm."""
        expected = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: digest.lower() for algorithm, digest in expected.items() if digest}


def download_files(
    downloads: Sequence[Download],
    *,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
    log: Log = lambda line: None,
    retries: Retries | None = None,
    clock: Clock | None = None,
) -> dict[Download, DownloadError]:
    """Download files under common limits; a failed file does not stop the others.

    A file whose target exists and has the expected checksum is not downloaded again. If another process downloads the
    same target, the call waits for it. The bytes of an unfinished download stay beside the target, and the next call
    resumes it. A target appears in one step, when all bytes have arrived and the checksum is correct.

    Args:
        downloads: the files, all with different targets.
        limits: connections, bytes per second and bytes of disk that all files may take together.
        progress: called with the bytes so far and the total of all files (None if no length is known), first with what
            is already there; from any thread, one call at a time.
        log: called with a sentence when a download deviates from its usual course.
        retries: the retry policy of each file.
        clock: a source of time other than the system's, for tests.

    Returns:
        the downloads that failed, and why: the server refuses or keeps failing, the checksum is wrong, or the disk has
        no space.
    """
    allowance = Allowance(limits or Limits(), clock or Clock())
    total = _TotalProgress(progress or (lambda done, total: None))
    waiting = list(enumerate(downloads))
    failed: dict[Download, DownloadError] = {}
    crashes: list[BaseException] = []

    def work() -> None:
        with suppress(IndexError):
            while not crashes:
                number, download = waiting.pop(0)
                try:
                    _download_file(download, allowance, retries or Retries(), partial(total.update, number), log)
                except DownloadError as error:
                    failed[download] = error
                except BaseException as error:
                    crashes.append(error)

    workers = min(allowance.limits.connections, len(downloads))
    try:
        if workers == 1:
            work()
        else:
            # Daemon threads: an interrupted command does not wait for silent servers.
            threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        allowance.end()
    if crashes:
        raise crashes[0]
    return {download: failed[download] for download in downloads if download in failed}


class _TotalProgress:
    """The progress of many files, reported as that of one."""

    def __init__(self, report: ProgressCallback) -> None:
        self._report, self._lock = report, threading.Lock()
        self._files: dict[int, tuple[int, int | None]] = {}

    def update(self, number: int, done: int, total: int | None) -> None:
        with self._lock:
            self._files[number] = (done, total)
            known = any(total is not None for _, total in self._files.values())
            expected = sum(done if total is None else total for done, total in self._files.values())
            self._report(sum(done for done, _ in self._files.values()), expected if known else None)


def _download_file(
    download: Download, allowance: Allowance, retries: Retries, progress: ProgressCallback, log: Log
) -> None:
    """Download one file, unless it is complete or another process completes it."""
    target = download.target
    if _is_complete(download) and not _lock_path(target).exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(target, log):
            if _is_complete(download):
                PartialFile(target).forget()  # a process that was killed after publication has left its journal
            else:
                _transfer_and_publish(download, allowance, retries, progress, log)
            _lock_path(target).unlink(missing_ok=True)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{download.address} could not be downloaded: {target} cannot be written ({error.strerror})"
        ) from error


def _transfer_and_publish(
    download: Download, allowance: Allowance, retries: Retries, progress: ProgressCallback, log: Log
) -> None:
    """Transfer, verify and publish a file; on failure the bytes stay if the transfer can be resumed."""
    arriving = PartialFile(download.target)
    try:
        Transfer(download.url, arriving, bool(download.checksums), allowance, retries, progress, log).run()
    except BaseException:
        arriving.close()
        if arriving.plan is None:  # it cannot be resumed
            arriving.forget()
        raise
    for algorithm, expected in download.checksums.items():
        log(f"{download.target.name}: all bytes have arrived; verifying the {algorithm}")
        found = _digest(arriving.path, algorithm)
        if found != expected:
            arriving.forget()
            _lock_path(download.target).unlink(missing_ok=True)
            raise DownloadError(f"{download.address} has {algorithm} {found}, not {expected}: it is a different file")
    arriving.publish()


def _is_complete(download: Download) -> bool:
    return download.target.exists() and all(
        _digest(download.target, algorithm) == expected for algorithm, expected in download.checksums.items()
    )


@contextmanager
def _exclusive(target: Path, log: Log) -> Iterator[None]:
    """Keep other processes from downloading the same target; the kernel releases the lock of a process that dies."""
    lock = FileLock(_lock_path(target))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"Another process is downloading {target.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock_path(target: Path) -> Path:
    return target.with_name(target.name + ".incomplete.lock")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
