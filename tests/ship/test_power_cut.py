"""Power cuts at every write and every sync of a run and its shipper: what arrived, made distinct, is what is recorded.

All that changes a disk is noted while it is done. For each point in that list a disk is then made as a power cut at
that point may leave it; the run is resumed there, and shipped again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.events import EventLog, keeper, long, reader, sync, writer
from harness.events import lock as writer_lock
from harness.events.reader import RecordReader
from harness.events.writer import Rotation
from harness.ship import checkpoint, durable
from harness.ship.checkpoint import highest
from harness.ship.event import Event
from harness.ship.sink import TAKEN, Answer, Limits
from tests.ship.runs import Run, Trip

BATCH = 4
ROTATION = Rotation(size=2500)


class MemorySink:
    """A receiver whose power stays on; it notes how much of the disk's history there was when each event came."""

    def __init__(self, moment: Callable[[], int]) -> None:
        self.limits = Limits(BATCH, 1_000_000)
        self.arrived: list[tuple[int, str, int]] = []
        self._moment = moment

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        self.arrived += [(self._moment(), event.id, event.sequence) for event in events]
        return TAKEN

    def close(self) -> None:
        return


@dataclass
class Inode:
    """A file: what a reader sees, and what is on the disk for certain."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class Disk:
    """Replays what was done to files, and knows what a power cut leaves."""

    def __init__(self) -> None:
        self.files: dict[int, Inode] = {}
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}

    def do(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("create", str(name), int(number)):
                self.names[name] = self.files[number] = Inode()
            case ("write", int(number), int(at), bytes(data)):
                self.files[number].data[at : at + len(data)] = data
            case ("truncate", int(number), int(size)):
                del self.files[number].data[size:]
            case ("sync", int(number)):
                self.files[number].durable = bytes(self.files[number].data)
            case ("sync folder", str(folder)):
                here = {name: inode for name, inode in self.names.items() if os.path.dirname(name) == folder}
                elsewhere = {name: each for name, each in self.durable_names.items() if os.path.dirname(name) != folder}
                self.durable_names = {**elsewhere, **here}
            case ("rename", str(old), str(new)):
                self.names[new] = self.names.pop(old)
            case ("unlink", str(name)):
                self.names.pop(name)
            case _:
                raise AssertionError(step)

    def left(self, how: str) -> dict[str, bytes]:
        """What there is after a power cut: `strict` nothing but what was synced, `names` every name but only the synced
        data (the file systems that write metadata first), `torn` of the data behind that one half."""
        if how == "strict":
            return {name: inode.durable for name, inode in self.durable_names.items()}
        found: dict[str, bytes] = {}
        for name, inode in self.names.items():
            kept = inode.durable
            if how == "torn" and bytes(inode.data[: len(kept)]) == kept:
                kept = bytes(inode.data[: (len(kept) + len(inode.data) + 1) // 2])
            found[name] = kept
        return found


class Recorder:
    """The module os, for those modules that change the disk: does what it is asked, and notes it."""

    def __init__(self, root: Path) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self._root = root
        self._numbers: dict[int, int] = {}  # of the files made here, by inode

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        fresh = not os.path.exists(path)
        fd = os.open(path, flags, mode)
        if flags & os.O_CREAT and fresh:
            self._numbers[os.fstat(fd).st_ino] = number = len(self.steps)
            self.steps.append(("create", self._name(path), number))
        elif flags & os.O_TRUNC:
            self.steps.append(("truncate", self._number(fd), 0))
        return fd

    def fdopen(self, fd: int, mode: str) -> Any:
        return _File(self, fd)

    def write(self, fd: int, data: bytes) -> int:
        appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        at = os.fstat(fd).st_size if appends else os.lseek(fd, 0, os.SEEK_CUR)
        count = os.write(fd, data)
        self.steps.append(("write", self._number(fd), at, bytes(data[:count])))
        return count

    def ftruncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)
        self.steps.append(("truncate", self._number(fd), size))

    def fsync(self, fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self.steps.append(("sync folder", self._name(os.readlink(f"/proc/self/fd/{fd}"))))
        else:
            self.steps.append(("sync", self._number(fd)))

    def rename(self, old: Any, new: Any) -> None:
        os.rename(old, new)
        self.steps.append(("rename", self._name(old), self._name(new)))

    def unlink(self, path: Any) -> None:
        os.unlink(path)
        self.steps.append(("unlink", self._name(path)))

    def _name(self, path: Any) -> str:
        return os.path.relpath(os.fspath(path), self._root)

    def _number(self, fd: int) -> int:
        return self._numbers.get(os.fstat(fd).st_ino, -1)


class _File:
    """What `os.fdopen` gives to write with, unbuffered."""

    def __init__(self, recorder: Recorder, fd: int) -> None:
        self._recorder, self._fd = recorder, fd

    def write(self, data: bytes) -> int:
        return self._recorder.write(self._fd, bytes(data))

    def flush(self) -> None:
        return

    def fileno(self) -> int:
        return self._fd

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Watches every module that writes the record or ships it."""
    made = Recorder(tmp_path / "first")
    for module in (writer, keeper, long, reader, sync, durable, checkpoint, writer_lock):
        monkeypatch.setattr(module, "os", made)
    # What a thread would do some time is done at once: the list is the same each time.
    monkeypatch.setattr(keeper.Keeper, "wake", lambda self: self._tend())
    return made


def carried_out(folder: Path, recorder: Recorder) -> MemorySink:
    """A run with several segments, shipped in several calls while it goes on."""
    sink = MemorySink(lambda: len(recorder.steps))
    (folder.parent).mkdir()
    run = Run(folder, ROTATION)
    for number in range(4):
        run.say(*(f"line {number}.{each}" for each in range(3)))
        if number % 2:
            assert Trip(run, sink).go()
    run.end()
    assert Trip(run, sink).go()
    return sink


@pytest.mark.parametrize("how", ["strict", "names", "torn"])
def test_after_a_power_cut_what_arrived_is_what_is_recorded(tmp_path: Path, recorder: Recorder, how: str) -> None:
    sink = carried_out(tmp_path / "first" / "run", recorder)
    steps = list(recorder.steps)
    assert {step[0] for step in steps} >= {"create", "write", "sync", "sync folder", "rename", "unlink"}
    assert sum(step[0] == "rename" and step[2].endswith(".gz") for step in steps) >= 1, "a segment was compressed"
    disk = Disk()
    before: dict[str, bytes] = {}
    arrivals = [moment for moment, _, _ in sink.arrived]
    for at, step in enumerate(steps):
        disk.do(step)
        left = disk.left(how)
        if left == before and at + 1 not in arrivals:
            continue  # the same disk and the same receiver were tried before
        if how == "torn" and at % 3:
            continue  # a line more or less in the torn part makes no difference, and each costs some milliseconds
        before = left
        resumed_and_shipped(tmp_path / f"{how}{at}", left, [each for each in sink.arrived if each[0] <= at + 1])


def resumed_and_shipped(place: Path, left: dict[str, bytes], arrived: list[tuple[int, str, int]]) -> None:
    """What is left is a disk: the run goes on there, and is shipped to its end."""
    folder = place / "run"
    folder.mkdir(parents=True)
    for name, data in left.items():
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    log = EventLog(folder / "events.jsonl", run="resumed", rotation=ROTATION, used=lambda: highest(folder))
    for number in range(5):
        log.emit("console.line", f"again {number}", target="vm1", console="ttyS0", text=f"again {number}")
    log.emit("run.end", "is over", duration=1.0, exit_code=0, counts={})
    log.close()
    sink = MemorySink(lambda: 0)
    run = Run.__new__(Run)
    run.folder, run.log = folder, log
    trip = Trip(run, sink)
    assert trip.go(), trip.told
    with RecordReader(folder) as record:
        recorded: list[tuple[str, int]] = []
        while lines := record.read():
            events = [line.event() for line in lines]
            recorded += [(event["event.id"], event["event.sequence"]) for event in events]
    everything = [(name, sequence) for _, name, sequence in [*arrived, *sink.arrived]]
    assert set(everything) == set(recorded), (sorted(left), trip.told)
    assert len({sequence for _, sequence in everything}) == len(set(everything)), "a number was used twice"
    assert len(everything) - len(set(everything)) <= BATCH
    assert (trip.shipper.lost, trip.shipper.damage) == (0, "")
    shutil.rmtree(place)
