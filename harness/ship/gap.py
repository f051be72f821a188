"""A gap in a record: events that are missing in it or cannot be read. The receiver gets an event in their place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from harness.events.identity import event_id_of
from harness.events.reader import Position
from harness.events.record import ECS_VERSION, SCHEMA_VERSION, timestamp
from harness.events.ulid import ALPHABET
from harness.ship.event import Event

_TIME_LENGTH, _RANDOM_LENGTH = 10, 16  # characters of a ULID


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first` to `last` (by `event.sequence`) are missing; `last` is None where the end is unknown. `reason`
    says what is known of the cause; it is empty where the lines are just not there."""

    first: int
    last: int | None
    reason: str

    @property
    def count(self) -> int:
        """How many events are missing for certain."""
        return 0 if self.last is None else self.last - self.first + 1

    @property
    def words(self) -> str:
        """A sentence for people, without its full stop."""
        why = f": {self.reason}" if self.reason else ": their file is missing, or a power cut took them"
        if self.last is None:
            return f"the record cannot be read from event {self.first} on{why}"
        return f"{self.count} events ({self.first} to {self.last}) are no longer in the record{why}"

    def event(self, neighbour: bytes, position: Position) -> Event:
        """Return the `record.gap` event. `neighbour` is the line next to the gap, whose time and run it has; `position`
        is where a reader goes on after it. The same gap has the same `event.id` each time."""
        try:
            known = orjson.loads(neighbour)
        except orjson.JSONDecodeError:
            known = {}
        known = known if isinstance(known, dict) else {}
        run = known.get("cicd.pipeline.run.id") or "unknown"
        digest = hashlib.sha256(f"{run} {self.first} {self.last}".encode()).digest()
        random = "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:_RANDOM_LENGTH])
        record = {
            "@timestamp": known.get("@timestamp") or timestamp(0),
            "log.level": "error",
            "message": self.words,
            "ecs.version": ECS_VERSION,
            "event.id": (event_id_of(neighbour)[:_TIME_LENGTH] or "0" * _TIME_LENGTH) + random,
            "event.sequence": self.first if self.last is None else self.last,
            "event.action": "record.gap",
            "event.dataset": "harness.events",
            "harness.schema": SCHEMA_VERSION,
            "cicd.pipeline.run.id": run,
            "harness.first_missing": self.first,
        }
        if self.last is not None:
            record["harness.last_missing"] = self.last
        return Event(orjson.dumps(record), record, position)
