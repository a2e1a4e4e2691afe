"""The process of the command line: its standard streams, and how it ends, whatever happens.

Exit code 0: answered and certified; 1: answered, not certified; 2: refused input or unavailable backend; 130:
interrupted before there was an answer; 141: nobody reads standard output any more.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from climbopt.cli.streams import complain
from climbopt.foundations.errors import ClimboptError

INTERRUPTED = 128 + 2
"""Exit code after SIGINT, as shells count."""
UNREAD = 128 + 13
"""Exit code where standard output is a pipe whose reader has gone, as after SIGPIPE."""


class StandardOutputError(Exception):
    """Standard output takes nothing more."""


class StandardOutput(io.TextIOWrapper):
    """Standard output whose errors are distinct from those of files; characters that it cannot encode are escaped."""

    def write(self, text: str, /) -> int:
        """Write text."""
        try:
            return super().write(text)
        except OSError as error:
            raise StandardOutputError(error) from None

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except OSError as error:
            raise StandardOutputError(error) from None


def run(application: Callable[[], object]) -> NoReturn:
    """Run the command line; a refused input is one message and exit code 2, never a traceback."""
    _prepare_streams()
    interrupted = False

    # Remembers the signal, since code that is interrupted may raise another exception in its place.
    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    # A handler of the caller's own, or SIGINT that is ignored, stays.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    shown_before, warnings.showwarning = warnings.showwarning, _shown_once()
    try:
        try:
            application()
        finally:
            # Flushed here, so that a full disk or a closed pipe is reported and not lost at exit.
            sys.stdout.flush()
        sys.exit(0)
    except ClimboptError as error:
        _end(2, str(error))
    except StandardOutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer would fail again at exit
        failure: OSError = error.args[0]
        if failure.errno == errno.EPIPE:
            sys.exit(UNREAD)
        _end(2, f"cannot write to standard output: {failure.strerror}")
    except OSError as error:
        _end(2, f"cannot access {error.filename or 'a temporary file'}: {error.strerror or error}")
    except MemoryError:
        _end(2, "out of memory; free some, raise the limit of the process (ulimit -v) or lower --jobs")
    except (KeyboardInterrupt, SystemExit) as stop:  # typer makes the first of these the second
        if isinstance(stop, KeyboardInterrupt) or stop.code == INTERRUPTED:
            _end(INTERRUPTED, "interrupted")
        raise
    except Exception:
        if interrupted:  # code that was interrupted while it was loaded may raise anything
            _end(INTERRUPTED, "interrupted")
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        warnings.showwarning = shown_before


def _shown_once() -> Callable[..., None]:
    """Return what shows a warning of Python as one of climbopt, without the place in the code, and each only once."""
    told: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in told:
            told.add(str(message))
            complain(f"warning: {message}")

    return show


def _end(code: int, message: str) -> NoReturn:
    complain(message)
    sys.exit(code)


def _prepare_streams() -> None:
    """Give standard output its class, and put nothing in the place of streams that were closed."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - for the whole process
    real = sys.stdout
    # Captured output, such as that of tests, is left as it is.
    if real is sys.__stdout__ and isinstance(real, io.TextIOWrapper):
        # The same buffer under a class of its own: output already written stays in order.
        sys.stdout = StandardOutput(
            real.buffer, encoding=real.encoding, errors="backslashreplace", line_buffering=real.line_buffering
        )
