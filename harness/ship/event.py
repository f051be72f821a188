"""An event on its way to a sink."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from harness.events.reader import Position
from harness.events.record import Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNIX_SEVERITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a record: as it is there (`line`, without its newline), and taken apart (`record`).

    `position` is where a reader goes on after it. Where an event is too long for a sink, `line` and `record` are those
    of the event with its longest fields cut.
    """

    line: bytes
    record: Record
    position: Position

    @property
    def sequence(self) -> int:
        return self.position.sequence

    @property
    def id(self) -> str:
        """The ULID by which a receiver can drop what arrives twice."""
        return self.text("event.id")

    @property
    def severity(self) -> int:
        """The syslog severity (RFC 5424, table 2), which journald has too: 7 debug, 6 info, 4 warning, 3 error."""
        return _UNIX_SEVERITIES.get(self.text("log.level"), 6)

    @property
    def microseconds(self) -> int:
        """When it happened, in microseconds since 1970; 0 where the line does not tell, and for a clock before
        that: nobody's format has a sign there."""
        try:
            return max(0, (datetime.fromisoformat(self.text("@timestamp")) - _EPOCH) // _MICROSECOND)
        except (ValueError, TypeError):
            return 0

    def text(self, key: str) -> str:
        """A field that is a text; empty where there is none."""
        value = self.record.get(key)
        return value if isinstance(value, str) else ""
