"""A target that answers from a collected folder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.events import NullEmitter
from harness.operate.collect.index import NAME, Entry, Index, State, read_index
from harness.operate.explain import NotCollected
from harness.operate.questions import Kind, Question, names_told
from harness.target.target import Target
from harness.transport.contract import CommandResult
from harness.transport.errors import Timeout

_FOREVER = 1e9


class ReplayLink:
    """Answers the questions of an explanation as the target did when it was collected. No other question has an answer:
    NotCollected says which there are."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder = folder
        self._index = index
        self._entries = {entry.question: entry for entry in index.entries if entry.question is not None}
        self._commands = {question.command: entry for question, entry in self._entries.items()}
        self._deadline = Deadline.after(_FOREVER)

    def run(self, command: str, **_: Any) -> CommandResult:
        entry = self._commands.get(command) or self._by_alias.get(command)
        if entry is None:
            raise NotCollected(self._not_there(command))
        if entry.state is State.PARTIAL:
            raise Timeout(entry.why, transport=entry.transport)
        if entry.state is not State.HAD or entry.exit_status is None:
            raise NotCollected(f"{entry.question} was not had: {entry.why}")
        if any(stream.cut for stream in entry.streams):
            raise NotCollected(f"the answer to {entry.question} was cut when it was collected")
        return CommandResult(
            command=entry.command,
            stdout=self._read(entry.stdout.file) if entry.stdout else b"",
            stderr=self._read(entry.stderr.file) if entry.stderr else b"",
            exit_status=entry.exit_status,
            transport=entry.transport,
            started=entry.started,
            ended=entry.started + entry.duration,
            duration=entry.duration,
        )

    def put(self, *_: Any, **__: Any) -> NoReturn:
        raise NotCollected("nothing can be written to what was collected")

    def get(self, path: str, **_: Any) -> NoReturn:
        raise NotCollected(f"{path} was not collected")

    @property
    def units(self) -> tuple[str, ...]:
        """The units (and services) that were looked at, by the names under which they were."""
        kinds = (Kind.UNIT, Kind.SERVICE)
        return tuple(question.name for question in self._entries if question.kind in kinds)

    @cached_property
    def _by_alias(self) -> dict[str, Entry]:
        """What was collected of a unit answers for each of its names: systemd knows them as one."""
        found: dict[str, Entry] = {}
        for question, entry in self._entries.items():
            if question.kind is not Kind.UNIT or entry.state is not State.HAD or entry.stdout is None:
                continue
            for name in names_told(self._read(entry.stdout.file)):
                found.setdefault(Question(Kind.UNIT, name).command, entry)
        return found

    def _not_there(self, command: str) -> str:
        have = ", ".join(self.units) or "none"
        if command == Question(Kind.SYSTEM).command:
            return f"the look at systemd as a whole is not among what was collected; units: {have}"
        return f"it was not collected: the units that were are {have}"

    def _read(self, file: str) -> bytes:
        try:
            return (self._folder / file).read_bytes()
        except OSError as error:
            raise UsageError(
                f"{self._folder / file} cannot be read: {error.strerror}", hint=f"{NAME} says that it was collected."
            ) from None


def replayed(folder: Path) -> tuple[Target, Index]:
    """The target of a collected folder, and its index. Raises UsageError."""
    index = read_index(folder)
    target = Target(
        name=index.target,
        groups=(),
        vars={"expected_failed_units": list(index.expected_failed_units)},
        link=ReplayLink(folder, index),
        deadline=Deadline.after(_FOREVER),
        events=NullEmitter(),
    )
    return target, index


def collected_folders(path: Path) -> list[Path]:
    """The collected folders that a path leads to: one itself, what `-o` made, a run's, a target's of a run. Empty where
    there is none."""
    if path.is_file() and path.name == NAME:
        return [path.parent]
    for pattern in ("", "*", "collected", "collected/*", "targets/*/collected", "targets/*/collected/*"):
        found = sorted(file.parent for file in path.glob(f"{pattern}/{NAME}" if pattern else NAME))
        if found:
            return found
    return []
