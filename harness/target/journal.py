"""Journal entries, read from `journalctl -o json`."""

from __future__ import annotations

from dataclasses import dataclass

from harness import tolerant


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry. `priority` is syslog's: 0 emergency … 3 error … 7 debug. `at` is in seconds since the epoch."""

    identifier: str
    message: str
    priority: int
    at: float
    pid: int = 0

    def __str__(self) -> str:
        return f"{self.identifier}[{self.pid}]: {self.message}" if self.pid else f"{self.identifier}: {self.message}"


def parse_journal(text: str) -> tuple[JournalEntry, ...]:
    """Reads one JSON object a line (systemd.journal-fields(7)); a message that is no UTF-8 comes as a list of bytes.

    A field that cannot be read costs that field: programs set them to anything. Raises ValueError for a line that is no
    entry: an answer that was cut short is none.
    """
    entries: list[JournalEntry] = []
    for line in text.split("\n"):  # a message may hold any other line end of Unicode's
        if not line.strip():
            continue
        fields = tolerant.fields(line)
        entries.append(
            JournalEntry(
                identifier=tolerant.text(fields.get("SYSLOG_IDENTIFIER"))
                or tolerant.text(fields.get("_COMM"))
                or "unknown",
                message=tolerant.text(fields.get("MESSAGE")),
                priority=tolerant.count(fields.get("PRIORITY"), 6, most=7),
                at=tolerant.count(fields.get("__REALTIME_TIMESTAMP")) / 1_000_000,
                pid=tolerant.count(fields.get("_PID")),
            )
        )
    return tuple(entries)
