"""This process's own ends: which of its standard streams are there, and which are a person's terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from harness.cli.printing import raw

if TYPE_CHECKING:
    from harness.operate.terminal import RawTerminal
    from harness.transport.contract import Window


def descriptor(stream: TextIO | None) -> int | None:
    """Its descriptor; None where it is closed, or was from the beginning."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether it is a terminal."""
    number = descriptor(stream)
    return number is not None and os.isatty(number)


class TerminalEnds:
    """A person's terminal, at a remote shell."""

    def __init__(self, terminal: RawTerminal) -> None:
        self.source: int | None = terminal.source
        self._terminal = terminal

    def show(self, out: bytes, err: bytes) -> None:
        """Shows it. Raises HungUp."""
        self._terminal.write(out + err)

    def resized(self) -> Window | None:
        """The window, where its size has changed."""
        if not self._terminal.resized:
            return None
        self._terminal.resized = False
        return window_of(self._terminal)


class StreamEnds:
    """Pipes and files, at a remote shell."""

    def __init__(self) -> None:
        self.source = descriptor(sys.stdin)

    def show(self, out: bytes, err: bytes) -> None:
        """Hands it on, each to its own stream. Raises BrokenPipeError."""
        for stream, data in ((sys.stdout, out), (sys.stderr, err)):
            raw(stream, data)

    def resized(self) -> Window | None:
        """There is no window."""
        return None


def window_of(terminal: RawTerminal) -> Window:
    """The terminal's window, as a target is told of it."""
    from harness.transport.contract import Window

    size = terminal.size
    return Window(os.environ.get("TERM") or "vt100", size.rows, size.columns)
