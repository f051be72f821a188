"""Fallbacks and findings of a soak's targets that other parts of the program record, as marks."""

from __future__ import annotations

import threading
from datetime import datetime

from harness.events import Record
from harness.soak.tally import CLOCK, FALLBACK, FINDING
from harness.soak.trials import Mark

MOST = 200
"""Marks of one iteration; of more, the first are kept, for a page that shows them is no better with all."""


class Befallen:
    """Keeps the marks of each target until they are taken; to be subscribed to the event log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, list[Mark]] = {}
        self._clock: list[Mark] = []
        self._taken: dict[str, int] = {}

    def __call__(self, record: Record) -> None:
        """Takes one record."""
        action = record["event.action"]
        if action == "link.fallback":
            name = f"{record['harness.from_transport']} to {record.get('harness.to_transport') or 'none'}"
            kind = FALLBACK
        elif action == "finding" and "harness.ruling" in record:
            name, kind = record["harness.finding"], FINDING
        elif action.startswith("clock."):
            name, kind = action.partition(".")[2], CLOCK
        else:
            return
        at = datetime.fromisoformat(record["@timestamp"]).timestamp()
        target = record.get("host.name", "")
        mark = Mark(0, target, kind, name, at, text=record["message"].partition("\n")[0])
        with self._lock:
            if kind == CLOCK:  # every target of the soak lives with the same clock
                self._clock.append(mark)
                return
            marks = self._marks.setdefault(target, [])
            if len(marks) < MOST:
                marks.append(mark)

    def take(self, target: str, iteration: int) -> list[Mark]:
        """Those of a target since the last time, as marks of this iteration."""
        with self._lock:
            marks = self._marks.pop(target, [])
            marks += self._clock[self._taken.get(target, 0) :][:MOST]
            self._taken[target] = len(self._clock)
        return [Mark(iteration, target, each.kind, each.name, each.started, text=each.text) for each in marks]
