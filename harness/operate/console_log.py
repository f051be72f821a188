"""A console's log, read while it is written: its end, and what comes after it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.transport.serial.console import strip_ansi

_MOST_TAIL = 262144
_PIECE = 65536


@dataclass(frozen=True, slots=True)
class Tail:
    """So many lines of the end. With `columns` as many as fit so many lines of a window of that width."""

    lines: int
    columns: int | None = None


class ConsoleLog:
    """The raw bytes that a console said, in a file that somebody appends to. A file that is not there is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        """Where `more` goes on from."""

    @property
    def size(self) -> int:
        """Bytes that it holds by now."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def tail(self, tail: Tail, *, end: int) -> bytes:
        """The last lines before the byte `end`, and the one that was not ended (at most 256 KiB)."""
        count = min(end, _MOST_TAIL) if tail.lines else 0
        data = last_lines(self._read(end - count, count), tail.lines)
        return data if tail.columns is None else last_rows(data, tail.lines, tail.columns)

    def more(self) -> bytes:
        """What came since the last call, at most 64 KiB. A log that was turned over is gone on with from its new
        beginning."""
        if self.size < self.position:
            self.position = 0
        data = self._read(self.position, _PIECE)
        self.position += len(data)
        return data

    def _read(self, place: int, count: int) -> bytes:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, count, place)
        finally:
            os.close(fd)


def last_lines(data: bytes, lines: int) -> bytes:
    """The last so many lines that were ended, and what stands behind them."""
    place = data.rfind(b"\n") + 1
    for _ in range(lines):
        if not place:
            break
        place = data.rfind(b"\n", 0, place - 1) + 1
    return data[place:]


def last_rows(data: bytes, rows: int, columns: int) -> bytes:
    """The last lines, as many as a window has room for: a line that is wider than the window takes several rows."""
    lines = data.split(b"\n")
    place = len(lines)
    while place > 0 and rows > 0:
        rows -= max(1, -(-len(lines[place - 1].rstrip(b"\r")) // columns))
        if rows < 0 and place < len(lines):
            break
        place -= 1
    return b"\n".join(lines[place:])


def joint(log: bytes, heard: bytes, most: int) -> int:
    """How many bytes of what was `heard` stand at the end of the `log` already: the most that fit, up to `most`."""
    for count in range(min(most, len(heard), len(log)), 0, -1):
        if log.endswith(heard[:count]):
            return count
    return 0


def still(data: bytes) -> bytes:
    """What a console said, to be shown later: nothing in it moves the cursor, asks the terminal anything, or rings."""
    text = strip_ansi(data).decode("utf-8", "backslashreplace")
    return "".join(c for c in text if not "\x7f" <= c <= "\x9f").encode().replace(b"\n", b"\r\n")
