"""The record's file is taken away, replaced, emptied or put back while it is written: noticed, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.events import EventLog
from harness.events.log import RecordWriteError
from harness.events.reader import RecordReader
from tests.clocks import ManualClock


class Written:
    """A record that is being written, a second for each event."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(1e9)
        self.path = folder / "events.jsonl"
        self.failures: list[RecordWriteError] = []
        self.log = EventLog(self.path, run="r", clock=self.clock, on_failure=self.failures.append)

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.now += 1
            self.log.emit("ssh.library", "a line")

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def check(self, words: str) -> None:
        events = self.events()
        assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
        (trouble,) = [event for event in events if event["event.action"] == "record.trouble"]
        assert words in str(trouble["message"])
        assert self.path.stat().st_mode & 0o077 == 0


@pytest.fixture
def written(tmp_path: Path) -> Written:
    written = Written(tmp_path)
    written.write(3)
    return written


@pytest.mark.parametrize("more", [0, 2], ids=["at the end", "while it is written"])
def test_a_file_that_was_removed_is_written_again(written: Written, more: int) -> None:
    written.path.unlink()
    written.write(more)
    written.log.close()
    written.check("was removed or moved away")
    assert len(written.events()) == 4 + more


def test_a_file_that_was_replaced_is_set_aside(written: Written, tmp_path: Path) -> None:
    shutil.copy(written.path, tmp_path / "copy")
    written.write(2)
    (tmp_path / "copy").rename(written.path)
    written.write()
    written.log.close()
    written.check("was replaced by another file")
    (aside,) = tmp_path.glob("events.replaced.*")
    assert len(aside.read_text().splitlines()) == 3


def test_a_file_that_was_emptied_ends_the_record_with_an_error(written: Written) -> None:
    written.path.write_text("")
    written.write(2)
    (failure,) = written.failures
    assert "was cut" in failure.message
    written.log.close()


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    written = Written(tmp_path / "run")
    written.write()
    shutil.rmtree(tmp_path / "run")
    written.log.close()
    assert len(written.failures) == 1


def test_a_reader_goes_on_when_the_file_comes_back(written: Written, tmp_path: Path) -> None:
    reader = RecordReader(tmp_path)
    assert [line.sequence for line in reader.read()] == [1, 2, 3]
    written.path.rename(tmp_path / "away")
    assert reader.read() == []
    assert reader.read() == []
    (tmp_path / "away").rename(written.path)
    written.write(2)
    assert [line.sequence for line in reader.read()] == [4, 5]
    written.path.unlink()
    assert reader.read() == []
    written.write(2)
    assert [line.sequence for line in reader.read()] == [6, 7, 8]
    written.log.close()
    reader.close()


def test_what_was_moved_away_and_put_back_in_time_is_no_trouble(written: Written, tmp_path: Path) -> None:
    written.path.rename(tmp_path / "away")
    (tmp_path / "away").rename(written.path)
    written.write(2)
    written.log.close()
    assert [event["event.sequence"] for event in written.events()] == [1, 2, 3, 4, 5]
