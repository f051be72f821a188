"""The events that a receiver will never take: `rejected.jsonl` in the run's folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from harness.ship.durable import append_durably
from harness.ship.event import Event

NAME = "rejected.jsonl"


class Rejected:
    """Writes one line for each refused event, with the sink, the reason, and the event as it stands in the record.

    Several sinks may write to one file: each adds whole lines.
    """

    def __init__(self, run: Path, sink: str) -> None:
        self._path = run / NAME
        self._sink = sink

    def add(self, refused: Iterable[tuple[Event, str]]) -> None:
        """Returns when they are on disk. Raises OSError."""
        self._append(self._line(event, reason) for event, reason in refused)

    def add_unnamed(self, events: Sequence[Event], count: int, reason: str) -> None:
        """The receiver refused `count` of these and did not say which: each is named as one that may be missing there.
        Returns when they are on disk. Raises OSError."""
        self._append(self._line(event, reason) | {"refused": count, "of": len(events)} for event in events)

    def _line(self, event: Event, reason: str) -> dict[str, Any]:
        known = event.record or {"raw": event.line.decode("utf-8", "backslashreplace")}
        return {
            "event.id": event.id,
            "event.sequence": event.sequence,
            "sink": self._sink,
            "reason": reason,
            "event": known,
        }

    def _append(self, lines: Iterable[dict[str, Any]]) -> None:
        text = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
        if text:
            append_durably(self._path, text)
