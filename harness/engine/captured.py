"""What a check prints: captured, and attributed to the attempt that printed it.

Checks of many targets run side by side on threads, so `sys.stdout` and `sys.stderr` are replaced by objects that look
up whose output it is. The pytest plugin installs none of this: pytest captures output itself.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import IO, Any, TextIO, cast

from harness.printing import safe

LARGEST = 16 << 20
"""Characters kept of one attempt's output; the rest is counted and discarded."""
SHOWN = 8_192
"""Characters of a return value, a message or an output that stay in a result; the record has the whole."""

_current: ContextVar[Capture | None] = ContextVar("harness_captured_output", default=None)


class Capture:
    """The output of one attempt. Thread-safe: a thread that was given up may still print."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: list[str] = []
        self._size = 0
        self._discarded = 0

    def write(self, text: str) -> None:
        with self._lock:
            kept = text[: max(0, LARGEST - self._size)]
            self._size += len(kept)
            self._discarded += len(text) - len(kept)
            if kept:
                self._parts.append(kept)

    @property
    def text(self) -> str:
        """What was printed so far."""
        if not self._size:
            return ""
        with self._lock:
            text = "".join(self._parts)
            self._parts = [text] if text else []
            return f"{text}\n[{self._discarded} more characters were discarded]" if self._discarded else text

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Take what this thread prints meanwhile, where `attributed` is in force."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


class _Router(io.TextIOBase):
    """A standard stream that passes text to the attempt that prints it, and all other text to `other`."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, other: TextIO) -> None:
        self._other = other
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        capture = _current.get()
        if capture is not None:
            capture.write(text)
        else:
            self._other.write(text)
        return len(text)

    def flush(self) -> None:
        if _current.get() is None and not self._other.closed:
            self._other.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._other.fileno()


class _Bytes(io.RawIOBase):
    """The `buffer` of a router."""

    def __init__(self, router: _Router) -> None:
        self._router = router

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._router.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)


@contextlib.contextmanager
def attributed() -> Iterator[None]:
    """Route what checks print to their attempts. What no attempt prints itself (a thread that a check started) goes to
    stderr, never to stdout."""
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _Router(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def document_only(wanted: bool) -> Iterator[IO[str]]:
    """Give a stream that leads to stdout; where `wanted`, all else that is written to stdout meanwhile goes to stderr:
    prints while check files are imported, and what programs write that a check starts."""
    if not wanted:
        yield sys.stdout
        return
    try:
        number = sys.stdout.fileno()
        sys.stdout.flush()
        kept = os.dup(number)
        os.dup2(sys.stderr.fileno(), number)
    except (OSError, ValueError):  # no file at all: somebody has replaced it by an object
        stream = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            yield stream
        return
    try:
        with open(os.dup(kept), "w", encoding="utf-8", errors="backslashreplace") as stream:
            yield cast("IO[str]", safe(stream))
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(kept, number)
        os.close(kept)


def shortened(text: str) -> str:
    """Return the text, or the beginning and the end of one that is too long for a result."""
    if len(text) <= SHOWN:
        return text
    half = SHOWN // 2
    left = f"… [{len(text) - 2 * half:,} of {len(text):,} characters left out; the record has them] …"
    return f"{text[:half]}{left}{text[-half:]}"
