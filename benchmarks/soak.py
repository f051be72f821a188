"""CPU time of a soak for each iteration of a target, by how many targets there are; the targets are simulated.

    python benchmarks/soak.py [ITERATIONS] [TARGETS ...]

The record, `trials.jsonl` and `status.json` are written as by `harness soak`. What is linear costs the same at any
size. It also reads what was written as a resume does, and prints how much memory that takes at most.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.api.check import Check
from harness.deadline import Cancellation
from harness.engine.console import ConsoleTail
from harness.engine.findings.watch import Findings
from harness.engine.plan import Options, make_plan
from harness.events import EventLog
from harness.inventory import load
from harness.soak.befallen import Befallen
from harness.soak.ending import Ending
from harness.soak.soak import Soak
from harness.soak.state import StatusWriter, document_of
from harness.soak.target_soak import Terms
from harness.soak.trials import TrialsFile, stream_trials
from harness.target.reset import parse_reset
from tests.soak.fakes import FakeSession, World, a_check


def measure(targets: int, iterations: int) -> tuple[float, int]:
    """Return the seconds of CPU for each iteration of a target, and the bytes that reading for a resume takes."""
    world = World()
    world.remember = False
    checks: list[Check] = [a_check("one", lambda _target: "fine"), a_check("two", lambda _target: "fine")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = EventLog(folder / "events.jsonl", run="benchmark")
        cancellation, ending = Cancellation(), Ending(iterations=iterations)
        findings, tail, befallen = Findings(), ConsoleTail(), Befallen()
        for reader in (tail, findings, befallen):
            log.subscribe(reader)
        hosts = ",".join(f"t{number}" for number in range(targets)) + ","
        plan = make_plan(load([hosts]).select("all"), checks, Options(settle=False, forks=10))
        file = TrialsFile(folder)
        terms = Terms(parse_reset("reboot"))
        soak = Soak(
            plan,
            {target.host.name: terms for target in plan.targets},
            ending,
            file=file,
            had=stream_trials(folder),
            known=(),
            open_session=lambda target, _events, _scale: FakeSession(target.host.name, world),
            events=log,
            console_tail=tail,
            findings=findings,
            befallen=befallen,
            cancellation=cancellation,
            repeat=lambda target, check: f"{target} {check.name}",
            on_progress=lambda: status.changed(),
        )
        status = StatusWriter(folder, lambda: document_of(soak, ending, "benchmark"), lambda error: print(error))
        began = time.process_time()
        asyncio.run(soak.run())
        took = time.process_time() - began
        log.close()
        file.close()
        tracemalloc.start()
        count = sum(1 for _ in stream_trials(folder))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == targets * iterations
    return took / count, peak


def main() -> None:
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for targets in [int(word) for word in sys.argv[2:]] or [50, 400, 1000]:
        seconds, peak = measure(targets, iterations)
        print(
            f"{targets:5} targets x {iterations} iterations: {1000 * seconds:.2f} ms of CPU each; "
            f"resume: {peak:,} bytes"
        )


if __name__ == "__main__":
    main()
