"""Text of a machine's, quoted in a sentence. Pure."""

from __future__ import annotations

import re

LONGEST_QUOTE = 200
"""Characters of one quotation."""


def one_line(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Return the text as one line of at most `longest` characters: blanks collapsed, what is not printable escaped as
    Python writes it."""
    text = " ".join(text[: 4 * longest + 64].split())
    escaped = "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in text
    )
    return escaped if len(escaped) <= longest else escaped[: longest - 1] + "…"


_GRAVE = re.compile(
    r"\b(?:error|fatal|failed|failure|cannot|can't|could not|unable|denied|refused|invalid|bad|no such|not found"
    r"|missing|unsupported|terminating|exiting)\b",
    re.IGNORECASE,
)


def gravest(lines: tuple[str, ...]) -> str:
    """Return the first line that reports an error, else the last one. What follows an error is mostly its
    consequence."""
    return next((line for line in lines if _GRAVE.search(line)), lines[-1])


def quoted(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Return the text in quotation marks, as `one_line` has it."""
    return f"'{one_line(text, longest)}'"


def listed(items: tuple[str, ...] | list[str], most: int = 5) -> str:
    """Return `a, b and c`, or `a, b and 7 more`."""
    shown = list(items[:most])
    if len(items) > most:
        return f"{', '.join(shown)} and {len(items) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
