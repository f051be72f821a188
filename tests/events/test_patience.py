"""A disk that takes nothing for a while: waited for within a bound, told, and nothing of the record missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from harness.events import EventLog
from harness.events.log import RecordWriteError
from harness.events.patience import DiskPatience
from harness.soak.trials import TrialsError, TrialsFile, read_trials
from tests.clocks import ManualClock


def _patience(clock: ManualClock, said: list[str], *, is_over: Callable[[], bool] = lambda: False) -> DiskPatience:
    return DiskPatience(60.0, said.append, is_over=is_over, clock=clock, pause=clock.pause)


def _failing(numbers: Iterator[int | None], write: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    def failing(fd: int, data: bytes) -> int:
        number = next(numbers, None)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return write(fd, data)

    return failing


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_the_record_goes_on_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clock, said = ManualClock(0.0, 1.7e9), list[str]()
    log = EventLog(tmp_path / "events.jsonl", run="r", patience=_patience(clock, said))
    log.emit("run.note", "before")
    failures = iter([number] * 10)
    monkeypatch.setattr("harness.events.writer.os.write", _failing(failures, os.write))
    log.emit("run.note", "after")
    log.close()
    events = [orjson.loads(line) for line in (tmp_path / "events.jsonl").read_bytes().splitlines()]
    assert [event["message"] for event in events[:2]] == ["before", "after"]
    assert events[2]["event.action"] == "record.waited"
    assert [event["event.sequence"] for event in events] == [1, 2, 3]
    assert len(said) == 2, "once at the beginning, once at the end"
    assert os.strerror(number) in said[0]
    assert "waiting for up to 60 s" in said[0]
    assert clock.now == 5.0


@pytest.mark.parametrize(
    ("number", "cancelled", "most"), [(errno.ENOSPC, False, 61.0), (errno.EFBIG, False, 0.0), (errno.ENOSPC, True, 0.0)]
)
def test_it_ends_as_ever_when_the_time_is_over_or_waiting_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cancelled: bool, most: float
) -> None:
    clock, said = ManualClock(0.0, 1.7e9), list[str]()
    patience = _patience(clock, said, is_over=lambda: cancelled)
    log = EventLog(tmp_path / "events.jsonl", run="r", patience=patience)
    monkeypatch.setattr("harness.events.writer.os.write", _failing(iter([number] * 1000), os.write))
    with pytest.raises(RecordWriteError, match=os.strerror(number)):
        log.emit("run.note", "lost")
    assert clock.now <= most
    log.close()


def test_a_soaks_trials_are_waited_for_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = ManualClock(0.0, 1.7e9), list[str]()
    file = TrialsFile(tmp_path, patience=_patience(clock, said))
    failing = _failing(iter([errno.ENOSPC, errno.ENOSPC]), os.write)
    monkeypatch.setattr("harness.soak.trials.os.write", failing)
    file.began(1, "vm1", 5.0)
    file.ended(1, "vm1", 6.0)
    file.close()
    assert read_trials(tmp_path).ended == {(1, "vm1"): 6.0}
    assert len(said) == 2

    full = TrialsFile(tmp_path, patience=_patience(clock, said))
    monkeypatch.setattr("harness.soak.trials.os.write", _failing(iter([errno.ENOSPC] * 1000), os.write))
    with pytest.raises(TrialsError, match="No space"):
        full.began(2, "vm1", 7.0)
    full.close()
