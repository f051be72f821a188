"""What an attempt costs the engine: many targets, many checks, each passing on its third attempt, over a transport
that answers at once.

    python -m benchmarks.engine [--targets N] [--checks N]

Everything of a run is there but machines and wires: plan, scheduler, tenacity, worker threads, the event log on disk
with all its events. Printed: CPU time an attempt (the whole process, user and system), the most threads at once, and
the memory that each waiting check adds (half of the targets, then all, with all their checks waiting at once).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.api.check import Check, Settings
from harness.deadline import Cancellation, Deadline
from harness.engine.console import ConsoleTail
from harness.engine.plan import Options, make_plan
from harness.engine.scheduler import Scheduler
from harness.errors import Source
from harness.events import Emitter, EventLog
from harness.inventory import load
from harness.target.target import Target
from harness.transport.contract import CommandResult, Damage, Result

PASSES_AT = 3


class Instant:
    """Answers at once, as no wire does; fails the first looks of each check, by its command."""

    def __init__(self, name: str, events: Emitter, on_result: Callable[[Result], None], seen: dict[str, int]) -> None:
        self._name = name
        self._events = events
        self._on_result = on_result
        self._seen = seen

    def run(self, command: str, *, deadline: Deadline, **_: Any) -> CommandResult:
        del deadline
        self._seen[command] = looks = self._seen.get(command, 0) + 1
        status = 0 if looks >= PASSES_AT else 1
        result = CommandResult(command, b"active\n", b"", status, "instant", 0.0, 0.0, 0.0, damage=Damage())
        self._events.emit(
            "command",
            f"exit status {status}",
            transport="instant",
            command=command,
            exit_status=status,
            duration=0.0,
            stdout_bytes=7,
            stderr_bytes=0,
            damage={},
            attempts=1,
            fell_back_from=[],
        )
        self._on_result(result)
        return result


class InstantSession:
    """A target that is up at once."""

    start_timeout = 60.0
    stages = ()
    counts: Mapping[str, int] = {}
    console_log = ""
    broken = ""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: dict[str, int] = {}

    def start(self, deadline: Deadline) -> None: ...

    def follow(self, deadline: Deadline, on_word: Callable[[], None]) -> None:
        del deadline, on_word

    def stop(self) -> None: ...

    def keep(self, seconds: float | None = None) -> tuple[str, ...]:
        return ()

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target:
        link = Instant(self._name, events, on_result, self._seen)
        return Target(self._name, (), {}, link, deadline, events)  # type: ignore[arg-type]


def _check(number: int) -> Check:
    def active(target: Target) -> str:
        assert target.run(f"systemctl is-active unit{number}").ok
        return "active"

    return Check(f"unit{number}", "m", "m.py", active, Source(__file__, 1), Settings(budget=600, interval=0.2))


def _never(number: int) -> Check:
    def waiting(target: Target) -> str:
        assert target.run(f"wait {number}").exit_status == 2
        return ""

    settings = Settings(budget=30, interval=25.0, interval_max=25.0)
    return Check(f"wait{number}", "m", "m.py", waiting, Source(__file__, 1), settings)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(targets: int, checks: int, *, parked: bool) -> dict[str, float]:
    """One run in this process. `parked`: the checks only wait, so that what a waiting one holds can be weighed."""
    hosts = load([",".join(f"t{i}" for i in range(targets)) + ","]).select("all")
    made = [(_never if parked else _check)(i) for i in range(checks)]
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(Path(folder) / "events.jsonl", run="benchmark")
        cancellation = Cancellation()
        scheduler = Scheduler(
            make_plan(hosts, made, Options(settle=False, forks=targets, at_once=checks)),
            run="benchmark",
            open_session=lambda plan, _events, _scale: InstantSession(plan.host.name),
            events=log,
            console_tail=ConsoleTail(),
            cancellation=cancellation,
        )
        gc.collect()
        before, threads, resident = _resident(), 0, 0

        def watch() -> None:
            nonlocal threads, resident
            while not cancellation.cancelled:
                threads = max(threads, threading.active_count() - 1)
                resident = max(resident, _resident())
                time.sleep(0.05)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        cpu, wall = time.process_time(), time.perf_counter()
        if parked:
            threading.Timer(20.0, cancellation.cancel, ["weighed"]).start()
        result = asyncio.run(scheduler.run())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        cancellation.cancel("done")
        watcher.join()
        attempts = sum(check.attempts for check in result.checks)
        log.close()
    if not parked:
        assert attempts == targets * checks * PASSES_AT, attempts
        assert all(check.outcome.value == "passed" for check in result.checks)
    return {
        "attempts": attempts,
        "cpu_us": cpu / attempts * 1e6,
        "wall": wall,
        "threads": threads,
        "bytes": resident - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--checks", type=int, default=20)
    parser.add_argument("--one", choices=("run", "parked"), help="measure one thing in this process, as JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.targets, given.checks, parked=given.one == "parked")))
        return
    print(f"{given.targets} targets x {given.checks} checks; load {os.getloadavg()[0]:.1f}")
    run = _apart("run", given.targets, given.checks)
    print(f"{run['attempts']:.0f} attempts: {run['cpu_us']:.0f} us of CPU each, {run['threads']:.0f} threads, "
          f"{run['wall']:.1f} s")  # fmt: skip
    few, many = (_apart("parked", targets, given.checks)["bytes"] for targets in (given.targets // 2, given.targets))
    print(
        f"each waiting check more: {(many - few) / (given.targets - given.targets // 2) / given.checks / 1000:.1f} kB"
    )


def _apart(what: str, targets: int, checks: int) -> dict[str, float]:
    """The same in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.engine", "--one", what]
    argv += ["--targets", str(targets), "--checks", str(checks)]
    got: dict[str, float] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return got


if __name__ == "__main__":
    main()
