"""The chosen events of a record, from its beginning, and on as long as it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.events import Record
from harness.events.reader import DamagedRecord, Line, Position, RecordReader, State
from harness.events.tail import last_sequence
from harness.events.typed import typed
from harness.report.choice import Choice

PAUSE = 0.2
"""Seconds between two reads of a record that grows."""


class Follower:
    """Gives the lines of a record that a person chose, each with its event."""

    def __init__(self, folder: Path, choice: Choice, *, note: Callable[[str], None]) -> None:
        """`note` is called with notes on the record itself: what is missing, damaged, or was left out."""
        self._folder = folder
        self._reader = RecordReader(folder)
        self._choice = choice
        self._note = note
        self._missing = 0

    def close(self) -> None:
        self._reader.close()

    def until_now(self) -> Iterator[tuple[Line, Record]]:
        """What there is by now."""
        while lines := self._reader.read():
            if self._reader.missing > self._missing:
                count = self._reader.missing - self._missing
                self._note(f"{count} events before event {lines[0].sequence} are missing: removed, or lost")
                self._missing = self._reader.missing
            yield from self._chosen(lines)
        if self._reader.state is State.LEFT:
            self._note("the record has no run.end and nobody writes it: the run was killed, or could not write on")

    def last(self, count: int) -> Iterator[tuple[Line, Record]]:
        """The last `count` of what there is by now. Where all events are wanted, only the record's end is read."""
        if self._choice.is_everything and (before := last_sequence(self._folder) - count) > 0:
            self._reader.close()
            self._reader = RecordReader(self._folder, Position(before))
        yield from deque(self.until_now(), maxlen=count)

    def from_now(self, pause: Callable[[float], None]) -> Iterator[tuple[Line, Record]]:
        """What comes, until the record is ended or left; `pause` is called while nothing does."""
        while self._reader.state is State.GROWING:
            pause(PAUSE)
            yield from self.until_now()

    def _chosen(self, lines: list[Line]) -> Iterator[tuple[Line, Record]]:
        for line in lines:
            if not self._choice.may_hold(line.raw):
                continue
            try:
                event = typed(line.event(), line.sequence)
            except DamagedRecord as error:
                self._note(error.message)
                continue
            if self._choice.holds(event):
                yield line, event
