"""A call in a forked copy of this process: the caller gets a value or a reason, whatever the callee does."""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

from climbopt.foundations.errors import BackendError, InputError, UnknownNameError, shown

T = TypeVar("T")

POLL = 0.05
"""Seconds between checks whether a silent child still runs."""
BUFFER = 1 << 16
"""Bytes per read."""
MOST_WORDS = 500
"""Characters of a failure's description."""
PASSED_ON: tuple[type[Exception], ...] = (UnknownNameError, BackendError, InputError, MemoryError)
"""Exceptions that are raised again in the caller, each before its base."""


class FailedError(Exception):
    """A call that returned no value; the message says why."""


class TimedOutError(FailedError):
    """A call that was ended because it did not stop in time."""


def described(error: BaseException) -> str:
    """Return an exception's type and message as a printable line.

    Examples
    --------
    >>> described(ValueError("no good"))
    'ValueError: no good'
    """
    words = ""
    with suppress(Exception):  # the exception's own __str__ may fail
        words = str(error)
    return printable(": ".join(filter(None, (type(error).__name__, words))))


def printable(text: str) -> str:
    """Return text as one line of at most `MOST_WORDS` characters, its control characters escaped."""
    line = shown(" ".join(text.split()))
    return line if len(line) <= MOST_WORDS else line[: MOST_WORDS - 3] + "..."


def apart(call: Callable[[], T], seconds: float | None = None) -> T:
    """Return what a call returns in a forked copy of this process.

    The call sees the memory of this process and cannot change it. Its output goes to standard error.

    Parameters
    ----------
    call : callable
        Returns an object that can be pickled and is safe to load here.
    seconds : float, optional
        Wall time after which the copy is killed; never by default.

    Raises
    ------
    InputError, BackendError, MemoryError
        Where the call raises one of these.
    FailedError
        Where it raises anything else, or where the copy cannot be made, leaves, crashes or is killed.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # the copy would write buffered text again
    read, write = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python warns of other threads, whose locks the copy inherits; BLAS recreates its threads after a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError as error:
        os.close(read)
        os.close(write)
        raise FailedError(f"no process for it could be started: {error}") from None
    if pid == 0:
        _answer(call, write)
    os.close(write)
    child = _Child(pid, read)
    try:
        answer = child.answer(None if seconds is None else time.monotonic() + seconds)
    finally:
        child.end()
    try:
        value, failure = pickle.loads(answer)
    except (EOFError, pickle.UnpicklingError):  # nothing or an incomplete answer: the child ended early
        raise FailedError(child.last_words) from None
    if isinstance(failure, Exception):
        raise failure
    result: T = value
    return result


def _answer(call: Callable[[], object], write: int) -> NoReturn:
    """Write the pickled value of a call, and exit without the clean-up handlers of the original process."""
    code = 1
    try:
        # Standard output may be data of the command line; what a callee prints must not enter it.
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        with os.fdopen(write, "wb") as stream:
            # Pickled before anything is written: a value that cannot be pickled becomes a failure, not half an answer.
            stream.write(_outcome(call))
        sys.stderr.flush()
        code = 0
    finally:
        # No atexit handlers, no flush of inherited buffers: they belong to the original process.
        os._exit(code)


def _outcome(call: Callable[[], object]) -> bytes:
    """Return the value of a call and its exception, either of them None, pickled."""
    try:
        return pickle.dumps((call(), None))
    except BaseException as error:  # a callee's SystemExit and KeyboardInterrupt count as failures
        for kind in PASSED_ON:
            if isinstance(error, kind):
                # Rebuilt from its text: the exception itself may hold what cannot be pickled.
                return pickle.dumps((None, kind(printable(str(error)))))
        return pickle.dumps((None, error if isinstance(error, FailedError) else FailedError(described(error))))


class _Child:
    """A forked process and the pipe on which it answers."""

    def __init__(self, pid: int, read: int) -> None:
        self._pid, self._read = pid, read
        self._status: int | None = None

    def answer(self, deadline: float | None) -> bytes:
        """Return all that the child writes until it closes the pipe or ends; raises TimedOutError."""
        # An empty read means that every writer has closed the pipe.
        received, is_open = bytearray(), True
        while is_open:
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOutError("it did not stop in time")
            if select.select([self._read], [], [], POLL)[0]:
                piece = os.read(self._read, BUFFER)
                received += piece
                is_open = bool(piece)
            else:  # a grandchild can hold the pipe open after the child has ended
                is_open = not self._ended()
        return bytes(received)

    def _ended(self) -> bool:
        """Whether the child has ended."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def end(self) -> None:
        """Close the pipe and wait for the child, which is killed if it does not end soon after its answer."""
        os.close(self._read)
        # A child that has answered exits by itself; one that hangs is killed.
        patience = time.monotonic() + POLL
        while not self._ended() and time.monotonic() < patience:
            time.sleep(POLL / 50)
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            self._status = os.waitpid(self._pid, 0)[1]

    @property
    def last_words(self) -> str:
        """How the child ended."""
        code = os.waitstatus_to_exitcode(self._status or 0)
        return (
            f"the process was ended by {signal.Signals(-code).name}"
            if code < 0
            else f"the process ended with exit code {code}"
        )
