"""The record: structured events, one JSON line each, written before anything else uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.events.emitter import Emitter, Level, NullEmitter
from harness.events.record import Record

if TYPE_CHECKING:
    from harness.events.log import EventLog

__all__ = ["Emitter", "EventLog", "Level", "NullEmitter", "Record"]


def __getattr__(name: str) -> object:
    """The log itself brings structlog; who only emits needs the seam."""
    if name == "EventLog":
        from harness.events.log import EventLog

        return EventLog
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
