"""Host names with ports and ranges, as Ansible reads them (`parse_address`, `expand_hostname_range`)."""

from __future__ import annotations

import re
import string

_BRACKETED_PORT = re.compile(r"\[(.+)\]:([0-9]+)")
_PLAIN_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)")
_NAME_RANGE = re.compile(r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]", re.IGNORECASE)
_HEX_RANGE = re.compile(r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]", re.IGNORECASE)
_DIGITS = 18
_LABEL = re.compile(r"\w(?:[\w-]*[^\W_])?", re.UNICODE)
_HEX_GROUP = re.compile(r"[0-9a-f]{1,4}|\0", re.IGNORECASE)


def parse_address(text: str, *, ranges: bool) -> tuple[str, int | None]:
    """Splits `host`, `host:port`, `[v6]:port` into name and port; with `ranges`, names may hold `[x:y:z]`.

    Raises ValueError for what is no host name or address.
    """
    host, port = text, None
    for shape in (_BRACKETED_PORT, _PLAIN_PORT):
        if match := shape.fullmatch(host):
            host, port = match[1], int(match[2])
    if not (_is_hostname(host) or is_ipv6(host)):
        raise ValueError(f"not a host name or address: {text!r}")
    if "[" in host and not ranges:
        raise ValueError(f"a range is not possible here: {text!r}")
    return host, port


def _is_hostname(text: str) -> bool:
    plain = _NAME_RANGE.sub("a", text) if "[" in text else text
    return all(_LABEL.fullmatch(label) and label != "_" for label in plain.split("."))


def is_ipv4(text: str) -> bool:
    """Four numbers of 0 to 255 (leading zeros as Ansible allows them)."""
    parts = text.split(".")
    return len(parts) == 4 and all(re.fullmatch(r"[0-9]{1,3}", part) is not None and int(part) <= 255 for part in parts)


def is_ipv6(text: str) -> bool:
    """An IPv6 address; any of its groups may be a range, as in `fd00::[1:f]`."""
    # A range stands for a whole group, never for some of its digits.
    plain = _HEX_RANGE.sub("\0", text) if "[" in text else text
    if ":" not in plain:
        return False
    if "." in plain:
        head, _, tail = plain.rpartition(":")
        dotted = tail.split(".")
        return (
            len(dotted) == 4
            and all(_HEX_GROUP.fullmatch(part) for part in dotted)
            and head.lower() in (":", "::ffff", "0:0:0:0:0:0", "0:0:0:0:0:ffff")
        )
    halves = plain.split("::")
    if len(halves) > 2:
        return False
    groups = [half.split(":") if half else [] for half in halves]
    if not all(_HEX_GROUP.fullmatch(group) for half in groups for group in half):
        return False
    if len(groups) == 1:
        return len(groups[0]) == 8
    left, right = (len(half) for half in groups)
    # One side alone may hold six groups at most, both sides seven together.
    return left + right <= 7 if left and right else left + right <= 6


def expand_pattern(text: str) -> tuple[list[str], int | None]:
    """All host names that a host pattern stands for, and its port.

    Raises ValueError, saying what is wrong with a range.
    """
    try:
        pattern, port = parse_address(text, ranges=True)
    except ValueError:
        pattern, port = text, None
    return (expand_ranges(pattern) if "[" in pattern else [pattern]), port


MOST_NAMES = 100_000
"""Names that one pattern may stand for."""
_MOST_RANGES = 20


def expand_ranges(text: str) -> list[str]:
    """Every name of `db[01:50]-[a:c]`, leftmost range slowest. Raises ValueError for a range that is none, and for more
    than :data:`MOST_NAMES` names."""
    if "[" not in text:
        return [text]
    if text.count("[") > _MOST_RANGES:
        raise ValueError(f"{text[:60]!r}… holds more than {_MOST_RANGES} ranges")
    # Ansible takes the first bracket of either kind, in whatever order they stand, and '|' for a bracket.
    parts = text.replace("[", "|", 1).replace("]", "|", 1).split("|")
    if len(parts) != 3:
        reason = "has no closing bracket" if len(parts) < 3 else "holds a '|', which cannot stand beside a range"
        raise ValueError(f"the range in {text!r} {reason}")
    head, inner, tail = parts
    tails = expand_ranges(tail) if "[" in tail else [tail]
    found = _range(inner)
    if len(found) * len(tails) > MOST_NAMES:
        raise ValueError(f"{text!r} stands for {len(found) * len(tails)} names, more than {MOST_NAMES}")
    return [head + part + end for part in found for end in tails]


def _range(inner: str) -> list[str]:
    bounds = inner.split(":")
    if len(bounds) not in (2, 3):
        raise ValueError(f"[{inner}] is no range: expected [begin:end] or [begin:end:step]")
    begin, end = bounds[0] or "0", bounds[1]
    if not end:
        raise ValueError(f"[{inner}] has no end: expected [begin:end] or [begin:end:step]")
    width = len(begin) if begin[0] == "0" and len(begin) > 1 else 0
    if width and width != len(end):
        raise ValueError(f"[{inner}]: with leading zeros, begin and end must be equally long")
    if any(len(bound) > _DIGITS for bound in bounds):
        raise ValueError(f"[{inner[:60]}]: a bound of more than {_DIGITS} digits")
    try:
        step = int(bounds[2]) if len(bounds) == 3 else 1
    except ValueError:
        raise ValueError(f"[{inner}]: the step {bounds[2]!r} is no number") from None
    if step == 0:
        raise ValueError(f"[{inner}]: the step cannot be 0")
    letters = string.ascii_letters
    first, last = letters.find(begin), letters.find(end)
    if first >= 0 and last >= 0:
        if first > last:
            raise ValueError(f"[{inner}]: begin must not come after end")
        found: list[str] = list(letters[first : last + 1 : step])
    else:
        try:
            numbers = range(int(begin), int(end) + 1, step)
        except ValueError:
            raise ValueError(f"[{inner}] is no range: its ends must be two numbers or two single letters") from None
        if len(numbers) > MOST_NAMES:
            raise ValueError(f"[{inner}] stands for {len(numbers)} names, more than {MOST_NAMES}")
        found = [str(number).zfill(width) for number in numbers]
    if not found:
        raise ValueError(f"[{inner}] names nothing: begin must not come after end")
    return found
