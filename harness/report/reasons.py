"""A reason that many checks fail for is printed whole once, and by name after that. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

WORTH_NAMING = 60
"""A reason of fewer characters is printed again: its name would be no shorter."""

# As harness.target.values writes them. Only those that pass while somebody looks: other times are figures of their own.
_TIME = r"\d+(?:\.\d+)? (?:s|min|h)(?: \d+ (?:s|min))?"
_A_TIME = re.compile(_TIME)
_PASSING = re.compile(rf"(?<=\bfor ){_TIME}\b|\b{_TIME}(?= ago\b)")


def by_name(message: str, told: Mapping[str, str]) -> str:
    """The message with each reason in it that was printed before (reason: whose it was) named instead. The same reason
    seen a while later is the same: `running for 8.2 s` is `running for 12 s` by then."""
    for reason, label in told.items():
        pieces = _PASSING.split(reason)
        if "".join(pieces).strip():
            message = _named(message, pieces, f"(same cause as {label})")
    return message


def _named(message: str, pieces: list[str], name: str) -> str:
    """The message with `name` wherever `pieces` stand in it one behind the other with a time between each two. Reasons
    are made of a target's words: no regular expression is made of them."""
    out: list[str] = []
    at = 0
    while (start := message.find(pieces[0], at)) >= 0:
        end = start + len(pieces[0])
        for piece in pieces[1:]:
            time = _A_TIME.match(message, end)
            if time is None or not message.startswith(piece, time.end()):
                break
            end = time.end() + len(piece)
        else:
            out += (message[at:start], name)
            at = end
            continue
        out.append(message[at : start + 1])
        at = start + 1
    return "".join(out) + message[at:]
