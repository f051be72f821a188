"""Keys and texts as people write them on a command line. Pure."""

from __future__ import annotations

import re

_NAMED = {"n": b"\n", "r": b"\r", "t": b"\t", "e": b"\x1b", "a": b"\a", "b": b"\b", "0": b"\0", "\\": b"\\"}
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.)|\Z)", re.DOTALL)
_CONTROL = re.compile(r"(?:\^|ctrl[-+]|c-)(.)", re.IGNORECASE | re.DOTALL)


def unescaped(text: str) -> bytes:
    r"""The bytes that a text stands for: `\n`, `\r`, `\t`, `\e` (escape), `\a`, `\b`, `\0`, `\\`, `\xNN`; all else as
    UTF-8, and what the command line held that is none as it came. Raises ValueError."""
    out, place = b"", 0
    for match in _ESCAPE.finditer(text):
        out += text[place : match.start()].encode("utf-8", "surrogateescape")
        place = match.end()
        if match[1]:
            out += bytes((int(match[1], 16),))
        elif match[2] in _NAMED:
            out += _NAMED[match[2]]
        else:
            raise ValueError(
                f"{match[0]!r} is no escape: \\n \\r \\t \\e \\a \\b \\0 \\xNN are, and \\\\ is a backslash"
            )
    return out + text[place:].encode("utf-8", "surrogateescape")


def key(text: str) -> bytes:
    """The byte that one key sends: `^]`, `ctrl-]`, `~`, `\\x1d`; nothing for `none`. Raises ValueError."""
    if text.lower() == "none":
        return b""
    if (match := _CONTROL.fullmatch(text)) and (match[1] == "?" or "@" <= match[1].upper() <= "_"):
        return bytes((ord(match[1].upper()) ^ 0x40,))
    data = unescaped(text)
    if len(data) != 1:
        raise ValueError(f"{text!r} is no single key, such as ^], ctrl-a or ~")
    return data


def key_name(data: bytes) -> str:
    """A key as a person knows it: `Ctrl-]`."""
    code = data[0]
    if code < 32 or code == 127:
        return f"Ctrl-{chr(code ^ 0x40)}"
    return data.decode("latin-1")
