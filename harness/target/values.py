"""How systemd writes values, and how people read them. Pure: text in, values out."""

from __future__ import annotations

import math
import re

_SPAN = re.compile(r"(?<![\d.-])(\d+(?:\.\d+)?)\s*([a-z]*)(?![\w.:-])")
_UNITS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "month": 30.4375 * 86400.0,
    "y": 365.25 * 86400.0,
}
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")


def span(text: str) -> float:
    """Seconds of a time span (`1min 30s`, `100ms`; systemd.time(7)); infinite for `infinity`, NaN where it is none."""
    if text.strip() == "infinity":
        return math.inf
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text).strip() or any(unit not in _UNITS for _, unit in parts):
        return math.nan
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def words(text: str) -> tuple[str, ...]:
    """The words of a list of `systemctl show`: one with a backslash stands in quotes, with each backslash doubled."""
    return tuple(
        re.sub(r"\\(.)", r"\1", quoted) if quoted or not plain else plain for quoted, plain in _WORD.findall(text)
    )


def path_of(unit: str) -> str:
    """The path that a unit's name stands for (`dev-disk-by\\x2dlabel-a.device`: /dev/disk/by-label/a); see
    systemd.unit(5), "String escaping"."""
    stem = unit.rpartition(".")[0]
    path = "/" + stem.replace("-", "/") if stem != "-" else "/"
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), path)


def seconds(value: float) -> str:
    """A length of time for people: tenths of a second below ten, whole minutes from two up."""
    if value < 9.95:
        return f"{max(value, 0.0):.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def listed(items: list[str], most: int = 5) -> str:
    """`a, b and c`; what is more than `most` is counted only."""
    shown = items[:most]
    if len(items) > most:
        shown.append(f"{len(items) - most} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
