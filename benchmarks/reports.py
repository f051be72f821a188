"""What a report of a soak costs: seconds, memory and bytes of each format, and of a comparison.

    python -m benchmarks.reports [--iterations N] [--targets N]

The soak is generated (12 checks, a flake of 3 %, failures, faults, a drift) and lies on the disk as a real one does.
Each format is made by `harness report` in a process of its own, reading included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import planted
from tests.soak.planted import Planted


def main() -> None:
    """Parses the flags, and prints a line for each format."""
    parser = argparse.ArgumentParser(description="What a report of a soak costs.")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--targets", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs = [Path(place) / name for name in ("20260101T000000Z-before", "20260102T000000Z-after")]
        for number, run in enumerate(runs):
            run.mkdir()
            targets = tuple(f"vm{n + 1}" for n in range(arguments.targets))
            planted.write(
                run,
                Planted(arguments.iterations, targets, failing=0.02, drift=0.5 * number, fault_every=20, seed=number),
            )
        size = (runs[0] / "trials.jsonl").stat().st_size
        trials = arguments.iterations * arguments.targets * len(planted.CHECKS)
        print(f"{trials:,} trials, {size / 1e6:.1f} MB")
        print(f"{'format':<12}{'seconds':>9}{'CPU':>7}{'MB of memory':>14}{'kB written':>12}")
        for form in ("html", "markdown", "json", "junit", "ctrf"):
            _measure(form, [str(runs[0]), "--format", form], Path(place) / "out")
        _measure("comparison", [str(runs[0]), str(runs[1]), "--format", "html"], Path(place) / "out")


def _measure(name: str, arguments: list[str], output: Path) -> None:
    began = time.perf_counter()
    argv = [sys.executable, "-m", "harness", "report", *arguments, "-o", str(output)]
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"harness report ended with status {os.waitstatus_to_exitcode(status)}")
    cpu, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"{name:<12}{seconds:>9.2f}{cpu:>7.2f}{memory:>14.0f}{output.stat().st_size / 1000:>12.0f}")


if __name__ == "__main__":
    main()
