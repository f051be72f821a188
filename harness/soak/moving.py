"""An emitter that adds the present iteration's number to each event, also to those of a session that outlives it."""

from __future__ import annotations

from typing import Any

from harness.events import Emitter
from harness.events.emitter import Level


class IterationNumber:
    """The number of the present iteration; 0 before the first."""

    def __init__(self) -> None:
        self.number = 0


class IterationEmitter:
    """Passes events on with `iteration`, as soon as there is one."""

    def __init__(self, events: Emitter, counter: IterationNumber) -> None:
        self._events = events
        self._counter = counter

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        if self._counter.number:
            fields.setdefault("iteration", self._counter.number)
        self._events.emit(action, message, level=level, **fields)

    def bind(self, **fields: Any) -> Emitter:
        return IterationEmitter(self._events.bind(**fields), self._counter)
