"""A person at a console: what it says is shown, what is typed goes to it, until the escape key is pressed."""

from __future__ import annotations

import select
import time

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from harness.events.emitter import Emitter
from harness.operate.console_log import ConsoleLog, Tail, joint, still
from harness.operate.heard import Heard
from harness.operate.terminal import HungUp, RawTerminal, Size
from harness.operate.wake import Wake
from harness.transport.errors import TransportLost
from harness.transport.serial.console import Console
from harness.transport.serial.prompts import Prompt, classify
from harness.transport.serial.reader import again

TYPING = 5.0
"""Seconds in which a console takes what was typed; what it does not take then is thrown away, and that is told."""
_KEPT = 4096  # bytes of the stream by which a prompt is known


class Attended:
    """One person at one console. `log` is where all that it says is kept by whoever holds it."""

    def __init__(
        self, console: Console, *, log: ConsoleLog, events: Emitter, escape: bytes, tail: Tail, wake: Wake, resize: bool
    ) -> None:
        """`escape` is the key that ends it; without one the end of the terminal does. `tail` is how much of what
        came before is shown. With `resize` the size of the window is typed as an `stty` command, now and whenever it
        changes."""
        self._console = console
        self._log = log
        self._events = events
        self._escape = escape
        self._tail = tail
        self._wake = wake
        self._resize = resize
        self._heard = Heard(wake)
        self._before = b""
        self._last = b""
        self._typed = 0

    def open(self, deadline: Deadline) -> None:
        """Takes the console. Raises Unavailable (BUSY where somebody else has it), Cancelled."""
        size = self._log.size
        self._console.subscribe(self._heard)
        self._console.open(deadline)
        # What is said while we attach is in the log as well: it is shown once.
        end = self._log.size
        heard = self._heard.take()
        written = self._log.tail(self._tail, end=end)
        twice = joint(written, heard, end - size) if self._tail.lines else 0
        self._before = still(written)
        self._last = (written + heard[twice:])[-_KEPT:]
        self._before += heard[twice:]

    def run(self, terminal: RawTerminal, deadline: Deadline) -> str:
        """Until the escape key, the end of the terminal, or the deadline; why it ended, in words. Raises Eof and
        TransportLost where the console goes away, Cancelled."""
        began = time.monotonic()
        try:
            terminal.write(self._before)
            if self._resize:
                self._type_size(terminal, deadline)
            return self._carry(terminal, deadline)
        except HungUp:
            return "the terminal is gone"
        finally:
            self._events.emit(
                "console.attended",
                f"a person has typed {self._typed} bytes on the console {self._console.name}",
                console=self._console.name,
                bytes=self._typed,
                duration=time.monotonic() - began,
            )

    def _carry(self, terminal: RawTerminal, deadline: Deadline) -> str:
        while True:
            ready, _, _ = select.select([terminal.source, self._wake.fileno()], [], [], deadline.remaining())
            self._wake.clear()
            data = self._heard.take()
            terminal.write(data)
            self._last = (self._last + data)[-_KEPT:]
            if self._heard.error is not None:
                raise again(self._heard.error)
            deadline.cancellation.check()
            if deadline.expired:
                return "the deadline has passed"
            if terminal.resized:
                terminal.resized = False
                if self._resize:
                    self._type_size(terminal, deadline)
            if terminal.source in ready:
                keys, escape, _ = _split(terminal.read(), self._escape)
                self._type(keys, terminal, deadline)
                if escape:
                    return "the escape key was pressed"

    def _type(self, keys: bytes, terminal: RawTerminal, deadline: Deadline) -> None:
        if not keys:
            return
        try:
            # A person types passwords too, and nothing tells them apart: the record says how much was typed, not what.
            self._console.write(keys, deadline=deadline.clamp(TYPING), record=False)
            self._typed += len(keys)
        except (DeadlineExpired, TransportLost):
            if self._heard.error is not None or not self._console.is_open:
                return  # it is told once, by who listens
            terminal.say("the console takes no input; what was typed just now may be lost")

    def _type_size(self, terminal: RawTerminal, deadline: Deadline) -> None:
        prompt = classify(self._last)
        if prompt is not Prompt.OTHER:
            terminal.say(f"the window's size is not typed: what stands there is {prompt.value}")
            return
        self._type(size_command(terminal.size), terminal, deadline)


def size_command(size: Size) -> bytes:
    """What tells a shell on the console how large the window is (POSIX stty has no such words; those of Linux do)."""
    return f" stty rows {size.rows} columns {size.columns}\r".encode()


def _split(data: bytes, escape: bytes) -> tuple[bytes, bytes, bytes]:
    return data.partition(escape) if escape else (data, b"", b"")
