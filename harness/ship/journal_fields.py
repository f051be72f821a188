"""An event as the journal's fields, and those as bytes, as both of systemd's ways in have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from harness.ship.event import Event

_NO_NAME = re.compile(r"[^A-Z0-9_]")
_LONGEST_NAME = 64
_NAMES = {"message": "MESSAGE", "@timestamp": "TIMESTAMP"}


def fields(event: Event) -> dict[str, str]:
    """The fields, by names that the journal takes: `event.id` is EVENT_ID, `harness.outcome` HARNESS_OUTCOME."""
    found = {"MESSAGE": "", "PRIORITY": str(event.severity), "SYSLOG_IDENTIFIER": "harness"}
    for key, value in event.record.items():
        found[_NAMES.get(key) or _name(key)] = _text(value)
    return found


def dumped(values: Mapping[str, str]) -> bytes:
    """`NAME=value` on a line, or with its length before it where it holds what would end the line
    (https://systemd.io/JOURNAL_EXPORT_FORMATS/)."""
    lines: list[bytes] = []
    for name, value in values.items():
        data = value.encode("utf-8", "backslashreplace")
        if value.isprintable():
            lines.append(b"%b=%b\n" % (name.encode(), data))
        else:
            lines.append(b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data))
    return b"".join(lines)


def _name(key: str) -> str:
    # A leading underscore is journald's own mark on what it trusts; a digit is not allowed there.
    return _NO_NAME.sub("_", key.upper()).lstrip("_0123456789")[:_LONGEST_NAME] or "FIELD"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
