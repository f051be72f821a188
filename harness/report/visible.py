"""Text of a machine, such as it can stand on a page: nothing in it drives the reader's screen."""

from __future__ import annotations

import re

# What cannot be seen, or shows as something else: controls, what turns the direction of text, halves of characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]|[\ud800-\udfff]"
)
_COLOUR_CODE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


_LINE_END = re.compile(r"\r+(?=\n|\Z)")


def visible(text: str) -> str:
    """The text without colour codes and cursor movements, and without the CR that consoles put before a line's end; all
    other control characters and what is no character are shown as `\\xNN`."""
    return _UNSEEN.sub(lambda match: f"\\x{ord(match[0]):02x}", _COLOUR_CODE.sub("", _LINE_END.sub("", text)))
