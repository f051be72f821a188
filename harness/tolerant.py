"""One tolerant reader for what a target says: a field that is not what it should be costs that field, and nothing else.

journald lets any program set any field without an underscore to anything (systemd.journal-fields(7)), several times
over, with bytes in it; and who owns a target may print what he likes.
"""

from __future__ import annotations

import json
import math
from typing import Any

MOST = 2**63 - 1
"""The largest number that is taken for one: what systemd and JSON readers have room for."""
_DIGITS = 19


def count(value: object, default: int = 0, *, most: int = MOST) -> int:
    """Return a whole number from 0 up: of an int, of ASCII digits, or of the first of a list; else `default`."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bool) or value is None:
        return default
    if isinstance(value, bytes):
        value = value[: _DIGITS + 8].decode("ascii", "replace")
    if isinstance(value, str):
        text = value.strip() if len(value) < 64 else value
        if not text.isascii() or not text.isdigit() or len(text.lstrip("0")) > _DIGITS:
            return default
        value = int(text)
    return value if isinstance(value, int) and 0 <= value <= most else default


def real(text: str, default: float = 0.0) -> float:
    """Return a finite number from 0 up, else `default`."""
    try:
        value = float(text) if len(text) < 64 else math.nan
    except ValueError:
        return default
    return value if 0 <= value < math.inf else default


def text(value: object) -> str:
    """Return a field's text: of a string, of bytes as journalctl writes them (a list of numbers), of the first of
    several values. Nothing in it is a lone surrogate, so it can be written anywhere."""
    if isinstance(value, list):
        if value and all(isinstance(byte, int) and not isinstance(byte, bool) and 0 <= byte < 256 for byte in value):
            return bytes(value).decode("utf-8", "backslashreplace")
        value = value[0] if value else None
        if isinstance(value, list):
            return text(value) if value and not isinstance(value[0], list) else ""
    if value is None or isinstance(value, dict):
        return ""
    return str(value).encode("utf-8", "backslashreplace").decode()


def texts(value: object) -> tuple[str, ...]:
    """Return all values of a field that may stand there several times."""
    if isinstance(value, list) and not all(isinstance(each, int) for each in value):
        return tuple(found for each in value if (found := text(each)))
    found = text(value)
    return (found,) if found else ()


def fields(line: str) -> dict[str, Any]:
    """Return the fields of a JSON object on one line. Raises ValueError for what is none: an answer that was cut short
    is to be asked for again."""
    try:
        found = json.loads(line, parse_int=count, parse_float=real, parse_constant=lambda _: 0)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    return found
