"""The files that a record is made of, and which of them holds which events.

`events.jsonl` is the one being written. When it has grown large or old it becomes `events.<first>.jsonl`, named by the
`event.sequence` of its first line (12 digits, so that names sort as numbers do), and then `events.<first>.jsonl.gz`.
The names are the index: no file says it a second time, so none can be wrong.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LIVE = "events.jsonl"
_ROTATED = re.compile(r"events\.(?P<first>[0-9]{12,})\.jsonl(?P<compressed>\.gz)?")
_SEQUENCE = re.compile(rb'"event\.sequence":([0-9]{1,18})[,}]')
_LONGEST_LOOK = 1 << 24


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a record. `first` is the `event.sequence` of its first line."""

    first: int
    path: Path

    @property
    def live(self) -> bool:
        """Whether it is the one being written."""
        return self.path.name == LIVE

    @property
    def compressed(self) -> bool:
        return self.path.suffix == ".gz"


@dataclass(frozen=True, slots=True)
class Index:
    """The segments of a record, oldest first."""

    segments: tuple[Segment, ...]

    def holding(self, sequence: int) -> Segment | None:
        """The segment with this event, or the one in which it would stand; the oldest where it was removed."""
        if not self.segments:
            return None
        after = bisect_right(self.segments, sequence, key=lambda segment: segment.first)
        return self.segments[max(0, after - 1)]

    def after(self, segment: Segment) -> Segment | None:
        """The segment that follows."""
        place = bisect_right(self.segments, segment.first, key=lambda each: each.first)
        return self.segments[place] if place < len(self.segments) else None

    def last(self, segment: Segment) -> int | None:
        """The `event.sequence` of its last line; None for the newest one, which only its lines can tell."""
        following = self.after(segment)
        return following.first - 1 if following else None


def rotated_name(first: int) -> str:
    """What `events.jsonl` is called once it is full."""
    return f"events.{first:012d}.jsonl"


def index(folder: Path, names: Iterable[str], live_first: int | None) -> Index:
    """The index of the files of these names. `live_first` is the first event of `events.jsonl`, None while it has none.

    A segment that is there both as it was and compressed (someone was killed in between) counts once, as it was.
    """
    found: dict[int, Segment] = {}
    for name in sorted(names, reverse=True):  # `….jsonl.gz` before `….jsonl`, which then takes its place
        if match := _ROTATED.fullmatch(name):
            found[int(match["first"])] = Segment(int(match["first"]), folder / name)
    if live_first is not None:
        found.setdefault(live_first, Segment(live_first, folder / LIVE))
    return Index(tuple(found[first] for first in sorted(found)))


def scan(folder: Path) -> Index:
    """The index of a record on disk, while it is being written too. Empty where there is none."""
    names = _names(folder)
    while True:
        first = first_sequence(folder / LIVE)
        again = _names(folder)
        if names == again:
            return index(folder, names, first)
        names = again  # rotated or compressed meanwhile: the names and the first line must be of one moment


def sequence_of(line: bytes) -> int | None:
    """The `event.sequence` of a line; None where it tells none. The envelope's stands before any of our own values, and
    a message cannot show it: its quotes are escaped."""
    match = _SEQUENCE.search(line)
    return int(match[1]) if match else None


def first_sequence(path: Path) -> int | None:
    """The first `event.sequence` in a file; None while it has none, or is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return first_sequence_of(fd)
    finally:
        os.close(fd)


def first_sequence_of(fd: int) -> int | None:
    """The same of an open file. Only its beginning is read."""
    size = 4096
    while True:
        data = os.pread(fd, size, 0)
        if (found := sequence_of(data)) is not None:
            return found
        if len(data) < size or size >= _LONGEST_LOOK:
            return None
        size *= 8


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(name for name in os.listdir(folder) if _ROTATED.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
