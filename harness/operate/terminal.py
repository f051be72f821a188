"""The person's terminal, byte by byte: as it is typed, as it is shown, and given back as it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from harness.operate.wake import Wake

# What a program on the other side may have left behind it: colours, a hidden cursor, bracketed paste (xterm).
_PLAIN = b"\x1b[0m\x1b[?25h\x1b[?2004l"


class HungUp(Exception):
    """Inside this room: the person's terminal is gone."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a window, in characters."""

    rows: int
    columns: int


class RawTerminal:
    """A terminal in raw mode while it is held (`with`): each key is a byte, each byte is shown as it is.

    `source` is the descriptor that keys come from, `sink` the one that is written to. `wake` is set when the window's
    size has changed (`resized`). With `signals` Ctrl-C stays a signal. To be used from the main thread.
    """

    def __init__(self, source: int, sink: int, wake: Wake, *, signals: bool = False) -> None:
        self.source = source
        self.resized = False
        self._sink = sink
        self._wake = wake
        self._signals = signals
        self._before: list[Any] | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> RawTerminal:
        self._before = termios.tcgetattr(self.source)
        self._raw()
        # SIGCONT: a shell that stopped us, or that took the terminal, has set its own modes meanwhile.
        for number, handler in ((signal.SIGWINCH, self._on_resize), (signal.SIGCONT, self._on_continue)):
            self._handlers[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        if self._before is not None and os.environ.get("TERM", "dumb") != "dumb":
            with contextlib.suppress(HungUp):
                self.write(_PLAIN)
        self.restore()

    def restore(self) -> None:
        """Gives the terminal its modes back, at once. Safe to call twice, from any thread and any signal handler."""
        before, self._before = self._before, None
        if before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.source, termios.TCSANOW, before)

    @property
    def size(self) -> Size:
        """The window's size, 24 by 80 where the terminal does not know it."""
        try:
            columns, rows = os.get_terminal_size(self._sink)
        except OSError:
            columns = rows = 0
        return Size(rows or 24, columns or 80)

    def read(self) -> bytes:
        """What was typed; to be called when there is something. Raises HungUp."""
        try:
            data = os.read(self.source, 4096)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise HungUp from error
        if not data:
            raise HungUp
        return data

    def write(self, data: bytes) -> None:
        """Shows it. Raises HungUp."""
        while data:
            try:
                data = data[os.write(self._sink, data) :]
            except BlockingIOError:
                select.select([], [self._sink], [])
            except OSError as error:
                raise HungUp from error

    def say(self, words: str) -> None:
        """A line of ours, on a line of its own. Raises HungUp."""
        self.write(f"\r\nharness: {words}\r\n".encode("utf-8", "backslashreplace"))

    def _raw(self) -> None:
        # Not flushed: what was typed before us is meant for who reads next.
        tty.setraw(self.source, termios.TCSADRAIN)
        if self._signals:
            modes = termios.tcgetattr(self.source)
            modes[3] |= termios.ISIG
            termios.tcsetattr(self.source, termios.TCSADRAIN, modes)

    def _on_resize(self, _number: int, _frame: FrameType | None) -> None:
        self.resized = True
        self._wake.set()

    def _on_continue(self, _number: int, _frame: FrameType | None) -> None:
        if self._before is not None:
            with contextlib.suppress(termios.error):
                self._raw()
