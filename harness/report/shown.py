"""What a machine printed, for a person's terminal."""

from __future__ import annotations

import re

from harness.printing import printable

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shown(text: str) -> str:
    """What a machine printed must not drive the person's terminal: control characters are shown, not sent."""
    if text.isprintable():
        return text
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return printable(_CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text))
