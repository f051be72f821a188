"""One question to the target for all the checks that ask the same kind of thing at the same time.

Those who come while a question is on its way gather, and the next one asks for all of them: nobody waits for company,
and nobody is given an answer that is older than his own question.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.deadline import Deadline
from harness.transport.contract import CommandResult

Ask = Callable[[tuple[str, ...]], CommandResult]
"""Puts the question for these names to the target."""


@dataclass(slots=True)
class _Batch:
    names: dict[str, None] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    result: CommandResult | None = None


class SharedQuestions:
    """Questions to one target, by kind. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gathering: dict[str, _Batch] = {}
        self._turns: dict[str, threading.Lock] = {}

    def ask(
        self, kind: str, names: Iterable[str], ask: Ask, *, deadline: Deadline
    ) -> tuple[CommandResult, tuple[str, ...]]:
        """The target's answer, and the names that it is about, in its order; these are among them.

        Raises what `ask` raises. Whoever shares a question that failed asks again by himself.
        """
        with self._lock:
            batch = self._gathering.get(kind)
            leads = batch is None
            if batch is None:
                batch = self._gathering[kind] = _Batch()
            batch.names.update(dict.fromkeys(names))
            turn = self._turns.setdefault(kind, threading.Lock())
        if leads:
            return self._lead(kind, batch, turn, ask, deadline)
        _wait(batch.done.wait, deadline)
        if batch.result is not None:
            return batch.result, tuple(batch.names)
        own = tuple(dict.fromkeys(names))
        return ask(own), own

    def _lead(
        self, kind: str, batch: _Batch, turn: threading.Lock, ask: Ask, deadline: Deadline
    ) -> tuple[CommandResult, tuple[str, ...]]:
        held = False
        try:
            _wait(lambda seconds: turn.acquire(timeout=seconds), deadline)
            held = True
        finally:
            with self._lock:
                del self._gathering[kind]  # from here on others gather for the next question
            if not held:
                batch.done.set()
        try:
            together = tuple(batch.names)
            batch.result = ask(together)
            return batch.result, together
        finally:
            turn.release()
            batch.done.set()


def _wait(wait: Callable[[float], bool], deadline: Deadline) -> None:
    """In slices, so that a cancelled run does not wait for others. Raises Cancelled, DeadlineExpired."""
    while not wait(min(0.2, deadline.remaining())):
        deadline.check("waiting for the answer to a question that is shared")
