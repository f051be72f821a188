"""What the record costs: events a second, beside a bare `orjson.dumps` and `os.write` of the same lines.

    python -m benchmarks.record [--events N]
    python -m benchmarks.record --share run -i inventories/local.ini checks/sshd

The first writes N events of a run's mix (console lines, commands, attempts) through the whole way: emitter, structlog,
envelope, five known secrets, one write each, turning over and compression; then it reads them back. The two writers
take turns, round by round, so that a busy moment of the machine does not meet only one of them. The second is a whole
`harness run` with a clock around each event: the share of the run's own CPU (not its machines') that goes into events,
without and with those who read them on the spot (the terminal, the reader of findings).
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import orjson

from harness.events import Emitter, EventLog
from harness.events.log import Subscriber
from harness.events.reader import RecordReader
from harness.events.writer import Rotation

ROUNDS = 10
WANTED = 30_000  # events a second on one core


def emit(target: Emitter, check: Emitter, number: int) -> None:
    """One of a run's mix."""
    if number % 10 == 8:
        check.emit(
            "command", "exit status 0", transport="ssh", command=f"systemctl show -p ActiveState,SubState unit{number}",
            exit_status=0, duration=0.0123, stdout_bytes=181, stderr_bytes=0, damage={}, attempts=1, fell_back_from=[],
        )  # fmt: skip
    elif number % 10 == 9:
        check.emit(
            "attempt.end", f"m::c attempt 1: unit{number} is active", level="debug", attempt=1, outcome="passed",
            duration=0.0234, seen=f"unit{number} is active", final=True,
        )  # fmt: skip
    else:
        text = f"[  123.{number:06d}] systemd[1]: Started unit{number}.service - Something or other."
        target.emit("console.line", text, text=text, console="vm1")


def measure(events: int, folder: Path) -> int:
    log = EventLog(folder / "events.jsonl", run="20261123T033958Z-4d9857", rotation=Rotation())
    for number in range(5):
        log.add_secret(f"a secret of number {number}")
    target = log.bind(target="vm1")
    check = target.bind(module="m", check="c", attempt=1)
    fd = os.open(folder / "bare.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    emit(target, check, 0)  # what is made once
    with RecordReader(folder) as reader:
        for kind in (0, 8, 9):
            emit(target, check, kind)
        lines = [line.event() for line in reader.read()][1:]
    mix = [lines[0]] * 8 + [lines[1], lines[2]]
    ours = bare = wall = 0.0
    for _ in range(ROUNDS):
        began, at = time.process_time(), time.perf_counter()
        for number in range(events // ROUNDS):
            emit(target, check, number)
        ours += time.process_time() - began
        wall += time.perf_counter() - at
        began = time.process_time()
        for number in range(events // ROUNDS):
            os.write(fd, orjson.dumps(mix[number % 10], option=orjson.OPT_APPEND_NEWLINE))
        bare += time.process_time() - began
    os.close(fd)
    began = time.process_time()
    log.close()
    closing = time.process_time() - began
    began, read = time.process_time(), 0
    with RecordReader(folder) as reader:
        while found := reader.read():
            read += len(found)
    reading = time.process_time() - began
    assert read == events // ROUNDS * ROUNDS + 4, read
    size = sum(path.stat().st_size for path in folder.glob("events*jsonl*"))
    rate = events / ours
    print(f"{events} events in {ROUNDS} rounds; load {os.getloadavg()[0]:.1f}")
    each = ours / events * 1e6
    print(f"harness      {rate:10,.0f} events/s of CPU   {each:6.1f} us each   ({events / wall:,.0f}/s wall)")
    print(f"bare         {events / bare:10,.0f} events/s of CPU   {bare / events * 1e6:6.1f} us each")
    print(f"ratio        {ours / bare:10.1f}")
    print(
        f"reading back {read / reading:10,.0f} events/s of CPU; {size / 1e6:.1f} MB on disk, {closing:.2f} s to close"
    )
    if rate < WANTED:
        print(f"fewer than the {WANTED:,} events/s that are wanted")
        return 1
    return 0


class Share:
    """Clocks around each event of this process, and around each of those who read it at once."""

    def __init__(self) -> None:
        self.count = 0
        self.all = self.readers = 0

    def install(self) -> None:
        emit, subscribe = EventLog._emit, EventLog.subscribe

        def clocked(*arguments: Any) -> None:
            began = time.thread_time_ns()
            try:
                emit(*arguments)
            finally:
                self.all += time.thread_time_ns() - began
                self.count += 1

        def subscribed(log: EventLog, subscriber: Subscriber) -> None:
            def reader(record: Any) -> None:
                began = time.thread_time_ns()
                try:
                    subscriber(record)
                finally:
                    self.readers += time.thread_time_ns() - began

            subscribe(log, reader)

        EventLog._emit = clocked  # type: ignore[method-assign, assignment]
        EventLog.subscribe = subscribed  # type: ignore[method-assign, assignment]
        leave = os._exit

        def left(code: int) -> NoReturn:
            self.tell()
            leave(code)

        os._exit = left  # type: ignore[assignment]
        atexit.register(self.tell)

    def tell(self) -> None:
        total = time.process_time()  # of the whole process, from its start on
        own, with_readers = (self.all - self.readers) / 1e9, self.all / 1e9
        print(
            f"{self.count} events: {own:.3f} of {total:.3f} s CPU, {100 * own / total:.1f} % "
            f"({100 * with_readers / total:.1f} % with their readers); load {os.getloadavg()[0]:.1f}",
            file=sys.stderr,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--share", nargs=argparse.REMAINDER, help="a command line of harness, such as: run -i … checks")
    given = parser.parse_args()
    if given.share:
        from harness.cli.main import main as harness

        Share().install()
        return harness(given.share)
    with tempfile.TemporaryDirectory() as folder:
        return measure(given.events, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
