"""A record with missing, damaged and truncated files: what can be read is shipped, and what cannot is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from harness.cli.main import main
from harness.events import EventLog
from harness.events.identity import event_id_at
from harness.events.reader import Position, RecordReader
from harness.events.segments import scan
from harness.events.writer import Rotation
from harness.ship.checkpoint import Checkpoint, confirmed, highest
from tests.ship.runs import Run, Trip
from tests.ship.test_shipper import Scripted

ROOT = Path(__file__).parents[2]


@pytest.fixture
def segmented(tmp_path: Path) -> Iterator[Run]:
    """A finished record of 60 events in several compressed files and the last one."""
    run = Run(tmp_path / "run", Rotation(size=5000))
    run.say(*(f"line {number} {os.urandom(20).hex()}" for number in range(58)))
    run.end()
    assert len(compressed(run)) >= 4
    yield run
    shutil.rmtree(run.folder)  # whole records only are left to those checks that every test's record is put to


def compressed(run: Run) -> list[Path]:
    return sorted(run.folder.glob("events.*.jsonl.gz"))


def shipped(run: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, object]], str]:
    """`harness ship` to a file: the exit code, the events, and what was said."""
    code = main(["ship", str(run.folder), "--to", f"file:{out}"])
    lines = out.read_bytes().splitlines() if out.exists() else []
    return code, [orjson.loads(line) for line in lines], capsys.readouterr().err


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 40):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def overwrite(path: Path) -> None:
    path.write_bytes(b"not a gzip file at all\n" * 20)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE = [remove, truncate, empty, flip, overwrite, make_folder]


@pytest.mark.parametrize("harm", DAMAGE)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_can_be_read_is_shipped_and_the_gap_is_told(
    segmented: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None], which: int
) -> None:
    before = {event.sequence: event.id for event in segmented.events()}
    harm(path := compressed(segmented)[which])
    out = tmp_path / "out.jsonl"
    code, events, said = shipped(segmented, out, capsys)
    gaps = [event for event in events if event["event.action"] == "record.gap"]
    own = {event["event.sequence"]: event["event.id"] for event in events if event not in gaps}
    missing = sorted(before.keys() - own.keys())
    assert missing, "something was lost"
    assert own.items() <= before.items()
    assert [(gap["harness.first_missing"], gap["harness.last_missing"]) for gap in gaps] == [(missing[0], missing[-1])]
    assert missing == list(range(missing[0], missing[-1] + 1))
    segment_first = int(path.name.split(".")[1])
    assert missing[0] >= segment_first
    assert code == 1
    assert f"{len(missing)} events ({missing[0]} to {missing[-1]}) are no longer in the record" in said
    assert f"{len(missing)} were no longer in the record" in said
    if harm is not remove:
        assert path.name in said
    again, more, said = shipped(segmented, out, capsys)
    assert again == 1, "what is lost stays lost"
    assert more == events
    assert f"{len(missing)} were no longer in the record" in said


@pytest.mark.parametrize("harm", [truncate, empty, flip, overwrite])
def test_a_damaged_end(
    segmented: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None]
) -> None:
    before = segmented.ids()
    (segmented.folder / "events.jsonl").unlink()
    harm(path := compressed(segmented)[-1])
    out = tmp_path / "out.jsonl"
    code, events, said = shipped(segmented, out, capsys)
    gap = events.pop()
    assert [event["event.id"] for event in events] == before[: len(events)]
    assert gap["event.action"] == "record.gap"
    assert gap["harness.first_missing"] == len(events) + 1
    assert "harness.last_missing" not in gap
    assert code == 1
    assert f"{path.name} is damaged" in said
    assert "the end of the record cannot be read" in said
    again, more, _ = shipped(segmented, out, capsys)
    assert (again, more) == (1, [*events, gap])


def test_the_advice_works(segmented: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is put back, and the command that was printed sends everything."""
    before = segmented.ids()
    path = compressed(segmented)[1]
    kept = path.read_bytes()
    truncate(path)
    out = tmp_path / "out.jsonl"
    code, _, said = shipped(segmented, out, capsys)
    assert code == 1
    path.write_bytes(kept)
    command = said.partition("send the record anew with: ")[2].strip()
    done = subprocess.run(
        command.replace("harness ship", f"{sys.executable} -m harness ship"),
        shell=True,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {line["event.id"] for line in map(orjson.loads, out.read_bytes().splitlines())} >= set(before)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 64])
def test_a_checkpoint_that_is_none(
    segmented: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    out = tmp_path / "out.jsonl"
    assert shipped(segmented, out, capsys)[0] == 0
    (checkpoint,) = (segmented.folder / "ship").glob("*.json")
    checkpoint.write_bytes(content)
    code, events, said = shipped(segmented, out, capsys)
    assert code == 0
    assert [event["event.id"] for event in events] == segmented.ids() * 2
    assert f"{checkpoint} is no checkpoint" in said
    assert "drop that by event.id" in said


@pytest.mark.parametrize("more", [2, 8, 40])
def test_a_record_that_lost_its_end_and_went_on_is_shipped_by_identity(tmp_path: Path, more: int) -> None:
    """What was acknowledged vanished from the record (a disk that lied, a copy that was put back), and its numbers were
    used again: the new events are other events, and arrive, whether they reach the old numbers or not."""
    run = Run(tmp_path / "run")
    run.say(*(f"line {number}" for number in range(30)))
    sink = Scripted(batch=4)
    assert Trip(run, sink).go()
    run.log.close()
    path = run.folder / "events.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines()[:17]))
    run.log = EventLog(path, run="run")
    run.say(*(f"again {number}" for number in range(more)))
    run.end()
    later = Scripted(batch=4)
    trip = Trip(run, later)
    assert trip.go()
    assert "event 31 of the record is not the one that sink has acknowledged" in trip.told[0]
    assert set(range(18, 19 + more)) <= set(later.taken)
    assert len(later.taken) <= more + 1 + 4, "at most one batch arrives twice"


def test_numbers_that_a_sink_has_are_not_used_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.say(*(f"line {number}" for number in range(30)))
    assert Trip(run, Scripted()).go()
    run.log.close()
    path = run.folder / "events.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines()[:17]))
    run.log = EventLog(path, run="run", used=lambda: highest(run.folder))
    run.end()
    assert [event.sequence for event in run.events()] == [*range(1, 18), 32, 33]
    gap = run.events()[17].record
    assert (gap["event.action"], gap["harness.first_missing"], gap["harness.last_missing"]) == ("record.gap", 18, 31)
    later = Scripted()
    trip = Trip(run, later)
    assert trip.go()
    assert (later.taken, trip.shipper.lost) == ([32, 33], 0)


def test_a_truncated_last_file_can_be_resumed(segmented: Run) -> None:
    (segmented.folder / "events.jsonl").unlink()
    truncate(compressed(segmented)[-1])
    with RecordReader(segmented.folder, salvage=True) as reader:
        last = 0
        while lines := reader.read():
            last = lines[-1].sequence
    log = EventLog(segmented.folder / "events.jsonl", run="run")
    log.emit("console.line", "more", target="vm1", console="ttyS0", text="more")
    log.close()
    assert scan(segmented.folder).segments[-1].first > last


def test_anchors_are_bounded_and_reach_far_back() -> None:
    made = Checkpoint("sink")
    for number in range(1, 5000):
        made = made.moved(Position(number), f"{number:026d}")
        assert len(made.anchors) <= 32
        assert made.anchors[-1][0] == number
    assert made.anchors[0][0] < 100
    assert list(made.anchors) == sorted(made.anchors)


def test_the_hint_is_only_a_hint(segmented: Run) -> None:
    for event in segmented.events():
        for position in (event.position, Position(event.sequence), replace(event.position, offset=7)):
            assert event_id_at(segmented.folder, position) == event.id
    assert event_id_at(segmented.folder, Position(0)) == ""
    assert event_id_at(segmented.folder, Position(10_000)) == ""
    whole = Checkpoint("sink").moved(segmented.events()[30].position, segmented.ids()[30])
    assert confirmed(segmented.folder, whole) == whole
