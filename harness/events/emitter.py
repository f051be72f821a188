"""The seam through which every room records what happens."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Level = Literal["debug", "info", "warning", "error"]


class Emitter(Protocol):
    """Writes events; a bound emitter carries fields (target, check, attempt, transport…) to each of them.

    `action` is the event's stable dotted name (`ssh.connected`, `console.line`), `message` a sentence for people.
    Field names become keys as :mod:`harness.events.record` says; durations are given in seconds as `duration=`.
    Values are
    str, int, float, bool, None, or lists and dicts of them; bytes are shown with `backslashreplace`.
    """

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        """Records one event. When this returns, it is written and flushed."""

    def bind(self, **fields: Any) -> Emitter:
        """An emitter that adds these fields to each event."""


class NullEmitter:
    """Records nothing; for use as a library."""

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        del action, message, level, fields

    def bind(self, **fields: Any) -> Emitter:
        del fields
        return self
