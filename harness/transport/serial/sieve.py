"""Takes out what the kernel and systemd print on a console, wherever in the stream it stands.

The kernel's console driver writes whole lines past the terminal, so such a line may stand between any two bytes of a
prompt. systemd writes its status lines through the terminal, so the kernel's may stand inside those too. What is left
is what the program on the terminal said, in one piece: it falls quiet even where the console never does.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from harness.transport.errors import TransportError

_LONGEST = 4096  # printk cuts a line at about 1,024 characters; what goes on for longer is no such line
_KEPT = 200


class Lines:
    """Lines that are known by their start, cut out of a stream that may itself be cut anywhere."""

    def __init__(self, start: str, begun: str, end: str) -> None:
        """`begun` matches what may still become a `start`, where it stands at the end of what came so far."""
        self._start = re.compile(start.encode())
        self._begun = re.compile(rf"(?:{begun})\Z".encode())
        self._end = re.compile(end.encode())
        self._held = b""
        self._head = 0  # how long the start is of the line that we are in; 0: we are in none

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """What is left, and the lines that were taken out, without their ends."""
        text, self._held = self._held + data, b""
        rest: list[bytes] = []
        lines: list[bytes] = []
        while text:
            if self._head:
                end = self._end.search(text, self._head, _LONGEST)
                if end is None and len(text) < _LONGEST:
                    self._held = text
                    break
                self._head = 0
                if end is None:
                    rest.append(text[:_LONGEST])
                else:
                    lines.append(text[: end.start()])
                text = text[_LONGEST if end is None else end.end() :]
                continue
            start = self._start.search(text)
            if start is not None:
                rest.append(text[: start.start()])
                text = text[start.start() :]
                self._head = start.end() - start.start()
                continue
            begun = self._begun.search(text)
            cut = len(text) if begun is None else begun.start()
            rest.append(text[:cut])
            self._held = text[cut:]
            break
        return b"".join(rest), lines

    def flush(self) -> bytes:
        """What is held back: it may become such a line, or is one that has not ended."""
        held, self._held, self._head = self._held, b"", 0
        return held


def kernel_lines() -> Lines:
    """printk's: ``[   12.345678] ``, with CONFIG_PRINTK_CALLER ``[   12.345678][    T1] ``."""
    return Lines(
        r"\[ {0,4}\d{1,10}\.\d{6}\](?:\[ {0,8}[TC]\d{1,10}\])? ",
        r"\[ {0,4}(?:\d{1,10}(?:\.(?:\d{0,5}|\d{6}(?:\](?:\[ {0,8}(?:[TC](?:\d{1,10}\]?)?)?)?)?))?)?",
        r"\r*\n",
    )


def systemd_lines() -> Lines:
    """Those of systemd's src/core/show-status.c and job.c, in colour or not: ``[  OK  ] ``, ``[***   ] ``, or nine
    blanks and what is being started. One that replaces a moving one begins by going back a line; in old versions
    the moving ones ended with a carriage return alone."""
    back = r"(?:(?:\x1bM)?\r?\x1b\[K)?"
    colour = r"(?:\x1b\[[\d;]*m)*"
    words = "  OK  |FAILED|DEPEND|ASSERT|UNSUPP| TIME | INFO | WARN | SKIP "
    letter = colour + "[ *A-Z]"
    return Lines(
        rf"{back}(?:\[{colour}(?:(?:{words})|(?=[^\]]{{0,60}}\*)(?:{colour}[ *]){{6}}){colour}\] "
        r"| {9}(?=[A-Z][a-z]+ing ))",
        rf"{back}(?:\[(?:{letter}){{0,6}}{colour}(?:\x1b(?:\[[\d;]*)?)?|\[(?:{letter}){{6}}{colour}\]| {{1,9}}"
        r"| {9}[A-Z][a-z]*)|(?:\x1bM)?\r?\x1b(?:\[K?)?|\x1bM\r?",
        r"\r*\n(?:\x1b\[K)?|\r+(?=[^\r\n])",
    )


class Sieve:
    """Feed it any chunks of a console's stream; it tells the terminal's own bytes from others' lines."""

    def __init__(self) -> None:
        self._through = (kernel_lines(), systemd_lines())

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """The terminal's own bytes (an end that is undecided yet is held back), and others' lines that have ended."""
        others: list[bytes] = []
        for lines in self._through:
            data, found = lines.feed(data)
            others += found
        return data, others

    def flush(self) -> bytes:
        """What is held back."""
        kernel, systemd = self._through
        return systemd.flush() + kernel.flush()


class Heard(Protocol):
    """Who hears a console; see :class:`~harness.transport.serial.console.Listener`."""

    def feed(self, data: bytes, at: float) -> None: ...

    def lost(self, error: TransportError) -> None: ...


H = TypeVar("H", bound=Heard)


class Sieved(Generic[H]):
    """A listener in front of another one: hands on what is the terminal's own, and keeps the last of others' lines."""

    def __init__(self, listener: H, tell: Callable[[Iterable[bytes]], None] | None = None) -> None:
        """`tell` gets others' lines as they come."""
        self.listener = listener
        self._tell = tell
        self._sieve: Sieve | None = Sieve()
        self._open = False
        self._lock = threading.Lock()
        self._others: deque[bytes] = deque(maxlen=_KEPT)
        self._count = 0

    @property
    def count(self) -> int:
        """How many lines of others came so far; a place for `others`."""
        return self._count

    def others(self, count: int = 0) -> list[bytes]:
        """Others' lines that came after that place, at most the last 200."""
        with self._lock:
            new = min(self._count - count, len(self._others))
            return list(self._others)[-new:] if new > 0 else []

    def open(self) -> None:
        """From now on the listener hears everything as it comes."""
        self._open = True

    def feed(self, data: bytes, at: float) -> None:
        if self._sieve is not None:
            if self._open:
                data, self._sieve = self._sieve.flush() + data, None
            else:
                data = self._take_out(self._sieve, data)
        if data:
            self.listener.feed(data, at)

    def _take_out(self, sieve: Sieve, data: bytes) -> bytes:
        data, others = sieve.feed(data)
        if others:
            with self._lock:
                self._others.extend(others)
                self._count += len(others)
            if self._tell is not None:
                self._tell(others)
        return data

    def lost(self, error: TransportError) -> None:
        self.listener.lost(error)
