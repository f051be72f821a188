"""Journal entries, read from `journalctl -o json`."""

from __future__ import annotations

import json
from dataclasses import dataclass


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

    Raises ValueError for a line that is no entry: an answer that is half understood is none.
    """
    entries: list[JournalEntry] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        fields = json.loads(line)
        message = fields.get("MESSAGE")
        if isinstance(message, list):
            message = bytes(message).decode("utf-8", "backslashreplace")
        entries.append(
            JournalEntry(
                identifier=str(fields.get("SYSLOG_IDENTIFIER") or fields.get("_COMM") or "unknown"),
                message=str(message or ""),
                priority=int(fields.get("PRIORITY", 6)),
                at=int(fields.get("__REALTIME_TIMESTAMP", 0)) / 1_000_000,
                pid=int(fields.get("_PID", 0)),
            )
        )
    return tuple(entries)
