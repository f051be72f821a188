"""`trials.jsonl` in a run's folder: a line for each trial, for what else befell a target, and for each iteration's end.

    {"iteration": 3, "target": "vm1", "began": 1795405237.7}
    {"iteration": 3, "target": "vm1", "suite": "sshd/inside", "check": "config_valid", "outcome": "passed", …}
    {"iteration": 3, "target": "vm1", "mark": "fault", "name": "link_down", "started": …, "ended": …}
    {"iteration": 3, "target": "vm1", "ended": 1795405249.1}

A line is written with one system call; an iteration's end is on the disk before it is believed. What a killed soak
left of an unfinished iteration is told apart, so that nothing is counted twice when a resumed one runs it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from harness.errors import HarnessError
from harness.events.patience import NO_PATIENCE, DiskPatience
from harness.events.record import plain
from harness.soak.trial import Trial, from_document, plausible, to_line

NAME = "trials.jsonl"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that befell a target and is no check's own: a `fault`, a `reset`, a `finding`, a `fallback`.

    `name` says which one, `text` tells it in words. Times are in seconds since the epoch; what has no length has no
    `ended`.
    """

    iteration: int
    target: str
    kind: str
    name: str
    started: float
    ended: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Trials:
    """What `trials.jsonl` tells. `finished` and `marks` are those of finished iterations, in the file's order;
    `unfinished` those of iterations that have no end. `began` and `ended` have (iteration, target) of the finished
    ones with their beginnings, as far as they were told, and ends in seconds since the epoch. `unreadable` are the
    numbers of the lines that are no line of ours.
    """

    finished: tuple[Trial, ...] = ()
    unfinished: tuple[Trial, ...] = ()
    marks: tuple[Mark, ...] = ()
    began: dict[tuple[int, str], float] = field(default_factory=dict)
    ended: dict[tuple[int, str], float] = field(default_factory=dict)
    unreadable: tuple[int, ...] = ()

    def last_iteration(self, target: str) -> int:
        """The number of the last iteration of a target that was finished; 0 where none was."""
        return max((number for number, name in self.ended if name == target), default=0)


class TrialsError(HarnessError):
    """`trials.jsonl` cannot be read or written."""


class TrialsFile:
    """Writes `trials.jsonl`; goes on behind what stands there. Not to be used from two threads at once."""

    def __init__(self, folder: Path, *, patience: DiskPatience = NO_PATIENCE) -> None:
        """Opens it, and cuts off a torn last line. Raises TrialsError where that cannot be done."""
        self.path = folder / NAME
        self._patience = patience
        self._fd = -1
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = _whole(self._fd)
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise self._failed(error) from error

    def began(self, iteration: int, target: str, now: float) -> None:
        """An iteration of a target begins; what stands there of an unfinished one of the same number is void."""
        self._write(orjson.dumps({"iteration": iteration, "target": plain(target), "began": now}) + b"\n")

    def add(self, trial: Trial) -> None:
        """One trial came to its end."""
        self._write(to_line(trial))

    def mark(self, mark: Mark) -> None:
        """Something befell a target."""
        document = {
            "iteration": mark.iteration, "target": mark.target, "mark": mark.kind, "name": mark.name,
            "started": mark.started, "ended": mark.ended, "text": mark.text,
        }  # fmt: skip
        self._write(orjson.dumps(plain(document)) + b"\n")

    def ended(self, iteration: int, target: str, now: float) -> None:
        """An iteration of a target is finished: it counts from now on, also after a power cut."""
        self._write(orjson.dumps({"iteration": iteration, "target": plain(target), "ended": now}) + b"\n")
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, line: bytes) -> None:
        try:
            self._patience.write(partial(self._append, line), str(self.path))
        except OSError as error:
            raise self._failed(error) from error
        self._size += len(line)

    def _append(self, line: bytes) -> None:
        """Append a whole line, or nothing. Raises OSError."""
        written = 0
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError:
            if written:
                os.ftruncate(self._fd, self._size)
            raise

    def _failed(self, error: OSError) -> TrialsError:
        return TrialsError(
            f"cannot write {self.path}: {error.strerror}",
            hint="The iterations before are intact. Free some space (or check the folder) and resume.",
        )


def _whole(fd: int) -> int:
    """The length of a file up to the end of its last whole line."""
    end = os.fstat(fd).st_size
    while end:
        begin = max(0, end - 65536)
        at = os.pread(fd, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def read_trials(folder: Path) -> Trials:
    """All that `trials.jsonl` of a run's folder tells; nothing where there is none. Raises TrialsError where it cannot
    be read."""
    try:
        with (folder / NAME).open("rb") as file:
            return parse_trials(file)
    except FileNotFoundError:
        return Trials()
    except OSError as error:
        raise TrialsError(f"cannot read {folder / NAME}: {error.strerror}") from error


def parse_trials(lines: Iterable[bytes]) -> Trials:
    """The trials that the lines tell. A last line without its end is torn, and ignored."""
    open_trials: dict[tuple[int, str], dict[str, Trial]] = {}
    open_marks: dict[tuple[int, str], list[Mark]] = {}
    finished: list[Trial] = []
    marks: list[Mark] = []
    began: dict[tuple[int, str], float] = {}
    ended: dict[tuple[int, str], float] = {}
    unreadable: list[int] = []
    for place, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            document = orjson.loads(line)
            key = _key(document)
            if "outcome" in document:
                trial = from_document(document)
                # The later one counts, should a check stand there twice.
                open_trials.setdefault(key, {})[trial.label] = trial
            elif "mark" in document:
                open_marks.setdefault(key, []).append(_mark(document))
            elif "began" in document:
                open_trials.pop(key, None)
                open_marks.pop(key, None)
                if key not in ended:
                    began[key] = plausible(document["began"])
            elif key not in ended:
                ended[key] = plausible(document["ended"])
                finished += open_trials.pop(key, {}).values()
                marks += open_marks.pop(key, [])
        except (ValueError, TypeError, KeyError):
            unreadable.append(place)
    left = tuple(trial for trials in open_trials.values() for trial in trials.values())
    began = {key: at for key, at in began.items() if key in ended}
    return Trials(tuple(finished), left, tuple(marks), began, ended, tuple(unreadable))


def _key(document: Any) -> tuple[int, str]:
    iteration, target = document["iteration"], document["target"]
    if not isinstance(iteration, int) or not isinstance(target, str):
        raise TypeError
    return iteration, target


def _mark(document: dict[str, Any]) -> Mark:
    ended = document.get("ended")
    return Mark(
        iteration=document["iteration"],
        target=document["target"],
        kind=str(document["mark"]),
        name=str(document["name"]),
        started=plausible(document["started"]),
        ended=None if ended is None else plausible(ended),
        text=str(document.get("text", "")),
    )
