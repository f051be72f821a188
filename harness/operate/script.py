"""Commands one after the other over the serial transport, each with an answer of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Source, UsageError
from harness.transport.contract import CommandResult
from harness.transport.errors import Timeout, TransportError, Unavailable
from harness.transport.link import Link, Unreachable


@dataclass(frozen=True, slots=True)
class Line:
    """A command, and the line that it stands on, from 1."""

    number: int
    command: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command: its result, or the error that stands for it. `duration` is in seconds."""

    line: Line
    result: CommandResult | None
    error: TransportError | None
    duration: float

    @property
    def failed(self) -> bool:
        """It did not end with 0."""
        return self.result is None or self.result.exit_status != 0

    @property
    def lost(self) -> bool:
        """There is no shell to run another one: the console was not to be had, or no login was."""
        return isinstance(self.error, Unavailable | Unreachable)

    @property
    def unanswered(self) -> bool:
        """The transport failed, not the command."""
        return self.error is not None and not isinstance(self.error, Timeout)


def commands(lines: Iterable[bytes], name: str) -> Iterator[Line]:
    """The commands among the lines: all but empty ones and comments (`#`). `name` is the source's. Raises UsageError
    for what is no text."""
    for number, raw in enumerate(lines, 1):
        try:
            text = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UsageError("this line is no UTF-8", source=Source(name, number)) from None
        if "\0" in text:
            raise UsageError("this line holds a NUL byte, which no shell takes", source=Source(name, number))
        if text and not text.startswith("#"):
            yield Line(number, text)


def run_commands(
    link: Link, lines: Iterable[Line], *, timeout: float, deadline: Deadline, stop: bool
) -> Iterator[Answer]:
    """Runs each over the link's serial transport, for `timeout` seconds at most, which logging in at first does not
    count towards. With `stop` one that fails is the last. It ends also when there is no shell to be had. Raises
    UsageError, Cancelled."""
    ready = False
    for line in lines:
        began = time.monotonic()
        result: CommandResult | None = None
        error: TransportError | None = None
        try:
            deadline.check("commands were run")
            if not ready:
                link.run(":", deadline=deadline, transport="serial")
                ready = True
            result = link.run(line.command, deadline=deadline.clamp(timeout), transport="serial")
        except TransportError as failure:
            error = failure
        except DeadlineExpired as expired:
            error = Timeout(expired.message, transport="serial", hint="--deadline gives it all more time")
        answer = Answer(line, result, error, time.monotonic() - began)
        yield answer
        if answer.lost or deadline.expired or (stop and answer.failed):
            return
