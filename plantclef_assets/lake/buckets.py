"""Buckets: how objects on Google Cloud Storage are read in ranges, kept as local copies, and created whole.

Every read names the generation that was found when the object was opened, so that it never sees parts of two; every
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
"""Reads smaller than this fetch so much at once: the narrow columns of a row group lie side by side."""
_UPLOADED_AT_ONCE_BYTES = 32 * 2**20
"""A larger file is sent in pieces of this size, each of which may be tried again; a multiple of 256 KiB."""


class UnreachableBucketError(OSError):
    """A bucket that does not exist or may not be used; the message says what to do."""


class OvertakenError(OSError):
    """An object was changed by somebody else between the begin of a publication and its end."""


@cache
def default_client() -> "Client":
    """Make this process's client, with application-default credentials.

    Raises:
        UnreachableBucketError: there are no such credentials.
    """
    from google.cloud.storage import Client

    with explained("Google Cloud Storage"):
        return Client(project=None)  # objects belong to no project


def require_bucket(client: "Client", address: str) -> None:
    """Ask for one name in the bucket, to learn at once whether it can be used.

    Raises:
        UnreachableBucketError: it cannot.
    """
    from google.api_core.exceptions import NotFound

    bucket, prefix = split_address(address)
    try:
        with explained(address):
            next(iter(client.list_blobs(bucket, prefix=prefix, max_results=1)), None)
    except NotFound as error:
        raise _no_bucket(address) from error


def find_object(client: "Client", address: str) -> "Blob":
    """Look an object up: its size, checksum and generation; what is read of it is of this generation.

    Raises:
        FileNotFoundError: there is no such object.
        UnreachableBucketError: the bucket may not be used.
    """
    bucket, key = split_address(address)
    with explained(address):
        blob = client.bucket(bucket).get_blob(key)
    if blob is None:
        raise FileNotFoundError(f"there is no {address}")
    return blob


def list_objects(client: "Client", address: str) -> Iterator["Blob"]:
    """List the objects whose address begins so, each as it is now.

    Raises:
        UnreachableBucketError: the bucket may not be used.
    """
    bucket, prefix = split_address(address)
    with explained(address):
        yield from client.list_blobs(bucket, prefix=prefix)


def delete_object(found: "Blob") -> None:
    """Delete an object in the generation in which it was found; one that is gone already is no loss.

    Raises:
        OvertakenError: it has been replaced.
        UnreachableBucketError: the bucket may not be written.
    """
    from google.api_core.exceptions import NotFound, PreconditionFailed

    address = f"{BUCKETS}{found.bucket.name}/{found.name}"
    try:
        with explained(address), suppress(NotFound):
            found.delete(if_generation_match=found.generation)
    except PreconditionFailed as error:
        raise OvertakenError(f"{address} was replaced since it was listed, so it is left; ask again") from error


def generation_of(client: "Client", address: str) -> int:
    """Give the generation of an object; 0 where there is none, as preconditions have it.

    Raises:
        UnreachableBucketError: the bucket may not be used.
    """
    try:
        return find_object(client, address).generation or 0
    except FileNotFoundError:
        return 0


def open_object(blob: "Blob") -> BinaryIO:
    """Open an object that was looked up for reading in ranges, each of which is one request.

    Raises (when it is read):
        OvertakenError: it has been replaced since it was looked up.
        UnreachableBucketError: the bucket may not be used.
    """
    return io.BufferedReader(_Ranges(blob), _READ_AHEAD_BYTES)


def local_copy(client: "Client", address: str, folder: Path) -> Path:
    """Give an object as a local file, fetched where its generation is not in the folder yet; older ones go.

    Raises:
        FileNotFoundError: there is no such object.
        UnreachableBucketError: the bucket may not be used.
    """
    blob = find_object(client, address)
    copy = folder / f"{blob.generation}{Path(address).suffix}"
    if not copy.is_file():
        with atomic_write(copy) as temporary, _of_one_generation(blob) as pinned:
            pinned.download_to_filename(str(temporary), raw_download=True)
        for older in folder.glob(f"[0-9]*{glob.escape(copy.suffix)}"):
            if older != copy:
                older.unlink(missing_ok=True)
    return copy


def create_object(client: "Client", address: str, file: Path, *, replaces: int) -> None:
    """Upload a file as one object, if what is there is still what it is meant to replace.

    The upload carries a checksum, and is resumable where the file is large; it counts when its last byte is there.

    Args:
        client: with permission to create objects.
        address: the object.
        file: its content.
        replaces: the generation to replace, 0 for none.

    Raises:
        OvertakenError: another generation is there, with other bytes.
        UnreachableBucketError: there is no such bucket, or it may not be written.
    """
    from google.api_core.exceptions import NotFound, PreconditionFailed

    bucket, key = split_address(address)
    blob = client.bucket(bucket).blob(key)
    if file.stat().st_size > _UPLOADED_AT_ONCE_BYTES:
        blob.chunk_size = _UPLOADED_AT_ONCE_BYTES
    try:
        if generation_of(client, address) != replaces:  # then nothing need be sent
            raise PreconditionFailed(address)
        with explained(address):
            blob.upload_from_filename(
                str(file), content_type="application/octet-stream", if_generation_match=replaces, checksum="crc32c"
            )
    except PreconditionFailed as error:
        # Equal bytes are no loss: another run made the same, or the answer to an upload got lost and it was repeated.
        with suppress(FileNotFoundError):
            if find_object(client, address).crc32c == _crc32c(file):
                return
        raise OvertakenError(
            f"{address} was changed by somebody else while it was made here, so it is left as it is now; end one of "
            "the two runs, and materialize again"
        ) from error
    except NotFound as error:
        raise _no_bucket(address) from error


class _Ranges(io.RawIOBase):
    """One generation of an object as a file; each read is one request."""

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
        with _of_one_generation(self._blob) as pinned:
            data = pinned.download_as_bytes(start=self._position, end=end - 1, raw_download=True, checksum=None)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@contextmanager
def _of_one_generation(found: "Blob") -> Iterator["Blob"]:
    """Give an object to download in the generation in which it was found.

    Raises:
        OvertakenError: it has been replaced.
        UnreachableBucketError: the bucket may not be used.
    """
    from google.api_core.exceptions import NotFound

    address = f"{BUCKETS}{found.bucket.name}/{found.name}"
    pinned = found.bucket.blob(found.name, generation=found.generation)
    try:
        with explained(address):
            yield pinned
    except NotFound as error:
        raise OvertakenError(f"{address} was replaced while it was read; ask again") from error


def _no_bucket(address: str) -> UnreachableBucketError:
    return UnreachableBucketError(f"there is no bucket '{split_address(address)[0]}'; make it, or mend its name")


def _crc32c(file: Path) -> str:
    """Give the checksum of a file as Cloud Storage writes it: big-endian, base64."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with file.open("rb") as stream:
        for _ in checksum.consume(stream, _READ_AHEAD_BYTES):
            pass
    return base64.b64encode(checksum.digest()).decode()


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what Google's libraries raise about permissions and credentials into sentences."""
    from google.api_core.exceptions import Forbidden, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (Forbidden, Unauthorized) as error:
        raise UnreachableBucketError(
            f"no permission for {address}: {error.message}; objects have to be listed, read, created and replaced "
            "there (role Storage Object User)"
        ) from error
    except GoogleAuthError as error:
        raise UnreachableBucketError(
            f"no credentials for {address}: {error}; `gcloud auth application-default login` makes them"
        ) from error
