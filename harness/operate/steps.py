"""Steps on a raw console: type this, wait until that stands there. For what has no shell to give a command to: a boot
loader, a login, an installer's question."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.operate.console_log import ConsoleLog, Tail
from harness.operate.keys import unescaped
from harness.patterns import Found, LinearPattern
from harness.transport.errors import TransportError
from harness.transport.serial.console import Console, strip_ansi
from harness.transport.serial.reader import again, woken_by

_MOST = 1 << 20  # bytes of the stream that are searched at most, the newest
_HALF = re.compile(rb"\x1b(?:[\[\]P][^\x1b]{0,64})?\Z")  # what may become a control sequence, or one without its end
_WHOLE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07)")


@dataclass(frozen=True, slots=True)
class Send:
    """Types `data`; `text` is how it was written."""

    text: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """Waits until the `pattern` stands in what the console has said since the match before; `text` is how it came."""

    text: str
    pattern: LinearPattern[bytes]


Step = Send | Expect


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a step, the `number`-th from 1. `seen` is what the console said since the match before, without
    control sequences; `matched` what the pattern met, None where it met nothing in time. `duration` is in seconds."""

    number: int
    step: Step
    seen: bytes
    matched: bytes | None
    duration: float

    @property
    def failed(self) -> bool:
        """It waited in vain."""
        return isinstance(self.step, Expect) and self.matched is None


def send(text: str) -> Send:
    """Reads a step. Raises ValueError."""
    return Send(text, unescaped(text))


def expect(text: str) -> Expect:
    """Reads a step. Raises ValueError. `^` and `$` stand for the beginning and end of a line."""
    return Expect(text, LinearPattern(text.encode("utf-8", "surrogateescape"), multiline=True))


class Steps:
    """Steps on one console, carried out once, in order. Also the console's listener."""

    def __init__(self, console: Console, *, log: ConsoleLog | None = None, on_output: Callable[[bytes], None]) -> None:
        """`log` is where the console's past stands: the line that is open when we come counts as said, so that a
        prompt that stands there can be expected. `on_output` gets all that is said, without control sequences, from
        the calling thread."""
        self._console = console
        self._log = log
        self._on_output = on_output
        self._condition = threading.Condition()
        self._raw = b""
        self._seen = b""
        self._error: TransportError | None = None

    def feed(self, data: bytes, at: float) -> None:
        """The next bytes of the console."""
        del at
        with self._condition:
            self._raw += data
            self._condition.notify_all()

    def lost(self, error: TransportError) -> None:
        """Nothing more will come."""
        with self._condition:
            self._error = error
            self._condition.notify_all()

    def open(self, deadline: Deadline) -> None:
        """Takes the console. Raises Unavailable, Cancelled."""
        if self._log is not None:
            self._seen = strip_ansi(self._log.tail(Tail(1), end=self._log.size).rpartition(b"\n")[2])
        self._console.subscribe(self)
        self._console.open(deadline)

    def run(self, steps: Sequence[Step], *, timeout: float, deadline: Deadline, told: Callable[[Done], None]) -> bool:
        """Carries them out until one fails; whether none did. Each may take `timeout` seconds. Raises TransportLost,
        Eof, Cancelled."""
        for number, step in enumerate(steps, 1):
            done = self._one(number, step, deadline.clamp(timeout))
            told(done)
            if done.failed:
                return False
        return True

    def listen(self, seconds: float, deadline: Deadline) -> None:
        """Goes on hearing for a moment: what answers the last thing that was typed is still to be shown."""
        self._wait(None, deadline.clamp(seconds))

    def _one(self, number: int, step: Step, deadline: Deadline) -> Done:
        began = deadline.clock.monotonic()
        matched: bytes | None = None
        if isinstance(step, Send):
            seen = b""
            self._console.write(step.data, deadline=deadline)
        else:
            match = self._wait(step.pattern, deadline)
            seen = self._seen
            if match is not None:
                seen, matched = self._seen[: match.end], match.text
                self._seen = self._seen[match.end :]
        return Done(number, step, seen, matched, deadline.clock.monotonic() - began)

    def _wait(self, pattern: LinearPattern[bytes] | None, deadline: Deadline) -> Found[bytes] | None:
        with woken_by(deadline, self._condition):
            while True:
                with self._condition:
                    fresh, self._raw = whole(self._raw)
                    error = self._error
                text = strip_ansi(fresh)
                self._seen = (self._seen + text)[-_MOST:]
                if text:
                    self._on_output(text)
                match = pattern.search(self._seen) if pattern is not None else None
                if match is not None:
                    return match
                deadline.cancellation.check()
                if error is not None:
                    raise again(error)
                if deadline.expired:
                    return None
                with self._condition:
                    if whole(self._raw)[0] == b"" and self._error is None:
                        self._condition.wait(deadline.remaining())


def whole(data: bytes) -> tuple[bytes, bytes]:
    """The bytes, and behind them those that may be the first half of a control sequence."""
    half = _HALF.search(data)
    if half is None or _WHOLE.match(data, half.start()):
        return data, b""
    return data[: half.start()], data[half.start() :]
