"""Records to ship, and a shipper that waits for nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from harness.deadline import Cancellation
from harness.errors import Cancelled
from harness.events import EventLog
from harness.events.reader import RecordReader
from harness.events.writer import Rotation
from harness.ship.event import Event
from harness.ship.registry import open_sink
from harness.ship.shipper import Shipper
from harness.ship.sink import Sink


class Run:
    """A run's folder with a record that a test writes."""

    def __init__(self, folder: Path, rotation: Rotation | None = None) -> None:
        folder.mkdir()
        self.folder = folder
        self.log = EventLog(folder / "events.jsonl", run=folder.name, rotation=rotation)
        self.log.emit("run.start", "begins", argv=["test"], version="0", plan={"targets": []})

    def say(self, *lines: str, target: str = "vm1") -> None:
        for line in lines:
            self.log.emit("console.line", line, target=target, console="ttyS0", text=line)

    def end(self) -> None:
        self.log.emit("run.end", "is over", duration=1.0, exit_code=0, counts={})
        self.log.close()

    def lines(self) -> list[bytes]:
        """What stands in the record."""
        found: list[bytes] = []
        with RecordReader(self.folder) as reader:
            while lines := reader.read():
                found += [line.raw for line in lines]
        return found

    def events(self) -> list[Event]:
        found: list[Event] = []
        with RecordReader(self.folder) as reader:
            while lines := reader.read():
                found += [Event(line.raw, line.event(), line.position) for line in lines]
        return found

    def ids(self) -> list[str]:
        return [event.id for event in self.events()]

    def rejected(self) -> list[dict[str, object]]:
        path = self.folder / "rejected.jsonl"
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class Trip:
    """Ships a run in the test's own thread, without waiting: each pause that is asked for is kept in `pauses`."""

    def __init__(self, run: Run, sink: Sink, *, most: int = 50) -> None:
        self.told: list[str] = []
        self.pauses: list[float] = []
        self.at_pause: Callable[[int], None] = lambda number: None
        self._most = most
        self.cancellation = Cancellation()
        self.shipper = Shipper(
            run.folder,
            sink,
            name="sink",
            key="sink",
            told=self.told.append,
            cancellation=self.cancellation,
            timeout=10.0,
            follow=False,
            sleep=self._sleep,
        )

    def go(self) -> bool:
        """Whether it came to the end, and not to the pause that is one too many."""
        try:
            self.shipper.ship()
        except Cancelled:
            return False
        finally:
            self.shipper.close()
        return True

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at_pause(len(self.pauses))
        if len(self.pauses) >= self._most:
            raise Cancelled("too many pauses")


def ship(run: Run, url: str) -> Trip:
    """Ships a finished record to where the URL says."""
    trip = Trip(run, open_sink(url).sink)
    assert trip.go(), trip.told
    return trip
