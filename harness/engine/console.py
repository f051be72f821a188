"""What the targets' consoles say, read from the record: the last lines of each, and a word when there is a new one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from harness.events import Record

_LINES = 12


class ConsoleTail:
    """The last console lines of each target; to be subscribed to the event log."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[str]] = {}
        self._listeners: dict[str, Callable[[], None]] = {}

    def __call__(self, record: Record) -> None:
        """Takes one record."""
        if record["event.action"] != "console.line":
            return
        target = record.get("host.name", "")
        self._lines.setdefault(target, deque(maxlen=_LINES)).append(record["harness.text"])
        listener = self._listeners.get(target)
        if listener is not None:
            listener()

    def of(self, target: str) -> tuple[str, ...]:
        """The last lines of a target's console."""
        return tuple(self._lines.get(target, ()))

    def on_line(self, target: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls back, from whichever thread, at each new line of this target; returns the call that ends this."""
        self._listeners[target] = listener

        def forget() -> None:
            self._listeners.pop(target, None)

        return forget
