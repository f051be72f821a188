"""The record's file: whole lines appended, turned over when it is large or old, taken up again after any end."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import SYSTEM_CLOCK, Clock
from harness.events.keeper import Acknowledged, Keeper
from harness.events.lock import WriterLock
from harness.events.segments import first_sequence, rotated_name, scan
from harness.events.tail import Tail, tail_of

_NEXT = ".events.jsonl.next"
_LOOK_AGAIN = 0.5
"""Seconds after which a write makes sure that the file is still the one at its path."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When `events.jsonl` is turned over, and what becomes of what it was."""

    size: int = 64 << 20
    """Bytes that it may have; an event that is larger by itself gets a file of its own."""
    age: float = 86400.0
    """Seconds that it may be open; it is turned over by the first event after that."""
    compress: bool = True
    keep: int | None = None
    """Bytes that the record may have on disk when a file is turned over (the next one comes on top): beyond that the
    oldest segments are removed. None removes nothing."""

    def due(self, size: int, age: float, more: int) -> bool:
        """Whether a file of `size` bytes, open for `age` seconds, is turned over before `more` bytes are written."""
        return size > 0 and (size + more > self.size or age >= self.age)


_NO_DISK = (errno.EINVAL, errno.EROFS, errno.ENOTSUP)
"""What fsync(2) says of a pipe, a socket or a device, which have nothing to be brought to."""


class RecordWriter:
    """Appends lines to `events.jsonl`. Not thread-safe: its one caller holds a lock of its own.

    `last` is the `event.sequence` of the last event on file; it goes on from there when a record is opened again. What
    follows the last whole line then (a power cut tore it) is set aside, into a file that `torn` names. `trouble` says
    that the file could not be turned over. A path that is no regular file (a device, a pipe) is only written.
    """

    def __init__(
        self,
        path: Path,
        rotation: Rotation | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        acknowledged: Acknowledged | None = None,
        used: Callable[[], int] | None = None,
        told: Callable[[str], None] | None = None,
    ) -> None:
        """`acknowledged` gives the highest `event.sequence` that every sink has, `used` the highest that any sink has:
        where the record has lost events up to that one, their numbers stay unused, and `lost` has the first and the
        last of them. `told` is called, from a thread of its own, with what went wrong with full segments. Raises
        OSError, and UsageError where another process writes this record."""
        self.path = path
        self.last = 0
        self.torn: Path | None = None
        self.lost: tuple[int, int] | None = None
        self.trouble = ""
        self._rotation = rotation or Rotation()
        self._clock = clock
        self._lock: WriterLock | None = None
        self._keeper: Keeper | None = None
        self._first = 0
        self._put_off = 0
        regular = not path.exists() or stat.S_ISREG(path.stat().st_mode)
        if regular:
            self._lock = WriterLock(path.parent)
        try:
            if regular:
                self._keeper = Keeper(
                    path.parent,
                    compress=self._rotation.compress,
                    keep=self._rotation.keep,
                    acknowledged=acknowledged,
                    told=told,
                )
                (path.parent / _NEXT).unlink(missing_ok=True)
                self._take_up()
                highest = used() if used else 0
                if highest > self.last:
                    self.lost = (self.last + 1, highest)
                    self.last = highest
            self._fd = _open(path)
        except BaseException:
            self._release()
            raise
        self._size = os.fstat(self._fd).st_size
        if regular:
            self._first = first_sequence(path) or 0
        self._since = self._seen = clock.monotonic()
        if self._keeper and self._keeper.has_work():
            self._keeper.wake()

    def write(self, line: bytes, sequence: int) -> None:
        """Appends a line that ends in a newline. Raises OSError; then nothing of it is in the file."""
        if self._clock.monotonic() - self._seen >= _LOOK_AGAIN:
            self.look_at_place()
        if self._rotation.due(self._size - self._put_off, self._clock.monotonic() - self._since, len(line)):
            self._turn_over()
        written = 0
        try:
            while written < len(line):
                # Lets other threads run meanwhile: a disk may take seconds for it.
                written += os.write(self._fd, line[written:])
            self._wrote(len(line), sequence)
        except BaseException:
            self._after_failure(len(line), sequence)
            raise

    def _wrote(self, size: int, sequence: int) -> None:
        self._size += size
        self._first = self._first or sequence
        self.last = sequence

    def _after_failure(self, size: int, sequence: int) -> None:
        """Brings what we know and what is on file together. A Ctrl-C may come after the line was written: then it
        counts. What is there in part is taken back; where that fails too the line stays torn, which no reader takes
        for an event, since it has no newline."""
        if self._keeper is None or self.last == sequence:
            return  # a pipe or a device has no past; or all was known already
        with contextlib.suppress(OSError):
            there = os.fstat(self._fd).st_size
            if there == self._size + size:
                self._wrote(size, sequence)
            elif there > self._size:
                os.ftruncate(self._fd, self._size)

    def look_at_place(self) -> None:
        """Make sure that what is written is what a reader finds at the path: somebody may have removed the file, moved
        it away, put another one there, or emptied it.

        A file that is not there is written again with all that it held, and `trouble` says so; another one that is
        there is set aside. Raises OSError where that cannot be done, or where the file was cut and its events are gone.
        """
        self._seen = self._clock.monotonic()
        if self._keeper is None or self._fd < 0:
            return
        mine = os.fstat(self._fd)
        if mine.st_size < self._size:
            raise OSError(errno.EIO, f"it was cut from {self._size} to {mine.st_size} bytes by somebody else")
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            words = f"{self.path} was removed or moved away"
        else:
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return
            aside = self.path.with_name(f"events.replaced.{self.last:012d}")
            os.rename(self.path, aside)
            words = f"{self.path} was replaced by another file, which is now {aside.name}"
        self._restore()
        self.trouble = f"{words} while it was written; it was written again with all its events"

    def _restore(self) -> None:
        """Write the file anew at its path from the one that is still open, and go on with the new one."""
        following = self.path.parent / _NEXT
        fd = os.open(following, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            offset = 0
            while offset < self._size:
                data = os.pread(self._fd, min(1 << 20, self._size - offset), offset)
                if not data:
                    raise OSError(errno.EIO, "its events cannot be read back")
                offset += len(data)
                while data:
                    data = data[os.write(fd, data) :]
            os.rename(following, self.path)
        except OSError:
            os.close(fd)
            following.unlink(missing_ok=True)
            raise
        old, self._fd = self._fd, fd
        os.close(old)

    def settle(self) -> None:
        """Returns when what was turned over is compressed, and the oldest removed."""
        if self._keeper:
            self._keeper.close()

    def close(self) -> None:
        """End the writing. Raises OSError where the disk does not take what was written; it is closed then, too."""
        if self._fd < 0:
            return
        self.settle()
        try:
            os.fsync(self._fd)
        except OSError as error:
            if error.errno not in _NO_DISK:
                raise
        finally:
            os.close(self._fd)
            self._fd = -1
            self._release()

    def _release(self) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None

    def _turn_over(self) -> None:
        """Renames the file by its first event and begins a new one. Killed at any step, all lines are in files that a
        reader finds. Where it cannot be done, the file goes on for as much again."""
        assert self._keeper is not None or self._lock is None
        self._since = self._clock.monotonic()
        if self._keeper is None or not self._first:
            self._put_off = self._size
            return
        following = self.path.parent / _NEXT
        rotated = self.path.parent / rotated_name(self._first)
        try:
            fd = os.open(following, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.rename(self.path, rotated)
                try:
                    os.rename(following, self.path)
                except OSError:
                    os.rename(rotated, self.path)
                    raise
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            self._put_off = self._size
            self.trouble = f"{self.path} could not be turned over ({error.strerror}); it goes on growing"
            return
        old, self._fd = self._fd, fd
        os.close(old)
        self._size = self._first = self._put_off = 0
        self._keeper.wake()

    def _take_up(self) -> None:
        """Finds the last event of a record that was written before, and sets aside what follows it."""
        folder = self.path.parent
        newest = [self.path, *(segment.path for segment in reversed(scan(folder).segments))]
        for path in dict.fromkeys(newest):
            if not path.exists():
                continue
            tail = tail_of(path)
            if tail.rest and path.suffix != ".gz":
                self._set_aside(path, tail)
            if tail.sequence:
                self.last = tail.sequence
                return

    def _set_aside(self, path: Path, tail: Tail) -> None:
        self.torn = path.with_name(f"events.torn.{tail.sequence + 1:012d}")
        fd = os.open(self.torn, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(tail.rest)
            file.flush()
            os.fsync(file.fileno())
        os.truncate(path, tail.end)


def _open(path: Path) -> int:
    # Readable too: should somebody remove the file, it is written again from what this descriptor still has.
    readable = not path.exists() or stat.S_ISREG(path.stat().st_mode)
    mode = os.O_RDWR if readable else os.O_WRONLY
    return os.open(path, mode | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
