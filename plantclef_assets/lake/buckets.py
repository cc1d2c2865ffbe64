"""Objects on Google Cloud Storage: reading in ranges, local copies, and atomic creation.

Every read names the generation that was found when the object was opened, so it never mixes two generations. Every
object is created by one upload with a precondition on the generation that it replaces.
(https://cloud.google.com/storage/docs/request-preconditions)
"""

import base64
import glob
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from plantclef_assets.lake.atomic import atomic_write
from plantclef_assets.lake.filesystems import BUCKETS, split_address

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

_READ_AHEAD_BYTES = 2**20
"""Minimum size of a read: the narrow columns of a row group are adjacent."""
_UPLOADED_AT_ONCE_BYTES = 32 * 2**20
"""A larger file is uploaded in chunks of this size, each of which can be retried; a multiple of 256 KiB."""


class UnreachableBucketError(OSError):
    """The bucket does not exist or permission is missing; the message says what to do."""


class OvertakenError(OSError):
    """Another process changed the object between the beginning and the end of a publication."""


@cache
def default_client() -> "Client":
    """Return the client of this process, with application-default credentials.

    Raises:
        UnreachableBucketError: there are no such credentials.
    """
    from google.cloud.storage import Client

    with explained("Google Cloud Storage"):
        return Client(project=None)  # objects belong to no project


def require_bucket(client: "Client", address: str) -> None:
    """Check that the bucket can be listed, with one request.

    Raises:
        UnreachableBucketError: it cannot be listed.
    """
    from google.api_core.exceptions import NotFound

    bucket, prefix = split_address(address)
    try:
        with explained(address):
            next(iter(client.list_blobs(bucket, prefix=prefix, max_results=1)), None)
    except NotFound as error:
        raise _no_bucket(address) from error


def find_object(client: "Client", address: str) -> "Blob":
    """Return an object with its size, checksum and generation; later reads use this generation.

    Raises:
        FileNotFoundError: there is no such object.
        UnreachableBucketError: there is no permission to use the bucket.
    """
    bucket, key = split_address(address)
    with explained(address):
        blob = client.bucket(bucket).get_blob(key)
    if blob is None:
        raise FileNotFoundError(f"there is no {address}")
    return blob


def list_objects(client: "Client", address: str) -> Iterator["Blob"]:
    """Yield the objects whose address begins with `address`.

    Raises:
        UnreachableBucketError: there is no permission to use the bucket.
    """
    bucket, prefix = split_address(address)
    with explained(address):
        yield from client.list_blobs(bucket, prefix=prefix)


def delete_object(found: "Blob") -> None:
    """Delete an object if it still has the generation in which it was found; a deleted object is not an error.

    Raises:
        OvertakenError: the object has been replaced.
        UnreachableBucketError: there is no permission to write to the bucket.
    """
    from google.api_core.exceptions import NotFound, PreconditionFailed

    address = f"{BUCKETS}{found.bucket.name}/{found.name}"
    try:
        with explained(address), suppress(NotFound):
            found.delete(if_generation_match=found.generation)
    except PreconditionFailed as error:
        raise OvertakenError(
            f"{address} was replaced since it was listed, so it was not deleted; run the command again"
        ) from error


def generation_of(client: "Client", address: str) -> int:
    """Return the generation of an object; 0 if there is none, as in preconditions.

    Raises:
        UnreachableBucketError: there is no permission to use the bucket.
    """
    try:
        return find_object(client, address).generation or 0
    except FileNotFoundError:
        return 0


def open_object(blob: "Blob") -> BinaryIO:
    """Open a found object for reading in ranges; each read is one request.

    Raises (when it is read):
        OvertakenError: the object has been replaced since it was found.
        UnreachableBucketError: there is no permission to use the bucket.
    """
    return io.BufferedReader(_Ranges(blob), _READ_AHEAD_BYTES)


def local_copy(client: "Client", address: str, folder: Path) -> Path:
    """Return a local copy of an object, downloaded unless the folder has its generation; older ones are deleted.

    Raises:
        FileNotFoundError: there is no such object.
        UnreachableBucketError: there is no permission to use the bucket.
    """
    blob = find_object(client, address)
    copy = folder / f"{blob.generation}{Path(address).suffix}"
    if not copy.is_file():
        with atomic_write(copy) as temporary, _pinned_to_generation(blob) as pinned:
            pinned.download_to_filename(str(temporary), raw_download=True)
        for older in folder.glob(f"[0-9]*{glob.escape(copy.suffix)}"):
            if older != copy:
                older.unlink(missing_ok=True)
    return copy


def create_object(client: "Client", address: str, file: Path, *, replaces: int) -> None:
    """Upload a file as one object, if the object still has the generation to be replaced.

    The upload has a checksum, and is resumable if the file is large; the object appears when its last byte has arrived.

    Args:
        client: the client, with permission to create objects.
        address: the object.
        file: its content.
        replaces: the generation to replace, 0 for none.

    Raises:
        OvertakenError: the object has another generation, with other bytes.
        UnreachableBucketError: there is no such bucket, or no permission to write to it.
    """
    from google.api_core.exceptions import NotFound, PreconditionFailed

    bucket, key = split_address(address)
    blob = client.bucket(bucket).blob(key)
    if file.stat().st_size > _UPLOADED_AT_ONCE_BYTES:
        blob.chunk_size = _UPLOADED_AT_ONCE_BYTES
    try:
        if generation_of(client, address) != replaces:  # skip the upload
            raise PreconditionFailed(address)
        with explained(address):
            blob.upload_from_filename(
                str(file), content_type="application/octet-stream", if_generation_match=replaces, checksum="crc32c"
            )
    except PreconditionFailed as error:
        # Equal bytes are fine: another run made the same file, or an upload was repeated because its response got lost.
        with suppress(FileNotFoundError):
            if find_object(client, address).crc32c == _crc32c(file):
                return
        raise OvertakenError(
            f"{address} was changed by another process while it was made here, so it was not replaced; end one of the "
            "two runs, and materialize again"
        ) from error
    except NotFound as error:
        raise _no_bucket(address) from error


class _Ranges(io.RawIOBase):
    """One generation of an object as a raw file; each read is one request."""

    def __init__(self, blob: "Blob") -> None:
        self._blob = blob
        self._size = blob.size or 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if self._position >= end:
            return 0
        with _pinned_to_generation(self._blob) as pinned:
            data = pinned.download_as_bytes(start=self._position, end=end - 1, raw_download=True, checksum=None)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@contextmanager
def _pinned_to_generation(found: "Blob") -> Iterator["Blob"]:
    """Yield an object pinned to the generation in which it was found.

    Raises:
        OvertakenError: the object has been replaced.
        UnreachableBucketError: there is no permission to use the bucket.
    """
    from google.api_core.exceptions import NotFound

    address = f"{BUCKETS}{found.bucket.name}/{found.name}"
    pinned = found.bucket.blob(found.name, generation=found.generation)
    try:
        with explained(address):
            yield pinned
    except NotFound as error:
        raise OvertakenError(f"{address} was replaced while it was read; run the command again") from error


def _no_bucket(address: str) -> UnreachableBucketError:
    return UnreachableBucketError(f"there is no bucket '{split_address(address)[0]}'; create it, or correct its name")


def _crc32c(file: Path) -> str:
    """Return the checksum of a file in the form of Cloud Storage: big-endian, base64."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with file.open("rb") as stream:
        for _ in checksum.consume(stream, _READ_AHEAD_BYTES):
            pass
    return base64.b64encode(checksum.digest()).decode()


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Translate errors of Google's libraries about permissions and credentials into an UnreachableBucketError."""
    from google.api_core.exceptions import Forbidden, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (Forbidden, Unauthorized) as error:
        raise UnreachableBucketError(
            f"no permission for {address}: {error.message}; the account must be able to list, read, create and replace "
            "objects there (role Storage Object User)"
        ) from error
    except GoogleAuthError as error:
        raise UnreachableBucketError(
            f"no credentials for {address}: {error}; create them with `gcloud auth application-default login`"
        ) from error
