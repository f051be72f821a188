"""A target for a whole pytest session: what it waits for and how it is recorded follows the test that runs.

A fixture may hold a target for longer than an attempt, or a test, lasts. So the deadline and the emitter of such a
target are not fixed: they are those of the present moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness.deadline import Allowance, Cancellation, Clock, Deadline
from harness.events import Emitter
from harness.events.emitter import Level
from harness.target.target import Commands
from harness.transport.contract import CommandResult, FileResult, Result

T = TypeVar("T")

_GRACE = 5.0
"""Seconds within which a cancelled command of a transport ends; they need a tenth of one."""


class Moment:
    """What holds now: for which target, until when, recorded as what, and who is told the answers.

    pytest runs one test at a time, so there is one moment in a session.
    """

    def __init__(self) -> None:
        self.target = ""
        self.deadline = Deadline.after(0)
        self._events: Emitter | None = None
        self._on_result: Callable[[Result], None] | None = None

    def begin(
        self,
        target: str,
        deadline: Deadline,
        events: Emitter | None = None,
        on_result: Callable[[Result], None] | None = None,
    ) -> None:
        """From now on commands wait until `deadline`; those of `target` are recorded as `events`."""
        self.target, self.deadline, self._events, self._on_result = target, deadline, events, on_result

    def events(self, target: str, otherwise: Emitter) -> Emitter:
        """As what an event of that target is recorded. A fixture may say good-bye to the target of the last test."""
        return self._events if self._events is not None and target == self.target else otherwise

    def tell(self, result: Result) -> None:
        """An answer has come."""
        if self._on_result is not None:
            self._on_result(result)


class MovingDeadline(Deadline):
    """The present moment's deadline, whatever moment that is."""

    __slots__ = ("_moment",)
    _moment: Moment

    def __init__(self, moment: Moment) -> None:
        object.__setattr__(self, "_moment", moment)  # a frozen dataclass with slots cannot do it for a subclass

    @property
    def at(self) -> float:
        return self._moment.deadline.at

    @property
    def clock(self) -> Clock:
        return self._moment.deadline.clock

    @property
    def cancellation(self) -> Cancellation:
        return self._moment.deadline.cancellation

    @property
    def allowance(self) -> Allowance | None:
        return self._moment.deadline.allowance


class MovingEmitter:
    """Records as the present moment's test, where that is about this target."""

    def __init__(self, moment: Moment, target: str, events: Emitter) -> None:
        self._moment = moment
        self._target = target
        self._events = events

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        self._moment.events(self._target, self._events).emit(action, message, level=level, **fields)

    def bind(self, **fields: Any) -> Emitter:
        return self._moment.events(self._target, self._events).bind(**fields)


class Interruptible:
    """A link whose calls stand on threads of their own while the main thread waits.

    Ctrl-C, and a test's time-out, arrive in the main thread at any instruction. Here they end the wait and cancel the
    call; the transport comes to a proper end, and can still serve the fixtures that put things back.
    """

    def __init__(self, link: Commands, threads: ThreadPoolExecutor) -> None:
        self._link = link
        self._threads = threads

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        stdin: bytes | None = None,
        transport: str | None = None,
        repeatable: bool = False,
    ) -> CommandResult:
        def call(until: Deadline) -> CommandResult:
            return self._link.run(command, deadline=until, stdin=stdin, transport=transport, repeatable=repeatable)

        return self._apart(call, deadline)

    def put(
        self, data: bytes | Path, path: str, *, deadline: Deadline, mode: int = 0o600, transport: str | None = None
    ) -> FileResult:
        def call(until: Deadline) -> FileResult:
            return self._link.put(data, path, deadline=until, mode=mode, transport=transport)

        return self._apart(call, deadline)

    def get(self, path: str, *, deadline: Deadline, transport: str | None = None) -> FileResult:
        def call(until: Deadline) -> FileResult:
            return self._link.get(path, deadline=until, transport=transport)

        return self._apart(call, deadline)

    def _apart(self, call: Callable[[Deadline], T], deadline: Deadline) -> T:
        # A fixed point in time: the call must not wait on into a moment that is not its own.
        outer, own = deadline.cancellation, Cancellation()
        until = Deadline(deadline.at, deadline.clock, outer, deadline.allowance)
        if threading.current_thread() is not threading.main_thread():
            return call(until)
        forget = outer.on_cancel(lambda: own.cancel(outer.reason))
        future = self._threads.submit(call, replace(until, cancellation=own))
        try:
            wait([future])
        except BaseException as interrupt:
            own.cancel(f"interrupted by {type(interrupt).__name__}")
            wait([future], _GRACE)
            raise
        finally:
            forget()
        return future.result()
