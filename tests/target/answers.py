"""A target whose every answer is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.deadline import Deadline
from harness.events import NullEmitter
from harness.target.target import Target
from harness.transport.contract import CommandResult
from tests.patience import scaled

Said = str | tuple[int, str, str]


class Answers:
    """A link that asks `say` for each answer, and keeps what was asked."""

    def __init__(self, say: Callable[[str], Said]) -> None:
        self.say = say
        self.asked: list[str] = []

    def run(self, command: str, **_: Any) -> CommandResult:
        self.asked.append(command)
        said = self.say(command)
        status, out, err = said if isinstance(said, tuple) else (0, said, "")
        return CommandResult(command, out.encode(), err.encode(), status, "ssh", 0.0, 0.0, 0.0)

    def put(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no file is carried")

    get = put


def a_target(*said: Said, **changes: Any) -> tuple[Target, Answers]:
    """A target that gives these answers, one after the other."""
    left = iter(said)
    link = Answers(lambda _command: next(left))
    return Target("vm1", (), changes.pop("vars", {}), link, Deadline.after(scaled(30)), NullEmitter(), **changes), link
