"""What every command of the project does around its own work: output, Ctrl-C and errors.

What belongs here: how a command ends. What does not: what it does. Nothing is imported here but the standard library.
"""

import io
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plantclef_assets.errors import INTERRUPTS, UserError, keep_traceback, print_error, shorten

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells: 128 + SIGINT."""


def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; errors print a few lines, their traceback goes to a file.

    A character that stdout or stderr cannot encode is replaced.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return command()
    except KeyboardInterrupt:
        print_error("\nStopped. Run the same command to continue.")
        return INTERRUPTED
    except UserError as error:
        print_error(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        print_error(f"{type(error).__name__}: {shorten(str(error))}\n{keep_traceback(traceback.format_exc())}")
    return 1


@contextmanager
def lost_interrupts_raised() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of the block if Ctrl-C came in it and its handler dropped it.

    Dagster drops an interrupt that comes while it sets up or ends a run. The interpreter writes the number of every
    signal to its wakeup file, whatever the handler does. An interrupt raised inside a destructor or a weak reference's
    callback is ignored by the interpreter; it is sent again. For the main thread only.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        for end in (reading, writing):
            end.setblocking(False)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        hook, sys.unraisablehook = sys.unraisablehook, _send_interrupt_again
        try:
            yield
        finally:
            sys.unraisablehook = hook
            signal.set_wakeup_fd(before)
        try:
            received = reading.recv(4096)
        except BlockingIOError:
            return
    if signal.SIGINT in received:
        raise KeyboardInterrupt


def _send_interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Send SIGINT once more if an interrupt was ignored; a moment later, when the interpreter runs other code."""
    if ignored.exc_type.__name__ in INTERRUPTS:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(ignored)
