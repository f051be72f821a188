"""What a target's console said in a run, for those who look for a line of it later."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from harness.events import Emitter
from harness.events.emitter import Level
from harness.patterns import LinearPattern

KEPT = 20_000
"""Lines; a boot has a thousand or two."""
LONGEST = 4096
"""Characters that are kept of a line."""


_MOST_LOGGED = 262144
"""Bytes."""


def logged_lines(path: str, lines: int = 400) -> tuple[str, ...]:
    """Return the last lines of a console's log as text, without control sequences; none where there is no log."""
    from harness.transport.serial.console import strip_ansi

    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_LOGGED))
            data = file.read(_MOST_LOGGED)
    except OSError:
        return ()
    data = strip_ansi(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    return tuple(data.decode("utf-8", "backslashreplace").split("\n")[-lines:])


class ConsoleLines:
    """An emitter that keeps the console's lines on their way into the record. Written in one thread, read in any."""

    def __init__(self, events: Emitter) -> None:
        self._events = events
        self._lines: deque[str] = deque(maxlen=KEPT)

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        """Passes an event on."""
        if action == "console.line":
            self._lines.append(message[:LONGEST])
        self._events.emit(action, message, level=level, **fields)

    @property
    def kept(self) -> tuple[str, ...]:
        """All lines that are kept, the oldest first."""
        return tuple(self._lines)

    def forget(self, but: tuple[str, ...] = ()) -> None:
        """Forgets the lines, but for these: a new boot has its own, and a rewound one those from before."""
        self._lines = deque(but, maxlen=KEPT)

    def bind(self, **fields: Any) -> Emitter:
        """As an emitter does; what is emitted there is no line of the console."""
        return self._events.bind(**fields)

    def last(self, pattern: str) -> str | None:
        """The newest line that holds the pattern, a regular expression."""
        sought = LinearPattern(pattern)
        return next((line for line in reversed(tuple(self._lines)) if sought.search(line)), None)

    @property
    def newest(self) -> str:
        """The last line; empty when there was none."""
        return self._lines[-1] if self._lines else ""
