from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness.errors import UsageError
from harness.events import EventLog
from harness.events.keeper import compress, removable, tend
from harness.events.lock import has_writer
from harness.events.log import RecordWriteError
from harness.events.reader import DamagedRecord, Line, Position, RecordReader
from harness.events.segments import LIVE, Segment, index, rotated_name, scan, sequence_of
from harness.events.tail import last_sequence, tail, tail_of
from harness.events.writer import RecordWriter, Rotation
from tests.clocks import ManualClock

NO_ROTATION = Rotation(size=1 << 40, age=float("inf"))


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outside of tmp_path, where all events are held against the schema: the lines here are shorter than events."""
    return tmp_path_factory.mktemp("record")


def line(sequence: int, action: str = "run.note", text: str = "") -> bytes:
    return json.dumps({"message": text, "event.sequence": sequence, "event.action": action}).replace(
        ": ", ":", 99
    ).encode() + b"\n"  # fmt: skip


def write(writer: RecordWriter, count: int, **fields: str) -> None:
    for sequence in range(writer.last + 1, writer.last + 1 + count):
        writer.write(line(sequence, **fields), sequence)


def everything(reader: RecordReader, most: int = 1 << 20) -> list[Line]:
    found: list[Line] = []
    while lines := reader.read(most):
        found += lines
    return found


def sequences(folder: Path, position: Position | None = None) -> list[int]:
    with RecordReader(folder, position) as reader:
        return [each.sequence for each in everything(reader)]


def state(reader: RecordReader) -> str:
    return reader.state.value


# -- the index --------------------------------------------------------------------------------------------------------


@given(st.sets(st.integers(1, 10**13), min_size=1), st.integers(1, 10**13), st.data())
def test_the_index_says_which_segment_holds_an_event(firsts: set[int], wanted: int, data: st.DataObject) -> None:
    live = max(firsts)
    names = []
    for first in firsts - {live}:
        forms = data.draw(st.sampled_from([("",), (".gz",), ("", ".gz")]))
        names += [rotated_name(first) + form for form in forms]
    found = index(Path("/run"), [*data.draw(st.permutations(names)), "events.lock", "results.json"], live)
    assert [segment.first for segment in found.segments] == sorted(firsts)
    assert all(segment.live == (segment.first == live) for segment in found.segments)
    holding = found.holding(wanted)
    assert holding is not None
    at_or_before = [first for first in firsts if first <= wanted]
    assert holding.first == (max(at_or_before) if at_or_before else min(firsts))
    last = found.last(holding)
    assert (last is None) == (holding.first == live)
    if at_or_before and last is not None:
        assert holding.first <= wanted <= last
    for name in names:  # as it was, where both are there
        if name.endswith(".gz") and name.removesuffix(".gz") in names:
            assert found.segments[sorted(firsts).index(int(name[7:20].partition(".")[0]))].path.suffix == ".jsonl"


@given(st.integers(1, 10**15))
def test_names_sort_as_their_numbers_do(first: int) -> None:
    (segment,) = index(Path(), [rotated_name(first)], None).segments
    assert segment.first == first
    assert first >= 10**11 or rotated_name(first) < rotated_name(first + 1)


@given(st.text(), st.integers(1, 10**18 - 2))
def test_a_message_cannot_pose_as_the_sequence(text: str, sequence: int) -> None:
    text += f'"event.sequence":{sequence + 1},'
    assert sequence_of(line(sequence, text=text)) == sequence


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(0, 20000), st.none() | st.integers(0, 1000))
def test_what_is_removed_is_old_acknowledged_and_no_more_than_needed(
    sizes: list[int], keep: int, acknowledged: int | None
) -> None:
    names = [rotated_name(1 + 50 * place) for place in range(len(sizes) - 1)]
    found = index(Path("/run"), names, 1 + 50 * (len(sizes) - 1))
    weights = dict(zip(found.segments, sizes, strict=True))
    going = removable(found, weights, keep, acknowledged)
    assert going == list(found.segments[: len(going)])
    assert not any(segment.live for segment in going)
    for segment in going:
        assert acknowledged is None or (found.last(segment) or 0) <= acknowledged
    if going:
        assert sum(sizes) - sum(weights[each] for each in going[:-1]) > keep


@given(st.integers(0, 100), st.floats(0, 100), st.integers(1, 100))
def test_a_file_is_turned_over_when_it_is_full_or_old_and_never_when_empty(size: int, age: float, more: int) -> None:
    due = Rotation(size=50, age=60).due(size, age, more)
    assert due == (size > 0 and (size + more > 50 or age >= 60))


# -- the end of a file ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 300), max_size=8), st.binary(max_size=200))
def test_the_end_of_a_file_is_found(texts: list[int], torn: bytes) -> None:
    whole = b"".join(line(place, text="x" * size) for place, size in enumerate(texts, 1))
    found = tail(whole + torn)
    assert (found.sequence, found.end) == (len(texts), len(whole))
    assert found.rest == torn


@pytest.mark.parametrize("size", [0, 1, 65_000, 70_000, 700_000])
@pytest.mark.parametrize("form", ["", ".gz"])
def test_the_last_event_of_a_long_file_is_found(folder: Path, size: int, form: str) -> None:
    path = folder / f"events.jsonl{form}"
    data = line(1) + line(2, text="y" * size) + b'{"torn'
    path.write_bytes(gzip.compress(data) if form else data)
    found = tail_of(path)
    assert (found.sequence, found.rest) == (2, b'{"torn')


# -- writing and reading ----------------------------------------------------------------------------------------------


class Record(RuleBasedStateMachine):
    """A writer, its keeper and two readers at any point of their ways; what is read is always 1, 2, 3… without gaps."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.written = 0
        self.torn = False
        self.writer: RecordWriter | None = None
        self.open()
        self.readers = [RecordReader(self.folder), RecordReader(self.folder)]
        self.read_so_far = [0, 0]

    def open(self) -> None:
        # Compression is a rule of its own here, so that it happens between any two other steps.
        self.writer = RecordWriter(self.folder / LIVE, Rotation(size=400, compress=False))
        assert self.writer.last == self.written
        assert (self.writer.torn is not None) == self.torn
        self.torn = False

    @rule(count=st.integers(1, 8), size=st.sampled_from([0, 10, 500]))
    def write(self, count: int, size: int) -> None:
        if self.writer is None:
            self.open()
        assert self.writer is not None
        write(self.writer, count, text="z" * size)
        self.written = self.writer.last

    @rule()
    def compress(self) -> None:
        tend(self.folder)

    @rule(data=st.data())
    def compress_killed_before_the_old_one_is_removed(self, data: st.DataObject) -> None:
        plain = [each.path for each in scan(self.folder).segments if not each.live and not each.compressed]
        if plain:
            path = data.draw(st.sampled_from(plain))
            before = path.read_bytes()
            compress(path)
            path.write_bytes(before)

    @rule(garbage=st.binary(max_size=30).filter(lambda data: b"\n" not in data))
    def power_cut(self, garbage: bytes) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
            with (self.folder / LIVE).open("ab") as file:
                file.write(garbage)
            self.torn = bool(garbage)

    @rule(which=st.integers(0, 1), most=st.sampled_from([1, 50, 1000, 1 << 20]))
    def read(self, which: int, most: int) -> None:
        for each in self.readers[which].read(most):
            assert each.sequence == self.read_so_far[which] + 1
            assert sequence_of(each.raw) == each.sequence
            self.read_so_far[which] += 1

    @rule(which=st.integers(0, 1), hint=st.booleans(), lie=st.booleans())
    def begin_a_reader_anew(self, which: int, hint: bool, lie: bool) -> None:
        old = self.readers[which]
        old.close()
        at = old.position
        if lie:
            at = Position(at.sequence, at.segment + 1, max(0, at.offset - 3))
        self.readers[which] = RecordReader(self.folder, at if hint else Position(at.sequence))

    @invariant()
    def all_can_be_read(self) -> None:
        assert sequences(self.folder) == list(range(1, self.written + 1))

    def teardown(self) -> None:
        for which in range(2):
            while lines := self.readers[which].read():
                self.read_so_far[which] += len(lines)
            assert self.read_so_far[which] == self.written
            assert self.readers[which].missing == 0
            self.readers[which].close()
        if self.writer is not None:
            self.writer.close()
        self._temporary.cleanup()


TestRecord = Record.TestCase
TestRecord.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


class Killed(BaseException):
    """A process that ends between two system calls."""


CALLS = ("write", "rename", "unlink", "open", "close", "fsync", "truncate")


@pytest.mark.parametrize("nth", range(1, 40))
def test_killed_before_any_system_call_the_record_is_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    rotation = Rotation(size=200, compress=False)
    calls = 0

    def counted(real: Callable[..., Any]) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise Killed
            return real(*arguments, **keywords)

        return call

    def live() -> Iterator[int]:
        writer = RecordWriter(folder / LIVE, rotation)
        for sequence in range(1, 9):
            writer.write(line(sequence, text="q" * 60), sequence)
            yield sequence
            if sequence % 3 == 0:
                tend(folder)
        writer.close()

    written = 0
    with monkeypatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, counted(getattr(os, name)))
        try:
            for written in live():  # noqa: B007
                pass
        except Killed:
            pass
        else:
            assert nth > 30, "all system calls were tried"
    found = sequences(folder)
    assert found in (list(range(1, written + 1)), list(range(1, written + 2)))
    lock = folder / "events.lock"
    lock.unlink(missing_ok=True)  # in this process nobody has died, so the mark is still held
    writer = RecordWriter(folder / LIVE, Rotation(size=200))
    write(writer, 5)
    writer.close()
    assert sequences(folder) == list(range(1, len(found) + 6))
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


WRITES_UNTIL_KILLED = """
import sys
from pathlib import Path
from harness.events import EventLog
from harness.events.writer import Rotation
log = EventLog(Path(sys.argv[1]), run="r", rotation=Rotation(size=20_000))
print("open", flush=True)
while True:
    log.emit("run.note", "x" * 50)
"""


def test_killed_while_it_writes_turns_over_and_compresses_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / LIVE
    seen = 0
    reader = RecordReader(tmp_path)
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITES_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        goal = seen + 500
        while seen < goal:
            for each in reader.read():
                seen += 1
                assert each.sequence == seen
            assert state(reader) == "growing"
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    for each in everything(reader):
        seen += 1
        assert each.sequence == seen
    assert state(reader) == "left"
    assert reader.missing == 0
    reader.close()
    assert sequences(tmp_path) == list(range(1, seen + 1))
    log = EventLog(path, run="r")
    log.emit("run.end", "done", duration=1.0, exit_code=0, counts={})
    log.close()
    assert not [each for each in scan(tmp_path).segments if not each.live and not each.compressed]
    with RecordReader(tmp_path) as reader:
        assert len(everything(reader)) >= seen + 1
        assert state(reader) == "ended"


def test_the_files_are_their_owners_only(folder: Path) -> None:
    writer = RecordWriter(folder / LIVE, Rotation(size=100))
    write(writer, 10)
    writer.close()
    names = {path.name for path in folder.iterdir()}
    assert rotated_name(1) + ".gz" in names
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_record_is_turned_over_by_age(folder: Path) -> None:
    clock = ManualClock(0.0)
    writer = RecordWriter(folder / LIVE, Rotation(age=60, compress=False), clock=clock)
    for now in (0, 59, 60, 61, 119, 120):
        clock.now = now
        write(writer, 1)
    writer.close()
    assert [segment.first for segment in scan(folder).segments] == [1, 3, 6]


def test_a_reader_knows_what_kind_of_end_it_is_at(folder: Path) -> None:
    reader = RecordReader(folder)
    assert (reader.read(), state(reader)) == ([], "left")
    writer = RecordWriter(folder / LIVE, NO_ROTATION)
    assert has_writer(folder)
    assert (reader.read(), state(reader)) == ([], "growing")
    write(writer, 2)
    assert [each.sequence for each in reader.read()] == [1, 2]
    write(writer, 1, action="run.end")
    assert [each.sequence for each in reader.read()] == [3]
    assert (reader.read(), state(reader)) == ([], "ended")
    writer.close()
    for position in (reader.position, Position(3)):
        with RecordReader(folder, position) as later:
            assert (later.read(), state(later)) == ([], "ended")
    reader.close()


def test_a_line_that_is_being_written_is_not_read(folder: Path) -> None:
    whole = line(2, text="w" * 3000)
    (folder / LIVE).write_bytes(line(1))
    reader = RecordReader(folder)
    assert len(reader.read()) == 1
    with (folder / LIVE).open("ab", buffering=0) as file:
        file.write(whole[:2000])
        assert reader.read() == []
        file.truncate(len(line(1)))  # its writing failed, and was taken back
        file.write(whole)
    assert [each.raw + b"\n" for each in reader.read()] == [whole]
    reader.close()


def test_a_position_that_a_power_cut_took_is_taken_back_to_the_last_event(folder: Path) -> None:
    writer = RecordWriter(folder / LIVE, NO_ROTATION)
    write(writer, 3)
    reader = RecordReader(folder, Position(7, 1, 5000))
    assert reader.read() == []
    assert reader.position == Position(3, 1, 3 * len(line(1)))
    write(writer, 2)
    assert [each.sequence for each in reader.read()] == [4, 5]
    assert reader.missing == 0
    reader.close()
    writer.close()


def test_a_damaged_line_is_given_as_it_is_and_holds_up_no_other(folder: Path) -> None:
    (folder / LIVE).write_bytes(line(1) + b"\0\0\0{\n" + line(2) + b"[1]\n")
    with RecordReader(folder) as reader:
        found = everything(reader)
    assert [each.sequence for each in found] == [1, 1, 2, 2]
    for bad in (found[1], found[3]):
        with pytest.raises(DamagedRecord, match="no event"):
            bad.event()
    assert found[2].event()["event.sequence"] == 2


def test_a_damaged_compressed_segment_is_told_with_its_name(folder: Path) -> None:
    packed = gzip.compress(b"".join(line(each) for each in range(1, 500)))
    (folder / (rotated_name(1) + ".gz")).write_bytes(packed[: len(packed) // 2])
    with RecordReader(folder) as reader, pytest.raises(DamagedRecord, match=r"events\.000000000001\.jsonl\.gz"):
        everything(reader)


def settled(writer: RecordWriter) -> None:
    """Waits for what is done beside the writing, and lets more of it be done."""
    writer.settle()
    assert writer._keeper is not None
    writer._keeper._closed = False


def test_retention_removes_the_oldest_and_never_what_a_sink_still_needs(folder: Path) -> None:
    acknowledged = 0
    size = len(line(1)) * 10
    writer = RecordWriter(
        folder / LIVE, Rotation(size=size, compress=False, keep=3 * size), acknowledged=lambda: acknowledged
    )
    write(writer, 100)
    settled(writer)
    assert sequences(folder) == list(range(1, 101))
    acknowledged = 45
    write(writer, 10)
    settled(writer)
    kept = sequences(folder)
    assert kept[0] <= 46
    assert kept == list(range(kept[0], 111))
    assert kept[0] > 30
    acknowledged = 1000
    write(writer, 10)
    settled(writer)
    writer.close()
    with RecordReader(folder, Position(5)) as reader:
        kept = [each.sequence for each in everything(reader)]
        assert len(kept) <= 40
        assert reader.missing == kept[0] - 6
    # Looked at when a file is turned over: the one being written may grow to its full size after that.
    assert sum(each.stat().st_size for each in folder.glob("events*jsonl")) <= 4 * size


def test_one_record_has_one_writer(folder: Path) -> None:
    writer = RecordWriter(folder / LIVE)
    with pytest.raises(UsageError, match="another process is writing"):
        RecordWriter(folder / LIVE)
    writer.close()
    RecordWriter(folder / LIVE).close()


def test_a_record_that_cannot_be_turned_over_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / LIVE, run="r", rotation=Rotation(size=2000))
    log.emit("run.note", "one")

    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refused)
        for number in range(20):
            log.emit("run.note", str(number))
    for number in range(20):
        log.emit("run.note", str(number))
    log.close()
    with RecordReader(tmp_path) as reader:
        events = [each.event() for each in everything(reader)]
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    troubles = [event for event in events if event["event.action"] == "record.trouble"]
    assert 1 <= len(troubles) <= 4
    assert "No space left" in troubles[0]["message"]
    assert len(scan(tmp_path).segments) > 1


def test_a_record_that_was_torn_is_gone_on_with(tmp_path: Path) -> None:
    log = EventLog(tmp_path / LIVE, run="r")
    log.emit("run.note", "one")
    log.close()
    with (tmp_path / LIVE).open("ab") as file:
        file.write(b'{"@timestamp":"2026-')
    log = EventLog(tmp_path / LIVE, run="r")
    log.emit("run.note", "two")
    log.close()
    events = [json.loads(each) for each in (tmp_path / LIVE).read_bytes().splitlines()]
    assert [(event["event.sequence"], event["event.action"]) for event in events] == [
        (1, "run.note"), (2, "record.torn"), (3, "run.note")
    ]  # fmt: skip
    assert "events.torn.000000000002" in events[1]["message"]
    assert (tmp_path / "events.torn.000000000002").read_bytes() == b'{"@timestamp":"2026-'


def test_a_segment_that_is_nowhere_is_opened_under_its_new_name(folder: Path) -> None:
    writer = RecordWriter(folder / LIVE, Rotation(size=300, compress=False))
    write(writer, 30)
    reader = RecordReader(folder)
    first = reader.read(100)
    tend(folder)  # the reader has the first segment open; the second changes its name before it is opened
    rest = everything(reader)
    assert [each.sequence for each in first + rest] == list(range(1, 31))
    assert isinstance(scan(folder).segments[0], Segment)
    assert scan(folder).segments[0].compressed
    reader.close()
    writer.close()


@pytest.mark.parametrize("when", ["before", "half-way", "after"])
def test_a_ctrl_c_in_the_middle_of_a_write_leaves_no_gap_and_no_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    log = EventLog(tmp_path / LIVE, run="r")
    log.emit("run.note", "one")

    real_write = os.write

    def interrupted(fd: int, data: bytes) -> int:
        if when != "before":
            real_write(fd, data[: len(data) // 2] if when == "half-way" else data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("harness.events.writer.os.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.emit("run.note", "two")
    log.emit("run.note", "three")
    log.close()
    events = [json.loads(each) for each in (tmp_path / LIVE).read_bytes().splitlines()]
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["message"] for event in events] == (["one", "two", "three"] if when == "after" else ["one", "three"])


def test_a_segment_that_cannot_be_compressed_is_told_and_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    log = EventLog(tmp_path / LIVE, run="r", rotation=Rotation(size=2000))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for number in range(20):
            log.emit("run.note", str(number))
        with pytest.raises(RecordWriteError, match="cannot be brought to the disk: No space left"):
            log.close()
    assert not list(tmp_path.glob("*.gz")) + list(tmp_path.glob(".*"))
    with RecordReader(tmp_path) as reader:
        events = [each.event() for each in everything(reader)]
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    troubles = [event["message"] for event in events if event["event.action"] == "record.trouble"]
    assert troubles
    assert "No space left" in troubles[0]


def test_the_last_event_of_a_record_is_found(folder: Path) -> None:
    assert last_sequence(folder) == 0
    writer = RecordWriter(folder / LIVE, Rotation(size=300))
    for count in range(1, 12):
        write(writer, 1)
        assert last_sequence(folder) == count
    writer.close()
    (folder / LIVE).write_bytes(b"")
    assert last_sequence(folder) < 11


def test_events_that_come_while_a_record_is_closed_are_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / LIVE, run="r", rotation=Rotation(size=20_000))
    stop = threading.Event()
    failed: list[BaseException] = []

    def write_on() -> None:
        try:
            while not stop.is_set():
                log.emit("run.note", "x" * 100)
        except RecordWriteError:
            pass  # it is closed by now
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(scan(tmp_path).segments) < 3:
        stop.wait(0.01)
    log.close()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    found = sequences(tmp_path)
    assert found == list(range(1, len(found) + 1))
