"""Errors of the download engine: `DownloadError` reaches callers, the others end a request or a transfer inside it."""


class DownloadError(OSError):
    """A file could not be downloaded; the message names its address and the reason."""


class Stopped(Exception):
    """Another connection has ended the transfer for all."""


class Interrupted(Exception):
    """A request failed in a way that a retry may fix.

    Attributes:
        wait: seconds for which the server asked not to be contacted.
        brought_bytes: whether the request brought bytes that were not there before.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait
        self.brought_bytes = False


class NoSuchRange(Exception):
    """The server reports that the file does not have the requested range."""
