"""User errors, and the printing and logging of errors.

What belongs here: what every package needs. No error that is printed or logged here has the secrets of an address.
"""

import os
import shlex
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from plantclef_assets.redaction import without_secrets, without_secrets_in

INTERRUPTS = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}
"""The exceptions that Ctrl-C raises; Dagster has its own class."""


class UserError(Exception):
    """An error that a user can fix; the message says how, in a few lines."""


def print_error(text: str) -> None:
    """Print lines to stderr, after everything that was printed to stdout."""
    sys.stdout.flush()
    sys.stderr.write(without_secrets_in(text) + "\n")
    sys.stderr.flush()


def keep_traceback(text: str) -> str:
    """Append a traceback to the log file and return the sentence that names the file.

    The file is `plantclef_errors.log` in DAGSTER_HOME, or in the temporary folder if that cannot be written.
    """
    command = shlex.join(without_secrets(argument) for argument in sys.argv)
    time = datetime.now().astimezone().isoformat(timespec="seconds")
    entry = without_secrets_in(f"── {time} {command}\n{text.rstrip()}\n\n")
    for folder in (os.environ.get("DAGSTER_HOME"), tempfile.gettempdir()):
        path = Path(folder or "", "plantclef_errors.log").expanduser()
        if not path.is_absolute():
            continue
        try:
            with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(entry)
        except OSError:
            continue
        return f"Traceback: {path}"
    return "The traceback could not be written to a file."


def shorten(text: str, lines: int = 3, characters: int = 600) -> str:
    """Return the first lines of a text, each cut to a number of characters."""
    kept = [line.rstrip() for line in text.strip().splitlines() if line.strip()][:lines]
    return "\n".join(line if len(line) <= characters else line[: characters - 1] + "…" for line in kept)
