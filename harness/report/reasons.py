"""A reason that many checks fail for is told whole once, and by name after that. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

WORTH_NAMING = 60
"""A reason of fewer characters is told again: its name would be no shorter."""

# As harness.target.values writes them. Only those that pass while somebody looks: other times are figures of their own.
_TIME = r"\d+(?:\.\d+)? (?:s|min|h)(?: \d+ (?:s|min))?"
_PASSING = re.compile(rf"(?<=\bfor ){_TIME}\b|\b{_TIME}(?= ago\b)")


def by_name(message: str, told: Mapping[str, str]) -> str:
    """The message with each reason in it that was told before (reason: whose it was) named instead. The same reason
    seen a while later is the same: `running for 8.2 s` is `running for 12 s` by then."""
    for reason, label in told.items():
        pattern = _TIME.join(re.escape(part) for part in _PASSING.split(reason))
        message = re.sub(pattern, lambda _, label=label: f"(the reason of {label})", message)  # type: ignore[misc]
    return message
