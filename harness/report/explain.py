"""One event with all that led to it: run → target → check → attempt → commands → the console around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.events import Record
from harness.events.reader import Line, Position, RecordReader
from harness.events.typed import typed
from harness.report.people import PeopleLines
from harness.report.shown import shown

_CONSOLE = ("console.line", "console.input")
_NEAR = 8
"""Console lines shown before and after an event."""
_MOST = 20
"""Records of one kind that a person is shown."""
_LIFE = ("target.start", "target.settled", "target.unreachable", "target.end")
_SHORTEST_ID = 4


@dataclass(frozen=True, slots=True)
class Chain:
    """What an event stands in. `checks` are the ends (or else the starts) of the checks that it belongs to, or of those
    that ran on its target then; `attempts` are theirs, `commands` those of its attempt, or that ran then."""

    event: Record
    run: tuple[Record, ...]
    target: tuple[Record, ...]
    checks: tuple[Record, ...]
    attempts: tuple[Record, ...]
    commands: tuple[Record, ...]
    console: tuple[Record, ...]

    def plain(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {
            "event": self.event, "run": self.run, "target": self.target, "checks": self.checks,
            "attempts": self.attempts, "commands": self.commands, "console": self.console,
        }  # fmt: skip


def find_event(folder: Path, name: str) -> Record:
    """The event of this `event.sequence`, `event.id`, or beginning of an id that no other has. Raises UsageError."""
    name = name.removeprefix("#").strip()
    if name.isdigit():
        for line in _lines(folder, Position(max(0, int(name) - 1))):
            if line.sequence == int(name):
                return _event(line)
            break
        raise UsageError(f"the record in {folder} has no event {name}", hint="Its lines begin with their numbers.")
    prefix = name.upper()
    if len(prefix) < _SHORTEST_ID or not prefix.isalnum():
        raise UsageError(f"{name!r} is no event: expected the number of one, an event.id, or the beginning of one")
    needle = f'"event.id":"{prefix}'.encode()
    found = [_event(line) for line in _lines(folder) if needle in line.raw]
    found = [event for event in found if event["event.id"].startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(event["event.id"] for event in found[:5]) + (" …" if len(found) > 5 else "")
        raise UsageError(f"{len(found)} events begin with {prefix}", hint=f"They are: {some}")
    raise UsageError(f"the record in {folder} has no event whose id begins with {prefix}")


def explain(folder: Path, name: str) -> Chain:
    """The chain of an event. The record is read through once or twice; only what may belong to it is kept."""
    event = find_event(folder, name)
    return _Collector(event).collect(folder)


class _Collector:
    """Reads a record from its beginning and keeps what belongs to one event."""

    def __init__(self, event: Record) -> None:
        self._event = event
        self._sequence: int = event["event.sequence"]
        self._target = event.get("host.name")
        self._check = _check_key(event)
        self._run: list[Record] = []
        self._life: list[Record] = []
        self._starts: dict[tuple[str, str], Record] = {}
        self._ends: dict[tuple[str, str], Record] = {}
        self._attempts: list[Record] = []
        self._commands: list[Record] = []
        self._before: deque[Record] = deque(maxlen=_NEAR)
        self._after: list[Record] = []

    def collect(self, folder: Path) -> Chain:
        host = f'"host.name":"{self._target}"'.encode()
        for line in _lines(folder):
            if b'"event.action":"run.' in line.raw or (self._target is not None and host in line.raw):
                self._take(_event(line))
        checks = self._checks()
        return Chain(
            event=self._event,
            run=tuple(self._run),
            target=tuple(self._life),
            checks=tuple(checks),
            attempts=tuple(each for each in self._attempts if self._is_near(each)),
            commands=tuple(each for each in self._commands if self._is_near(each)),
            console=(*self._before, *self._after),
        )

    def _take(self, event: Record) -> None:
        action, key = event["event.action"], _check_key(event)
        before = event["event.sequence"] <= self._sequence
        if action in ("run.start", "run.end"):
            self._run.append(event)
        elif event.get("host.name") != self._target:
            return
        elif action in _CONSOLE:
            if before and event["event.sequence"] != self._sequence:
                self._before.append(event)
            elif len(self._after) < _NEAR:
                self._after.append(event)
        elif action in _LIFE:
            if action == "target.start" and before:
                self._life.clear()  # of an earlier iteration
            if action != "target.start" or before:
                self._life.append(event)
        elif key is not None and self._wants(key):
            self._take_of_check(event, key, before)
        elif action == "command" and self._check is None and self._is_near(event):
            self._commands.append(event)

    def _take_of_check(self, event: Record, key: tuple[str, str], before: bool) -> None:
        action = event["event.action"]
        if action == "check.start" and before:
            # Of a check that was run before, in an earlier iteration, nothing is told.
            self._starts[key] = event
            self._ends.pop(key, None)
            self._attempts = [each for each in self._attempts if _check_key(each) != key]
            self._commands = [each for each in self._commands if _check_key(each) != key]
        elif action == "check.end":
            self._ends.setdefault(key, event)
        elif key in self._starts and key not in self._ends:
            if action == "attempt.end":
                self._attempts.append(event)
            elif action == "command":
                self._commands.append(event)

    def _wants(self, key: tuple[str, str]) -> bool:
        return self._check is None or key == self._check

    def _checks(self) -> list[Record]:
        """The check of the event, or those that ran while it was written."""
        found: list[Record] = []
        for key, start in self._starts.items():
            end = self._ends.get(key)
            if self._check is not None or end is None or end["event.sequence"] >= self._sequence:
                found.append(end or start)
        return found

    def _is_near(self, other: Record) -> bool:
        """Of the same attempt; of the same check where the event is the check's own; else under way at that time."""
        if self._check is not None:
            number = self._event.get("harness.attempt")
            return number is None or other.get("harness.attempt") == number
        return _began(other) <= _at(self._event) <= _at(other)


def tell(chain: Chain, lines: PeopleLines) -> Iterator[str]:
    """The chain for people: from the run down to the event, the event with all that it holds, and the console."""
    for record in (*chain.run[:1], *chain.target, *chain.checks, *chain.attempts, *chain.commands, *chain.console):
        lines.expect(record.get("host.name", ""))
    own = chain.event["event.sequence"]

    def block(name: str, records: tuple[Record, ...]) -> Iterator[str]:
        if records:
            yield name
        for record in records[:_MOST]:
            yield ("→ " if record["event.sequence"] == own else "  ") + lines.line(record).replace("\n", "\n  ")
        if len(records) > _MOST:
            yield f"  … and {len(records) - _MOST} more; --json has them all"

    yield from block(f"run {shown(str(chain.event.get('cicd.pipeline.run.id', '')))}", chain.run)
    yield from block("target", chain.target)
    yield from block("check" if _check_key(chain.event) else "checks that ran then", chain.checks)
    yield from block("attempts", chain.attempts)
    yield from block("commands" if _check_key(chain.event) else "commands that ran then", chain.commands)
    yield from block("console around it", chain.console)
    yield f"event {own}"
    for key, value in chain.event.items():
        yield from _field(key, value)


def _field(key: str, value: Any) -> Iterator[str]:
    first, *more = str(value).split("\n")
    yield f"  {key:<24} {shown(first)}"
    for each in more:
        yield f"  {'':<24} {shown(each)}"


def _check_key(event: Record) -> tuple[str, str] | None:
    if "test.case.name" not in event:
        return None
    return event.get("test.suite.name", ""), event["test.case.name"]


def _at(event: Record) -> datetime:
    return datetime.fromisoformat(event["@timestamp"])


def _began(event: Record) -> datetime:
    try:
        return _at(event) - timedelta(microseconds=event.get("event.duration", 0) / 1000)
    except OverflowError:
        return _at(event)


def _event(line: Line) -> Record:
    """The event of a line with the types that are published. Raises DamagedRecord."""
    return typed(line.event(), line.sequence)


def _lines(folder: Path, position: Position | None = None) -> Iterator[Line]:
    with RecordReader(folder, position) as reader:
        while lines := reader.read():
            yield from lines
