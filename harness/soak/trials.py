"""`trials.jsonl` in a run's folder: a line for each trial, for what else happened to a target, and for each iteration's
start and end.

    {"iteration": 3, "target": "vm1", "began": 1795405237.7, "spent": 24.1}
    {"iteration": 3, "target": "vm1", "suite": "sshd/inside", "check": "config_valid", "outcome": "passed", …}
    {"iteration": 3, "target": "vm1", "mark": "fault", "name": "link_down", "started": …, "ended": …}
    {"iteration": 3, "target": "vm1", "ended": 1795405249.1, "lasted": 11.4, "spent": 35.5, "trials": 1, "marks": 1}

A line is written with one system call; an iteration's end is synced to the disk before it counts. `lasted` and `spent`
(how long the soak has run, in all its parts) are durations in seconds of the monotonic clock. `trials` and `marks` are
how many lines of the iteration come before its end: where some of them are damaged, the iteration does not count, and a
resumed soak runs it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, islice, pairwise
from pathlib import Path
from typing import Any

import orjson

from harness.errors import HarnessError
from harness.events.patience import NO_PATIENCE, DiskPatience
from harness.events.record import plain
from harness.soak.trial import Trial, from_document, plausible, to_line

NAME = "trials.jsonl"
_NAMED_LINES = 10
_NAMED_ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to a target and is no check's own: a `fault`, a `reset`, a `finding`, a `fallback`.

    `name` says which one, `text` describes it. Times are in seconds since the epoch; what has no length has no
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
class Iteration:
    """One finished iteration of a target. `began` and `ended` are in seconds since the epoch, `began` is None where no
    line gives it; `lasted` is its duration in seconds, None in a file that does not give it."""

    number: int
    target: str
    began: float | None
    ended: float
    lasted: float | None
    trials: tuple[Trial, ...]
    marks: tuple[Mark, ...]
    trials_at: tuple[int, ...] = ()
    """The offsets of the lines of the trials in the file."""
    marks_at: tuple[int, ...] = ()
    """The offsets of the lines of the marks."""


class Finished:
    """The numbers of a target's finished iterations. It takes the same memory however many there are in a row."""

    def __init__(self) -> None:
        self.last = 0
        """The highest one."""
        self._through = 0  # all numbers up to here
        self._beyond: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number <= self._through or number in self._beyond

    def __len__(self) -> int:
        return self._through + len(self._beyond)

    def add(self, number: int) -> None:
        self.last = max(self.last, number)
        self._beyond.add(number)
        while self._through + 1 in self._beyond:
            self._through += 1
            self._beyond.discard(self._through)

    def missing(self) -> list[range]:
        """Return the numbers below the highest one that are not finished, as ranges."""
        ends = [self._through, *sorted(self._beyond), self.last + (self.last not in self)]
        return [range(one + 1, other) for one, other in pairwise(ends) if other - one > 1]

    def following(self) -> Iterator[int]:
        """Return, without end, the numbers of the iterations to run: those that are missing, then those after the last.

        What is added later has no influence on it.
        """
        return chain(*self.missing(), count(self.last + 1))


@dataclass(slots=True)
class _Open:
    """An iteration whose end has not been read yet."""

    number: int
    began: float | None = None
    trials: dict[str, tuple[Trial, int]] = field(default_factory=dict)
    """Each with the offset of its line."""
    marks: list[tuple[Mark, int]] = field(default_factory=list)


class TrialsReader:
    """Reads `trials.jsonl` one finished iteration after the other, in the file's order.

    No more than one iteration of each target is in memory. What it counts is complete once it has been iterated over:
    `finished` by target, `unfinished` the trials that belong to no finished iteration, `unreadable` the numbers of the
    first lines that cannot be read and `unreadable_count` of how many, `spent` the seconds that the soak has run as far
    as the lines give them (else None), `seconds` the sum of the durations of each target's iterations.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self._open: dict[str, _Open] = {}
        self._offset = 0
        self.finished: dict[str, Finished] = {}
        self.unfinished: list[Trial] = []
        self.unfinished_count = 0
        self.unreadable: list[int] = []
        self.unreadable_count = 0
        self.spent: float | None = None

    def __iter__(self) -> Iterator[Iteration]:
        for place, line in enumerate(self._lines, 1):
            if not line.endswith(b"\n"):
                break  # torn in the middle by a kill
            try:
                iteration = self._take(orjson.loads(line))
            except (ValueError, TypeError, KeyError):
                self.unreadable_count += 1
                if len(self.unreadable) < _NAMED_LINES:
                    self.unreadable.append(place)
                continue
            finally:
                self._offset += len(line)
            if iteration is not None:
                yield iteration
        for each in self._open.values():
            self._void(each)
        self._open.clear()

    def lost(self) -> list[tuple[str, int]]:
        """Return (target, iteration) of those that cannot be read whole, though a later line of the target can; the
        first 1,000."""
        every = ((name, number) for name, finished in self.finished.items() for number in chain(*finished.missing()))
        return list(islice(every, _NAMED_ITERATIONS))

    def _take(self, document: Any) -> Iteration | None:
        number, target = _key(document)
        if "outcome" in document:
            trial = from_document(document)
            # The later one counts, should a check stand there twice.
            self._of(target, number).trials[trial.label] = trial, self._offset
        elif "mark" in document:
            self._of(target, number).marks.append((mark_from(document), self._offset))
        elif "began" in document:
            began = plausible(document["began"])
            if (old := self._open.pop(target, None)) is not None and old.number != number:
                self._void(old)
            self._has_spent(document)
            self._open[target] = _Open(number, began)
        else:
            ended, lasted = plausible(document["ended"]), document.get("lasted")
            self._has_spent(document)
            return self._end(target, number, ended, None if lasted is None else plausible(lasted), document)
        return None

    def _of(self, target: str, number: int) -> _Open:
        found = self._open.get(target)
        if found is None or found.number != number:
            if found is not None:
                self._void(found)
            found = self._open[target] = _Open(number)
        return found

    def _end(
        self, target: str, number: int, ended: float, lasted: float | None, document: dict[str, Any]
    ) -> Iteration | None:
        found = self._of(target, number)
        del self._open[target]
        finished = self.finished.setdefault(target, Finished())
        if number in finished:
            return None
        counted = (document.get("trials", len(found.trials)), document.get("marks", len(found.marks)))
        if counted != (len(found.trials), len(found.marks)):
            self._void(found)
            finished.last = max(finished.last, number)
            return None
        finished.add(number)
        trials, marks = found.trials.values(), found.marks
        return Iteration(
            number, target, found.began, ended, lasted, tuple(each for each, _ in trials),
            tuple(each for each, _ in marks), tuple(at for _, at in trials), tuple(at for _, at in marks),
        )  # fmt: skip

    def _has_spent(self, document: dict[str, Any]) -> None:
        spent = document.get("spent")
        if spent is not None:
            self.spent = max(self.spent or 0.0, plausible(spent))

    def _void(self, each: _Open) -> None:
        self.unfinished_count += len(each.trials)
        if len(self.unfinished) < 1000:
            self.unfinished += (trial for trial, _ in each.trials.values())


@dataclass(frozen=True, slots=True)
class Trials:
    """All of `trials.jsonl`. `finished` and `marks` are those of finished iterations, in the file's order; `unfinished`
    those of iterations that have no end. `began` and `ended` have (iteration, target) of the finished ones with their
    beginnings, as far as they are given, and ends in seconds since the epoch; `lasted` their durations in seconds.
    `unreadable` are the numbers of the first lines that cannot be read; `lost` (target, iteration) of the iterations
    before the last one that cannot be read whole. `spent` is how long the soak has run, None where no line gives it.
    """

    finished: tuple[Trial, ...] = ()
    unfinished: tuple[Trial, ...] = ()
    marks: tuple[Mark, ...] = ()
    began: dict[tuple[int, str], float] = field(default_factory=dict)
    ended: dict[tuple[int, str], float] = field(default_factory=dict)
    lasted: dict[tuple[int, str], float] = field(default_factory=dict)
    unreadable: tuple[int, ...] = ()
    unreadable_count: int = 0
    unfinished_count: int = 0
    lost: tuple[tuple[str, int], ...] = ()
    spent: float | None = None

    def last_iteration(self, target: str) -> int:
        """The number of the last iteration of a target that was finished; 0 where none was."""
        return max((number for number, name in self.ended if name == target), default=0)


class TrialsError(HarnessError):
    """`trials.jsonl` cannot be read or written."""


class TrialsFile:
    """Writes `trials.jsonl`; goes on behind what is there. Not to be used from two threads at once."""

    def __init__(self, folder: Path, *, patience: DiskPatience = NO_PATIENCE) -> None:
        """Open it, and cut off a torn last line. Raises TrialsError where that cannot be done."""
        self.path = folder / NAME
        self._patience = patience
        self._fd = -1
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = _whole(self._fd)
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise self._failed(error) from error

    def began(self, iteration: int, target: str, now: float, *, spent: float | None = None) -> None:
        """An iteration of a target begins; what is there of an unfinished one of the same number is void. `now` is in
        seconds since the epoch, `spent` how long the soak has run."""
        document = {"iteration": iteration, "target": plain(target), "began": now}
        if spent is not None:
            document["spent"] = spent
        self._write(orjson.dumps(document) + b"\n")

    def add(self, trial: Trial) -> None:
        """One trial has ended."""
        self._write(to_line(trial))

    def mark(self, mark: Mark) -> None:
        """Something happened to a target."""
        self._write(_mark_line(mark))

    def ended(self, iteration: int, target: str, now: float) -> None:
        """An iteration of a target is finished: it counts from now on, also after a power cut."""
        self.write(iteration, target, (), (), now)

    def write(
        self,
        iteration: int,
        target: str,
        trials: Sequence[Trial],
        marks: Sequence[Mark],
        now: float,
        *,
        lasted: float | None = None,
        spent: float | None = None,
    ) -> None:
        """Write a finished iteration, its end last, and sync it to the disk. Raises TrialsError."""
        end: dict[str, Any] = {"iteration": iteration, "target": plain(target), "ended": now}
        if lasted is not None:
            end["lasted"] = lasted
        if spent is not None:
            end["spent"] = spent
        if trials or marks:
            end["trials"], end["marks"] = len({trial.label for trial in trials}), len(marks)
        self._write(b"".join((*map(to_line, trials), *map(_mark_line, marks), orjson.dumps(end), b"\n")))
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, lines: bytes) -> None:
        try:
            self._patience.write(partial(self._append, lines), str(self.path))
        except OSError as error:
            raise self._failed(error) from error
        self._size += len(lines)

    def _append(self, lines: bytes) -> None:
        """Append whole lines, or nothing. Raises OSError."""
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._fd, lines[written:])
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


def stream_trials(folder: Path) -> TrialsReader:
    """Return a reader of the finished iterations in `trials.jsonl` of a run's folder; of none where there is no file.
    Iterating over it raises TrialsError where the file cannot be read."""
    return TrialsReader(_lines(folder / NAME))


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return
    except OSError as error:
        raise TrialsError(f"cannot read {path}: {error.strerror}") from error


def read_trials(folder: Path) -> Trials:
    """Return all of `trials.jsonl` of a run's folder; nothing where there is none. Raises TrialsError where it cannot
    be read."""
    return _all(stream_trials(folder))


def parse_trials(lines: Iterable[bytes]) -> Trials:
    """Return the trials in these lines. A last line without its end is torn, and ignored."""
    return _all(TrialsReader(lines))


def _all(reader: TrialsReader) -> Trials:
    finished: list[Trial] = []
    marks: list[Mark] = []
    began: dict[tuple[int, str], float] = {}
    ended: dict[tuple[int, str], float] = {}
    lasted: dict[tuple[int, str], float] = {}
    for each in reader:
        key = (each.number, each.target)
        finished += each.trials
        marks += each.marks
        ended[key] = each.ended
        if each.began is not None:
            began[key] = each.began
        if each.lasted is not None:
            lasted[key] = each.lasted
    return Trials(
        tuple(finished), tuple(reader.unfinished), tuple(marks), began, ended, lasted, tuple(reader.unreadable),
        reader.unreadable_count, reader.unfinished_count, tuple(reader.lost()), reader.spent,
    )  # fmt: skip


def _key(document: Any) -> tuple[int, str]:
    iteration, target = document["iteration"], document["target"]
    if not isinstance(iteration, int) or isinstance(iteration, bool) or not isinstance(target, str):
        raise TypeError
    if not 0 < iteration < 1 << 40:
        raise ValueError
    return iteration, target


def _mark_line(mark: Mark) -> bytes:
    document = {
        "iteration": mark.iteration, "target": mark.target, "mark": mark.kind, "name": mark.name,
        "started": mark.started, "ended": mark.ended, "text": mark.text,
    }  # fmt: skip
    return orjson.dumps(plain(document)) + b"\n"


def mark_from(document: dict[str, Any]) -> Mark:
    """Return the mark that a line's document gives. Raises ValueError, TypeError or KeyError."""
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
