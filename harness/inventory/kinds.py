"""The types that variables have: each reads a value as a person may write it, or says what it expected."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from harness.inventory.places import mask_secrets
from harness.patterns import LinearPattern

_SECONDS = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s?)?")
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_MIB = {"K": 1 / 1024, "": 1.0, "M": 1.0, "G": 1024.0, "T": 1024.0 * 1024}
_TRUE = frozenset({"yes", "on", "1", "true", "y", "t"})
_FALSE = frozenset({"no", "off", "0", "false", "n", "f"})
_SERIAL_URL = re.compile(r"(socket|rfc2217)://(\[[^\]]+\]|[^/:\[\]?#]+):(\d+)(?:[/?].*)?")


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: its name in the documentation, and the function that reads a value or raises ValueError."""

    name: str
    read: Callable[[object], object]


def _wrong(value: object, expected: str) -> ValueError:
    return ValueError(f"expected {expected}, got {mask_secrets(repr(value))}")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise _wrong(value, "a text")


def _filled(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise _wrong(value, "a text that is not empty")
    return text


def whole(low: int, high: int) -> Callable[[object], int]:
    """Whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _wrong(value, f"a whole number from {low} to {high}")
        return value

    return read


def seconds(value: object) -> float:
    """Seconds: 90, "90", "1.5", "90s", "5m", "1h30m"."""
    if isinstance(value, str) and value.strip():
        match = _SECONDS.fullmatch(value.strip())
        if match:
            hours, minutes, rest = match.groups()
            return int(hours or 0) * 3600.0 + int(minutes or 0) * 60.0 + float(rest or 0)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    raise _wrong(value, "seconds (90, 1.5, 5m, 1h30m)")


def _positive(value: object) -> float:
    found = seconds(value)
    if found <= 0:
        raise _wrong(value, "more than 0 seconds")
    return found


def _factor(value: object) -> float:
    try:
        found = float(value) if not isinstance(value, bool) else 0.0  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise _wrong(value, "a number above 0")
    return found


def boolean(value: object) -> bool:
    """Ansible's booleans: yes/no, on/off, true/false, 1/0, in any case."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _wrong(value, "yes or no")


def mebibytes(value: object) -> int:
    """A memory size in MiB: 512, "512M", "1G"."""
    match = _SIZE.fullmatch(str(value).strip()) if isinstance(value, (int, str)) else None
    if isinstance(value, bool) or not match:
        raise _wrong(value, "a size in MiB, or with a unit (512, 512M, 1G)")
    found = int(match[1]) * _MIB[match[2].upper()]
    if found < 1:
        raise _wrong(value, "at least 1 MiB")
    return int(found)


def _items(value: object, separator: str = ",") -> list[str]:
    if isinstance(value, str):
        text = value.strip()
        if text[:1] == "[" and text[-1:] == "]":
            # A list as YAML has it; in INI such a text is no Python literal, and stays one.
            return [part.strip().strip("'\"") for part in text[1:-1].split(separator) if part.strip()]
        return [part.strip() for part in text.split(separator) if part.strip()]
    if isinstance(value, list) and all(isinstance(item, (str, int)) and not isinstance(item, bool) for item in value):
        return [str(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    raise _wrong(value, "a list, or texts with commas between")


def arguments(value: object) -> list[str]:
    """A list of words, or a text that is split as a shell would."""
    if not isinstance(value, str):
        return _items(value)
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"cannot be split into words as a shell would: {str(error).lower()}") from None


def forwards(value: object) -> list[tuple[int, int]]:
    """Forwarded TCP ports, HOST:GUEST each."""
    found = []
    for item in _items(value):
        match = re.fullmatch(r"(\d{1,5}):(\d{1,5})", item)
        if not match or not (0 <= int(match[1]) <= 65535 and 1 <= int(match[2]) <= 65535):
            raise _wrong(item, "HOST:GUEST, two ports (8080:80, in quotes in YAML; 0 for HOST takes a free one)")
        found.append((int(match[1]), int(match[2])))
    return found


def is_size(text: str) -> bool:
    """Whether an item of `qemu_disks` is the size of an empty disk and no path."""
    return re.fullmatch(r"\d+[KMGT]", text, re.IGNORECASE) is not None


def _serial(value: object) -> str:
    text = _filled(value)
    scheme, there, rest = text.partition("://")
    if not there:
        return text
    if scheme == "unix" and rest:
        return text
    match = _SERIAL_URL.fullmatch(text)
    if match and 0 < int(match[3]) <= 65535:
        return text
    raise _wrong(value, "a path, unix://PATH, socket://HOST:PORT, rfc2217://HOST:PORT or a device")


def choice(*words: str) -> Kind:
    """One of some words."""

    def read(value: object) -> str:
        text = str(value)
        if text not in words:
            raise _wrong(value, f"one of {', '.join(words)}")
        return text

    return Kind(" / ".join(words), read)


def _transports(value: object) -> list[str]:
    found = _items(value)
    if not found or len(set(found)) != len(found) or not set(found) <= {"ssh", "serial"}:
        raise _wrong(value, "a list of ssh and serial, in order of preference")
    return found


def _findings(value: object) -> list[str]:
    """Names, severities and `~REGEX`; which names there are is not known here."""
    found = [value.strip()] if isinstance(value, str) and value.strip().startswith("~") else _items(value)
    for word in found:
        if word.startswith("~"):
            LinearPattern(word[1:], multiline=True)
    if "none" in found and len(found) > 1:
        raise _wrong(value, "`none` by itself, or a list of findings")
    return found


TEXT = Kind("text", _text)
NAME = Kind("text", _filled)
PATH = Kind("path", _filled)
PORT = Kind("port", whole(1, 65535))
FREE_PORT = Kind("port, 0 = a free one", whole(0, 65535))
SECONDS = Kind("seconds", _positive)
SECONDS_OR_0 = Kind("seconds, 0 = none", seconds)
FACTOR = Kind("factor", _factor)
BOOLEAN = Kind("yes / no", boolean)
MEMORY = Kind("MiB, or with unit", mebibytes)
CPUS = Kind("whole number", whole(1, 1024))
BAUD = Kind("baud", whole(50, 4_000_000))
COUNT = Kind("whole number", whole(0, 1_000_000))
ITEMS = Kind("list", _items)
ARGUMENTS = Kind("arguments", arguments)
FORWARDS = Kind("list of HOST:GUEST", forwards)
SERIAL = Kind("console", _serial)
TRANSPORTS = Kind("list", _transports)
FINDINGS = Kind("list of findings", _findings)
