"""Downloads: files from http(s) addresses, resumed where they broke off, checked, and visible only when whole.

What belongs here: one file, or many. Limits are in `limits.py`, the transfer and its patience in `transfers.py`, what a
server says in `answers.py`, the bytes on their way and their journal in `partial.py`, where lists of addresses come
from in `addresses.py`.

The library is requests, over urllib3: it comes with Dagster, follows redirects, proxies and certificates of the
environment, and gives a body as it arrives. With a few connections, each waiting for the network, threads are all
that is needed: httpx and aiohttp would bring an event loop, fsspec and pooch know no resuming, aria2 is no package.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from plantclef_assets.ingest.limits import Allowance, DownloadError, Limits, Retries
from plantclef_assets.ingest.partial import PartialFile
from plantclef_assets.ingest.transfers import Transfer

__all__ = ["Download", "DownloadError", "Limits", "Retries", "download_file", "download_files"]

ProgressCallback = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Download:
    """A file to be downloaded.

    Attributes:
        url: http or https address.
        target: the file to write.
        sha256: expected checksum, 64 hexadecimal digits.
        md5: expected checksum, 32 hexadecimal digits.
    """

    url: str
    target: Path
    sha256: str | None = None
    md5: str | None = None

    @property
    def checksums(self) -> dict[str, str]:
        """The expected checksums, by the name of their algorithm."""
        given = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: digest.lower() for algorithm, digest in given.items() if digest}


def download_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: ProgressCallback | None = None,
    retries: Retries | None = None,
    limits: Limits | None = None,
    allowance: Allowance | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Download one file; does nothing where the target exists (and has the checksum, if one is given).

    Where another process downloads the same target, it is waited for. What a download that ended early has brought is
    kept beside the target, and the next call goes on from there.

    Args:
        url: http or https address.
        target: the file to write; appears in one step, when all its bytes are there and the checksum is right.
        sha256: expected checksum, 64 hexadecimal digits.
        md5: expected checksum, 32 hexadecimal digits, where only that is published.
        progress: told (bytes so far, all bytes or None where the server does not say) first of what is there already,
            then as bytes come; from any thread, one at a time.
        retries: how patient to be.
        limits: how many connections, bytes a second and bytes of disk it may take.
        allowance: what is left of limits that are shared with other downloads; in place of `limits`.
        log: told in a sentence what takes another course than expected.

    Returns:
        the target.

    Raises:
        DownloadError: the server refuses, keeps failing, or gives bytes with another checksum; or the disk has no room.
    """
    wanted = Download(url, target, sha256, md5)
    if _is_there(wanted):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, log):
            if not _is_there(wanted):
                _download(
                    wanted,
                    allowance or Allowance(limits or Limits()),
                    retries or Retries(),
                    progress or (lambda done, total: None),
                    log,
                )
            _lock_path(target).unlink(missing_ok=True)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{url} could not be downloaded: {target} cannot be written ({error.strerror})") from error
    return target


def download_files(
    downloads: Sequence[Download],
    *,
    progress: ProgressCallback | None = None,
    retries: Retries | None = None,
    limits: Limits | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> dict[Download, DownloadError]:
    """Download many files under common limits; one that fails does not keep the others from coming.

    Args:
        downloads: the files, with targets that are all different.
        progress: told (bytes so far, bytes of the files whose length is known or None) of all files together.
        retries: how patient to be, for each file.
        limits: how many connections, bytes a second and bytes of disk all may take together.
        log: told in a sentence what takes another course than expected.

    Returns:
        those that failed, and why.
    """
    allowance = Allowance(limits or Limits())
    sums = _Sum(progress or (lambda done, total: None))
    waiting = list(enumerate(downloads))
    failed: dict[Download, DownloadError] = {}
    broken: list[BaseException] = []

    def fetch_all() -> None:
        with suppress(IndexError):
            while not broken:
                fetch(*waiting.pop(0))

    def fetch(number: int, one: Download) -> None:
        try:
            download_file(
                one.url,
                one.target,
                sha256=one.sha256,
                md5=one.md5,
                progress=partial(sums.tell, number),
                retries=retries,
                allowance=allowance,
                log=log,
            )
        except DownloadError as error:
            failed[one] = error
        except BaseException as error:
            broken.append(error)

    files = min(allowance.limits.connections, len(downloads))
    # As daemons, so that an interrupted command need not wait for servers that have gone silent.
    threads = [threading.Thread(target=fetch_all, daemon=True) for _ in range(files)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        allowance.end()
    if broken:
        raise broken[0]
    return {one: failed[one] for one in downloads if one in failed}


class _Sum:
    """The progress of many files as that of one."""

    def __init__(self, tell: ProgressCallback) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._files: dict[int, tuple[int, int | None]] = {}

    def tell(self, number: int, done: int, total: int | None) -> None:
        with self._lock:
            self._files[number] = (done, total)
            known = sum(total or done for done, total in self._files.values())
            self._tell(sum(done for done, _ in self._files.values()), known or None)


def _download(
    wanted: Download, allowance: Allowance, retries: Retries, progress: ProgressCallback, log: Callable[[str], None]
) -> None:
    """Fetch, check and publish a file that is not there; what came stays if that can be continued."""
    arriving = PartialFile(wanted.target)
    try:
        Transfer(wanted.url, arriving, bool(wanted.checksums), allowance, retries, progress, log).run()
    except BaseException:
        arriving.close()
        if arriving.plan is None:  # nothing of it can be continued
            arriving.forget()
        raise
    for algorithm, expected in wanted.checksums.items():
        log(f"{wanted.target.name}: all bytes are there, and their {algorithm} is looked at")
        found = _digest(arriving.path, algorithm)
        if found != expected:
            arriving.forget()
            _lock_path(wanted.target).unlink(missing_ok=True)
            raise DownloadError(
                f"{wanted.url} has {algorithm} {found}, not {expected}: it is not the file that was meant"
            )
    arriving.publish()


def _is_there(wanted: Download) -> bool:
    return wanted.target.exists() and all(
        _digest(wanted.target, algorithm) == expected for algorithm, expected in wanted.checksums.items()
    )


@contextmanager
def _alone(target: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from fetching the same target; the kernel frees the lock of one that dies."""
    lock = FileLock(_lock_path(target))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"{target.name} is being downloaded by another process, which is waited for")
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
