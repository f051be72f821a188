"""Lines for a person: with styles where a terminal shows them, else plain. rich is loaded for a terminal only, since
most runs have none."""

from __future__ import annotations

import os
from typing import IO, Protocol

from harness.report.shown import shown

Part = str | tuple[str, str]
"""Words, or words and rich's name of their style."""


class Lines(Protocol):
    """Takes a line at a time; control characters of what a machine said are shown, not sent."""

    def write(self, *parts: Part) -> None: ...


class PlainLines:
    """Lines without styles, each out at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, *parts: Part) -> None:
        """One line."""
        words = "".join([part if isinstance(part, str) else part[0] for part in parts])
        self._stream.write(f"{shown(words)}\n")
        self._stream.flush()


def may_be_styled(stream: IO[str]) -> bool:
    """Whether rich is to be asked: a terminal, or somebody's wish for colours all the same (force-color.org)."""
    return stream.isatty() or any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
