"""Reads what a soak left: its finished iterations, which stay in their file, with counts and places of them."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from harness.api.check import WHOLE_TARGET
from harness.errors import UsageError
from harness.report.folder import TRIALS
from harness.soak.stored import LinesAt, MarkIndex, Stored, TrialIndex
from harness.soak.tally import CLOCK, MISSED
from harness.soak.trial import Trial, TrialOutcome, from_document
from harness.soak.trials import Iteration, Mark, TrialsReader, mark_from, stream_trials

_NAMED = 10


@dataclass(frozen=True, slots=True)
class SoakRun:
    """The finished iterations of a soak. `trials` and `marks` are read from the file at each access; `iterations` and
    `exposure` have for each target how many were finished and how long they took, in seconds; `unfinished` is how many
    trials belong to no finished iteration. `started` and `last` are when the first iteration began and the last one
    ended, in seconds since the epoch (0 without any); `spent` is how long the soak has run in seconds, None where no
    line gives it. `clock` has the steps of the clock with their times, `notes` what a reader should know of the data.
    """

    trials: TrialIndex
    marks: MarkIndex
    iterations: dict[str, int]
    exposure: dict[str, float]
    unfinished: int
    started: float
    last: float
    spent: float | None
    clock: tuple[tuple[float, str], ...]
    notes: tuple[str, ...]


def read_soak(folder: Path) -> SoakRun:
    """Read `trials.jsonl` of a run's folder, once. Of each trial that passed its place in the file is kept, and no
    more. Raises TrialsError or OSError where the file cannot be read."""
    reader = stream_trials(folder)
    found = _Found(_Lines(LinesAt(folder / TRIALS)))
    for iteration in reader:
        found.add(iteration)
    found.add_implied()
    return SoakRun(
        trials=found.trials,
        marks=found.marks,
        iterations={target: len(numbers) for target, numbers in found.numbers.items()},
        exposure=found.exposure,
        unfinished=reader.unfinished_count,
        started=found.started or 0.0,
        last=found.last,
        spent=reader.spent,
        clock=tuple(sorted(found.clock)[:_NAMED]),
        notes=tuple(_notes(reader, found.missed)),
    )


def _notes(reader: TrialsReader, missed: Counter[tuple[str, str]]) -> list[str]:
    notes = []
    if missed:
        some = ", ".join(f"{count} times {name} on {target}" for (name, target), count in sorted(missed.items()))
        notes.append(f"{missed.total()} faults were drawn and not injected: {some}")
    if reader.unreadable:
        lines = ", ".join(str(number) for number in reader.unreadable[:_NAMED])
        notes.append(f"{reader.unreadable_count} lines of {TRIALS} cannot be read and are left out (line {lines})")
    if lost := reader.lost():
        some = ", ".join(f"{number} of {name}" for name, number in lost[:_NAMED])
        notes.append(f"iterations that cannot be read whole and are not counted: {some}")
    if number := reader.unfinished_count:
        words = "trial of unfinished iterations is" if number == 1 else "trials of unfinished iterations are"
        notes.append(f"{number} {words} not counted")
    return notes


@dataclass(slots=True)
class _Lines:
    """The trials and marks of a file by the offsets of their lines. A negative offset is of a trial that no line gives:
    -1 is the first of `implied`."""

    file: LinesAt
    implied_by: list[tuple[str, str]] = field(default_factory=list)
    """The check and target of the trials that no line gives."""
    implied: array[int] = field(default_factory=lambda: array("q"))
    """Their places in `implied_by`, each with the number of its iteration behind it."""
    implied_at: array[float] = field(default_factory=lambda: array("d"))
    """Their times, in seconds since the epoch."""

    def trial(self, offset: int) -> Trial:
        """Return the trial of the line at this offset. Raises UsageError where it is none any more."""
        if offset < 0:
            place = -offset - 1
            label, target = self.implied_by[self.implied[2 * place]]
            number, at = self.implied[2 * place + 1], self.implied_at[place]
            check = label.partition("::")[2]
            return Trial(number, target, WHOLE_TARGET, check, TrialOutcome.PASSED, at, 0.0, check_id=label)
        try:
            return from_document(orjson.loads(self.file.line(offset)))
        except (ValueError, TypeError, KeyError) as error:
            raise self._changed(offset) from error

    def mark(self, offset: int) -> Mark:
        """Return the mark of the line at this offset. Raises UsageError where it is none any more."""
        try:
            return mark_from(orjson.loads(self.file.line(offset)))
        except (ValueError, TypeError, KeyError) as error:
            raise self._changed(offset) from error

    def _changed(self, offset: int) -> UsageError:
        return UsageError(
            f"{self.file.path} was changed while it was read: the line at byte {offset} is another one",
            hint="Read it again.",
        )


class _Found:
    """What is kept of the iterations."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self._offsets, self._marks_at = array("q"), array("q")
        self._iteration_of = array("q")  # of each trial
        self.trials = TrialIndex(Stored(lines.trial, self._offsets))
        self.marks = MarkIndex(Stored(lines.mark, self._marks_at))
        self.numbers: dict[str, array[int]] = {}
        self._ended: dict[str, array[float]] = {}
        self.exposure: dict[str, float] = {}
        self.started: float | None = None
        self.last = 0.0
        self.missed: Counter[tuple[str, str]] = Counter()
        self.clock: set[tuple[float, str]] = set()
        self._whole: dict[tuple[str, str], set[int]] = {}
        """The iterations in which there is a trial of a check that belongs to the whole target, by (label, target)."""

    def add(self, each: Iteration) -> None:
        began = each.began
        if began is None:
            began = min((trial.started for trial in each.trials), default=each.ended)
        lasted = max(0.0, each.ended - began) if each.lasted is None else each.lasted
        self.exposure[each.target] = self.exposure.get(each.target, 0.0) + lasted
        self.numbers.setdefault(each.target, array("q")).append(each.number)
        self._ended.setdefault(each.target, array("d")).append(each.ended)
        self.started = began if self.started is None else min(self.started, began)
        self.last = max(self.last, each.ended)
        for trial, at in zip(each.trials, each.trials_at, strict=True):
            if trial.suite == WHOLE_TARGET:
                self._whole.setdefault((trial.label, trial.target), set()).add(trial.iteration)
            self._put(trial, at)
        for mark, at in zip(each.marks, each.marks_at, strict=True):
            self.marks.add(len(self._marks_at), mark)
            self._marks_at.append(at)
            if mark.kind == MISSED:
                self.missed[mark.name, mark.target] += 1
            elif mark.kind == CLOCK:
                self.clock.add((mark.started, mark.text))

    def add_implied(self) -> None:
        """Add the trials that nobody writes: settling and findings are recorded only where they fail, so they passed in
        all other iterations of that target. Then put all in the order of the iterations."""
        for (label, target), had in self._whole.items():
            self._lines.implied_by.append((label, target))
            for number, at in zip(self.numbers[target], self._ended[target], strict=True):
                if number not in had:
                    self._lines.implied.extend((len(self._lines.implied_by) - 1, number))
                    self._lines.implied_at.append(at)
                    offset = -len(self._lines.implied_at)
                    self._put(self._lines.trial(offset), offset)
        order = sorted(range(len(self._offsets)), key=self._iteration_of.__getitem__)
        place_of = array("q", bytes(8 * len(order)))
        for place, before in enumerate(order):
            place_of[before] = place
        offsets = array("q", map(self._offsets.__getitem__, order))
        self.trials.reorder(Stored(self._lines.trial, offsets), place_of)

    def _put(self, trial: Trial, offset: int) -> None:
        self.trials.add(len(self._offsets), trial)
        self._offsets.append(offset)
        self._iteration_of.append(trial.iteration)
