"""A target that is none, for soaks: it does what it is told, and can be broken in every way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from harness.api.check import Check, Settings
from harness.deadline import Deadline
from harness.errors import Source
from harness.events import Emitter
from harness.machine.machine import Machine
from harness.target.faults import ActiveFaults
from harness.target.reset import Reset
from harness.target.target import Target
from harness.transport.contract import CommandResult, Result


class FakeLink:
    """Answers every command at once, and remembers it."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        stdin: bytes | None = None,
        transport: str | None = None,
        repeatable: bool = False,
    ) -> CommandResult:
        del stdin, repeatable
        deadline.check("running a command")
        self.session.world.commands.append(command)
        status, out = self.session.world.answer(command)
        now = time.time()
        return CommandResult(command, out.encode(), b"", status, transport or "ssh", now, now, 0.0)


class World:
    """What all sessions of a test share: what was done to them, and what they are to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.commands: list[str] = []
        self.broken = ""
        self.on_start: Callable[[], None] = lambda: None
        self.on_reset: Callable[[Reset], None] = lambda _reset: None
        self.answer: Callable[[str], tuple[int, str]] = lambda _command: (0, "")
        self.remember = True


class FakeSession:
    """A target's life without a target."""

    start_timeout = 5.0
    stages = (("login", 1.0),)
    console_log = ""
    machine: Machine | None = None

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.counts: Counter[str] = Counter()
        self.faults = ActiveFaults()
        self.link = FakeLink(self)

    def _did(self, what: str) -> None:
        if self.world.remember:
            self.world.done.append(what)

    def start(self, deadline: Deadline) -> None:
        del deadline
        self._did("start")
        self.world.on_start()

    def reset(self, reset: Reset, deadline: Deadline) -> None:
        del deadline
        self._did(f"reset {reset}")
        self.world.on_reset(reset)

    def save(self, deadline: Deadline) -> None:
        del deadline
        self._did("save")

    def turn_over(self) -> None:
        pass

    def serve(self, transport: str, deadline: Deadline) -> None:
        self.link.run(":", deadline=deadline, transport=transport)

    @property
    def broken(self) -> str:
        return self.world.broken

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target:
        del on_result
        return Target(self.name, (), {}, self.link, deadline, events, active_faults=self.faults)  # type: ignore[arg-type]

    def follow(self, deadline: Deadline, on_word: Callable[[], None]) -> None:
        del deadline, on_word

    def stop(self) -> None:
        self._did("stop")

    def keep(self, seconds: float | None = None) -> tuple[str, ...]:
        return ()


def a_check(name: str, function: Callable[[Target], Any], **settings: Any) -> Check:
    """A check of a function, quick by default."""

    def named(target: Target) -> Any:
        return function(target)

    return Check(
        name, "m", "m.py", named, Source(__file__, 1), Settings(**{"budget": 5.0, "interval": 0.01, **settings})
    )
