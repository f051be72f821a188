"""Reads a record, whole lines only, across its segments, while it is written, turned over and compressed."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, NamedTuple, cast

import orjson

from harness.errors import HarnessError
from harness.events.lock import has_writer
from harness.events.record import Record
from harness.events.segments import LIVE, Segment, first_sequence_of, scan, sequence_of
from harness.events.sync import sync_folder
from harness.events.tail import line_before

_CHUNK = 1 << 20
_RUN_END = b'"event.action":"run.end"'


class DamagedRecord(HarnessError):
    """A line that is no event, or a compressed segment that cannot be read."""


@dataclass(frozen=True, slots=True)
class Position:
    """After which event a reader goes on; 0 is before the first.

    The rest is a hint that saves a search, and may be left out: the segment that holds that event (named by its first
    one) and the byte of its text, uncompressed, behind that event's line. A wrong hint is seen, and does no harm.
    """

    sequence: int = 0
    segment: int = 0
    offset: int = 0


class Line(NamedTuple):
    """One line of a record, without its newline. One that tells no sequence of its own has that of the line before."""

    raw: bytes
    sequence: int
    segment: int
    end: int

    @property
    def position(self) -> Position:
        """Where a reader goes on after it."""
        return Position(self.sequence, self.segment, self.end)

    def event(self) -> Record:
        """The event. Raises DamagedRecord where the line is none."""
        try:
            event = orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            raise DamagedRecord(f"a line of the record is no event (event.sequence {self.sequence}): {self.raw[:60]!r}")
        return event


class State(Enum):
    """What is known at the end of a record."""

    GROWING = "growing"
    """A process is writing it; more may come."""
    ENDED = "ended"
    """Its last event is `run.end`."""
    LEFT = "left"
    """No process is writing it and `run.end` is missing: the run was killed, or its disk was full."""


class RecordReader:
    """Gives the lines of a record in order, each once. Many may read one record; none is in its writer's way.

    `position` is behind the last line that `read` gave. `missing` counts the events that were removed, or were lost in
    a power cut, before they could be read. `state` is set by each `read` that returns nothing.
    """

    def __init__(self, folder: Path, position: Position | None = None, *, salvage: bool = False) -> None:
        """`folder` is the run's. A position beyond the last event (a power cut took some) is taken back to that one.

        With `salvage` a segment that cannot be read is read as far as possible and then passed over: `damage` has a
        sentence for each."""
        self.damage: list[str] = []
        self._salvage = salvage
        self._damaged: Segment | None = None
        self._synced = 0
        self.position = position or Position()
        self.missing = 0
        self.state = State.GROWING
        self._folder = folder
        self._after = self.position.sequence  # what is not after this event is passed over
        self._seen = 0
        self._file: IO[bytes] | None = None
        self._segment = Segment(0, folder)
        self._live = False
        self._offset = 0
        self._rest = b""  # of a compressed segment: what was read behind its last whole line
        self._last = b""

    def read(self, most: int = _CHUNK) -> list[Line]:
        """The next whole lines, of about `most` bytes together and at least one; none at the end, and `state` says what
        that end is. Never waits. Raises DamagedRecord where a segment cannot be read at all."""
        # Asked first: what is written before its writer goes is then read below.
        written = has_writer(self._folder)
        while True:
            lines = self._here(most)
            if lines:
                return lines
            if lines is None and not self._go_on():
                break
        if self._after > self._seen:
            # The event to go on after is no longer there, so whatever comes is new.
            self._after = self._seen
            self.position = Position(self._seen, self._segment.first, self._offset)
        self.state = State.ENDED if _RUN_END in self._last else State.GROWING if written else State.LEFT
        return []

    @property
    def damage_at_end(self) -> bool:
        """Whether the segment that was read last is damaged: what else it held is not known then."""
        return self._damaged is not None and self._damaged == self._segment

    @property
    def last(self) -> bytes:
        """The last line that was read, without its newline."""
        return self._last

    def sync(self) -> None:
        """Returns when all that was read is on disk, so that a power cut cannot take it. Raises OSError."""
        if self._file is None or self._synced >= self._offset:
            return
        if self._segment.compressed:
            size = sys.maxsize  # its writer has synced it before it got its name
        else:
            size = os.fstat(self._file.fileno()).st_size
            os.fsync(self._file.fileno())
        if not self._synced:
            sync_folder(self._folder)
        self._synced = size

    def close(self) -> None:
        """Lets go of the file."""
        if self._file:
            self._file.close()
            self._file = None

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _here(self, most: int) -> list[Line] | None:
        """The next lines of this segment that are wanted, perhaps none of them; None at its end."""
        if self._file is None:
            return None
        data = self._rest
        try:
            if not self._segment.compressed:
                # A line that is being written is read anew each time: should its writing fail, it is taken back.
                self._file.seek(self._offset)
            while True:
                more = self._more(most)
                data += more
                if not more or b"\n" in more:
                    break
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and not (self._salvage or isinstance(error, gzip.BadGzipFile)):
                raise
            if not self._salvage:
                raise DamagedRecord(
                    f"{self._segment.path} is damaged: {error}",
                    hint="Its events cannot be read; those of other files can.",
                ) from error
            self._note_damage(self._segment, error)
            # What was read before the damage, up to its last whole line, is good.
        end = data.rfind(b"\n") + 1
        if self._segment.compressed:
            self._rest = b"" if self._damaged == self._segment else data[end:]
        return self._lines(data[: end - 1]) if end else None

    def _more(self, most: int) -> bytes:
        assert self._file is not None
        if not (self._salvage and self._segment.compressed):
            return self._file.read(most)
        if self._damaged == self._segment:
            return b""
        # `read` would lose what was decompressed before the damage in the same call.
        more = cast(gzip.GzipFile, self._file).read1(most)
        if not more and not self._offset and not self._rest:
            raise EOFError("it is empty")
        return more

    def _note_damage(self, segment: Segment, error: Exception) -> None:
        self._damaged = segment
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.damage.append(f"{segment.path.name} is damaged ({reason.rstrip('.')})")

    def _lines(self, data: bytes) -> list[Line]:
        lines: list[Line] = []
        raws = data.split(b"\n")
        first, end, seen, after = self._segment.first, self._offset, self._seen, self._after
        for raw in raws:
            end += len(raw) + 1
            sequence = seen + 1
            if b'"event.sequence":%d,' % sequence not in raw:  # nearly always it is there, and this is the quickest way
                sequence = sequence_of(raw) or seen
            if sequence <= seen:
                sequence = seen
                wanted = seen >= after
            else:
                wanted = sequence > after
                if wanted and sequence > seen + 1:
                    self.missing += sequence - max(seen, after) - 1
                seen = sequence
            if wanted:
                lines.append(Line(raw, sequence, first, end))
        self._offset, self._seen, self._last = end, seen, raws[-1]
        if lines:
            self.position = lines[-1].position
        return lines

    def _go_on(self) -> bool:
        """Whether there is more to read after this segment's end."""
        if self._file is None:
            return self._find()
        if self._live:
            if not self._turned_over():
                return False
            self._live = False  # nothing is written to it any more: what is left in it comes before the next one
            return True
        while following := scan(self._folder).after(self._segment):
            if self._open(following):
                return True
        if self._came_back():
            self._live = True
            return True
        return False

    def _came_back(self) -> bool:
        """Whether the file that was being written is at its place again: it was moved away meanwhile, or its writer has
        written it again. Then it is read on from where it was left."""
        if self._segment.path.name != LIVE:
            return False
        try:
            file = (self._folder / LIVE).open("rb", buffering=0)
        except OSError:
            return False
        if first_sequence_of(file.fileno()) != self._segment.first or os.fstat(file.fileno()).st_size <= self._offset:
            file.close()
            return False
        assert self._file is not None
        self._file.close()
        self._file = file
        return True

    def _turned_over(self) -> bool:
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        try:
            live = (self._folder / LIVE).stat()
        except FileNotFoundError:
            return True
        return (live.st_dev, live.st_ino) != (mine.st_dev, mine.st_ino)

    def _find(self) -> bool:
        """Opens the segment to begin with; False where there is none yet."""
        while holding := (found := scan(self._folder)).holding(self._after + 1):
            hinted = found.holding(self.position.segment)
            if hinted and self.position.offset and self._open(hinted) and self._at_hint():
                return True
            if self._open(holding):
                return True
        return False

    def _at_hint(self) -> bool:
        assert self._file is not None
        try:
            line = line_before(self._file, self.position.offset)
        except (EOFError, zlib.error, OSError):
            return False
        if sequence_of(line) != self.position.sequence:
            return False
        self._last, self._seen, self._offset = line, self.position.sequence, self.position.offset
        return True

    def _open(self, segment: Segment) -> bool:
        """Opens a segment at its beginning; False where it has another name by now."""
        try:
            file = _opened(segment)
        except FileNotFoundError:
            return False
        except OSError as error:
            if not self._salvage:
                raise
            self._note_damage(segment, error)
            file = io.BytesIO()
        if segment.live and first_sequence_of(file.fileno()) != segment.first:
            file.close()
            return False
        self.close()
        self._file = file
        self._segment, self._live, self._offset, self._rest = segment, segment.live, 0, b""
        self._synced = 0
        return True


def _opened(segment: Segment) -> IO[bytes]:
    if segment.compressed:
        return cast(IO[bytes], gzip.open(segment.path, "rb"))
    return segment.path.open("rb", buffering=0)
