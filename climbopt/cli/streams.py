"""Standard streams: where tables, JSON, progress and the output of solvers go, and how the process ends.

Exit code 0: answered and certified; 1: answered, not certified; 2: refused input or unavailable backend; 130:
interrupted before there was an answer; 141: nobody reads standard output any more.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, cast

from climbopt.foundations.errors import ClimboptError, InputError, shown
from climbopt.foundations.processes import Progress

if TYPE_CHECKING:
    from rich.console import Console

    from climbopt.certification.global_bound import Progress as Bounds
    from climbopt.reports.writers import Value


INTERRUPTED = 128 + 2
"""Exit code after SIGINT, as shells count."""
UNREAD = 128 + 13
"""Exit code where standard output is a pipe whose reader has gone, as after SIGPIPE."""
NARROWEST = 40
"""Columns below which text is not set; a narrower terminal breaks the lines itself."""


def check_places(inputs: Iterable[Path | None], json: str | None, *outputs: Path | None) -> None:
    """Refuse, before the work, outputs that could not be written or would replace an input or each other."""
    from climbopt.files import check_places

    # --json - is standard output, and no file.
    files = [path for path in (*outputs, None if json in (None, "-") else Path(str(json))) if path is not None]
    if Path("-") in files:
        raise InputError("only --json - writes to standard output; name a file")
    check_places(files, [path for path in inputs if path is not None])


def console() -> Console:
    """Return the console for standard output, as wide as the terminal; a pipe gets 80 columns (or COLUMNS)."""
    from rich.console import Console

    return Console(width=_width())


def _width() -> int:
    return max(shutil.get_terminal_size().columns, NARROWEST)


def complain(*messages: str) -> None:
    """Print refusals, warnings or what is to be done on standard error."""
    remark(*(f"climbopt: {message}" for message in messages))


def remark(*messages: str) -> None:
    """Print messages on standard error; each wraps on a terminal, and is one line where programs read it."""
    # Escaped: messages quote names and numbers from files.
    lines = [shown(line) for message in messages for line in message.split("\n")]
    if sys.stderr.isatty():
        from climbopt.reports.typesetting import wrapped

        lines = [part for line in lines for part in wrapped(line, _width(), hanging=2)]
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def warn(sentences: Iterable[str]) -> None:
    """Print warnings on standard error."""
    complain(*(f"warning: {sentence}" for sentence in sentences))


def report(json: str | None, value: Mapping[str, Value], *shows: Callable[[Console], None]) -> None:
    """Write the JSON to its file; show the tables unless standard output is the JSON's.

    What the JSON has under `warnings` is printed on standard error too.
    """
    from climbopt.files import write_text
    from climbopt.reports.writers import dumps

    warn(cast("list[str]", value.get("warnings", [])))
    if json == "-":
        print(dumps(value))
        return
    if json is not None:
        write_text(json, dumps(value) + "\n")
    for show in shows:
        show(console())


@contextmanager
def solvers_on_standard_error(json: str | None) -> Iterator[None]:
    """Send what a solver prints to standard error where standard output is the JSON's, native code's prints too."""
    if json != "-":
        yield
        return
    from climbopt.backends.backend import silenced

    with silenced(1, to=2), redirect_stdout(sys.stderr):
        yield


@contextmanager
def progress(label: str) -> Iterator[Progress | None]:
    """Yield a function that draws a progress bar on standard error, or None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def bounding() -> Iterator[Callable[[Bounds], None] | None]:
    """Yield a function that shows the progress of a global bound, or None where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("bounding") as status:
        yield lambda at: status.update(
            f"bounding: {at.lower:.8f} to {at.upper:.8f}, boxes {at.nodes} ({at.open} open), {at.seconds:.0f} s; "
            "Ctrl-C keeps it"
        )


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
