"""Points in time as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from harness.errors import UsageError
from harness.events.record import timestamp

_AGO = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m(?!s))?(?:([0-9]+(?:\.[0-9]+)?)s)?(?:\s*ago)?")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?")
_HINT = "Write 10m, 1h30m, 2d (before now), 07:31, 2026-11-23T07:31:05, or the same with Z or +02:00 behind it."


def moment(text: str, now: float) -> str:
    """RFC 3339 in UTC, as the record has it, of what a person wrote; `now` is in seconds since the epoch.

    `10m` is ten minutes before now; a time alone is today's; without a zone it is the local one. Raises UsageError.
    """
    words = text.strip()
    ago = _AGO.fullmatch(words)
    if ago and any(ago.groups()):
        days, hours, minutes, seconds = (float(each or 0) for each in ago.groups())
        try:
            return timestamp(now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds())
        except (OverflowError, ValueError):
            raise UsageError(f"{text!r} is before all time", hint=_HINT) from None
    if _CLOCK.fullmatch(words):
        words = f"{datetime.fromtimestamp(now).date().isoformat()}T{words.zfill(5 if words.count(':') == 1 else 8)}"
    try:
        at = datetime.fromisoformat(words)
    except ValueError:
        raise UsageError(f"invalid time {text!r}", hint=_HINT) from None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
