"""Sequences of trials and marks that stay in their file: what is in memory is where each of them begins.

A soak of a year has millions of trials. Reports go through them several times, and keep counts, columns of numbers and
places (eight bytes each), never the trials themselves.
"""

from __future__ import annotations

import os
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar, overload

from harness.soak.tally import ITERATION
from harness.soak.trial import Trial, TrialOutcome
from harness.soak.trials import Finished, Mark

T = TypeVar("T")
_BLOCK = 1 << 13


class LinesAt:
    """A text file whose lines are read by the offset at which they begin. The file is open until this is collected."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._begin = 0
        self._block = b""

    def line(self, offset: int) -> bytes:
        """Return the line that begins at this offset, with its end. Raises OSError."""
        place = offset - self._begin
        end = self._block.find(b"\n", place) if 0 <= place < len(self._block) else -1
        if end >= 0:
            return self._block[place : end + 1]
        size = _BLOCK
        while True:
            self._begin, self._block = offset, os.pread(self._fd, size, offset)
            end = self._block.find(b"\n")
            if end >= 0 or len(self._block) < size:
                return self._block[: end + 1]
            size *= 4


class Selection(Sequence[T]):
    """Some items of a sequence, in the order of their places. Each access gets the item from the sequence again."""

    def __init__(self, items: Sequence[T], places: Sequence[int]) -> None:
        self._items = items
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Selection[T]: ...
    def __getitem__(self, index: int | slice) -> T | Selection[T]:
        if isinstance(index, slice):
            return Selection(self._items, self._places[index])
        return self._items[self._places[index]]

    def __iter__(self) -> Iterator[T]:
        return (self._items[place] for place in self._places)


class Stored(Sequence[T]):
    """Items that `read` makes of the lines of a file, by the offsets of the lines."""

    def __init__(self, read: Callable[[int], T], offsets: array[int]) -> None:
        self._read = read
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Selection[T]: ...
    def __getitem__(self, index: int | slice) -> T | Selection[T]:
        if isinstance(index, slice):
            return Selection(self, range(len(self))[index])
        return self._read(self._offsets[index])

    def __iter__(self) -> Iterator[T]:
        return map(self._read, self._offsets)


class TrialIndex(Sequence[Trial]):
    """Trials with the places of those that reports ask for: of each check on each target, of what did not pass cleanly,
    of what has warnings."""

    def __init__(self, trials: Sequence[Trial] = ()) -> None:
        """`trials` may grow, where `add` is called for each that comes behind."""
        self._trials = trials
        self._rows: dict[tuple[str, str], array[int]] = {}
        self._unclean = array("q")
        self._warned = array("q")
        self._known = 0
        self._last = 0
        self._ends: dict[str, float] = {}
        self._iterations: dict[str, Finished] = {}
        self._unclean_iterations: dict[str, Finished] = {}
        for place, trial in enumerate(trials):
            self.add(place, trial)

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> TrialIndex:
        """Return the index of these trials; themselves, where they are one."""
        return trials if isinstance(trials, cls) else cls(trials)

    def add(self, place: int, trial: Trial) -> None:
        """Note the trial at this place of the sequence."""
        self._rows.setdefault((trial.label, trial.target), array("q")).append(place)
        if not (trial.clean or trial.outcome is TrialOutcome.SKIPPED):
            self._unclean.append(place)
            _note(self._unclean_iterations.setdefault(trial.target, Finished()), trial.iteration)
        if trial.warnings:
            self._warned.append(place)
        self._known += bool(trial.known)
        self._last = max(self._last, trial.iteration)
        _note(self._iterations.setdefault(trial.target, Finished()), trial.iteration)
        end = trial.started + trial.duration
        self._ends[trial.target] = max(self._ends.get(trial.target, end), end)

    def reorder(self, trials: Sequence[Trial], place_of: Sequence[int]) -> None:
        """Take another sequence of the same trials, in which the trial at a place stands at `place_of[place]`."""
        self._trials = trials

        def moved(places: array[int]) -> array[int]:
            return array("q", sorted(place_of[place] for place in places))

        self._rows = {key: moved(places) for key, places in self._rows.items()}
        self._unclean, self._warned = moved(self._unclean), moved(self._warned)

    def __len__(self) -> int:
        return len(self._trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | Sequence[Trial]:
        return self._trials[index]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    @property
    def rows(self) -> dict[tuple[str, str], Sequence[Trial]]:
        """The trials of each check on each target, by (label, target), each in the order of the iterations."""
        return {key: self._selected(places) for key, places in self._rows.items()}

    def of_target(self, target: str) -> Sequence[Trial]:
        """Return the trials of a target, in their order."""
        mine = [places for (_, name), places in self._rows.items() if name == target]
        return self._selected(array("q", sorted(chain.from_iterable(mine))))

    def of_check(self, label: str) -> Sequence[Trial]:
        """Return the trials of a check on all targets, in their order."""
        mine = [places for (name, _), places in self._rows.items() if name == label]
        return self._selected(array("q", sorted(chain.from_iterable(mine))))

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, in the order in which they came."""
        return tuple(self._iterations)

    @property
    def unclean(self) -> Sequence[Trial]:
        """What did not pass cleanly, and was not skipped."""
        return self._selected(self._unclean)

    @property
    def warned(self) -> Sequence[Trial]:
        """The trials with warnings."""
        return self._selected(self._warned)

    @property
    def known(self) -> int:
        """How many trials are known flakes."""
        return self._known

    @property
    def last_iteration(self) -> int:
        """The highest number of an iteration; 0 without trials."""
        return self._last

    @property
    def iterations(self) -> tuple[int, int]:
        """How many iterations of targets had trials, and in how many of them some did not pass cleanly."""
        return sum(map(len, self._iterations.values())), sum(map(len, self._unclean_iterations.values()))

    def end_of(self, target: str) -> float:
        """Return when the last trial of a target ended, in seconds since the epoch; 0 where it has none."""
        return self._ends.get(target, 0.0)

    def _selected(self, places: array[int]) -> Sequence[Trial]:
        return Selection(self._trials, places)


class MarkIndex(Sequence[Mark]):
    """Marks with the places of those of each kind on each target."""

    def __init__(self, marks: Sequence[Mark] = ()) -> None:
        """`marks` may grow, where `add` is called for each that comes behind."""
        self._marks = marks
        self._places: dict[tuple[str, str], array[int]] = {}
        for place, mark in enumerate(marks):
            self.add(place, mark)

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> MarkIndex:
        """Return the index of these marks; themselves, where they are one."""
        return marks if isinstance(marks, cls) else cls(marks)

    def add(self, place: int, mark: Mark) -> None:
        """Note the mark at this place of the sequence."""
        self._places.setdefault((mark.target, mark.kind), array("q")).append(place)

    def __len__(self) -> int:
        return len(self._marks)

    @overload
    def __getitem__(self, index: int) -> Mark: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mark]: ...
    def __getitem__(self, index: int | slice) -> Mark | Sequence[Mark]:
        return self._marks[index]

    def __iter__(self) -> Iterator[Mark]:
        return iter(self._marks)

    def number_of(self, target: str, kind: str) -> int:
        """Return how many marks of this kind a target has."""
        return len(self._places.get((target, kind), ()))

    def of_kind(self, kind: str) -> Sequence[Mark]:
        """Return the marks of this kind, of all targets."""
        return self._selected(places for (_, name), places in self._places.items() if name == kind)

    def of_target(self, target: str) -> Sequence[Mark]:
        """Return the marks of a target, whose iterations are none."""
        return self._selected(
            places for (name, kind), places in self._places.items() if name == target and kind != ITERATION
        )

    def _selected(self, parts: Iterable[array[int]]) -> Sequence[Mark]:
        return Selection(self._marks, array("q", sorted(chain.from_iterable(parts))))


def _note(numbers: Finished, number: int) -> None:
    if number not in numbers:
        numbers.add(number)
