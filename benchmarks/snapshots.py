"""What an iteration costs with a snapshot, against one with a cold boot: the same machine,
the same check, one run. `python -m benchmarks.snapshots` prints medians in seconds, and ratios.

It is the command that is run, as a user runs it; the times are those of the resets and iterations in `trials.jsonl`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.soak.trials import read_trials

ROOT = Path(__file__).parents[1]
CHECK = """\
from harness import check

@check(budget=120)
def answers(target):
    return target.read("echo hello")
"""
COUNTS = {"snapshot": 6, "cold-boot": 3}


def measure(reset: str, count: int, folder: Path) -> tuple[float, float]:
    """Medians of the reset and of the whole iteration, without the first one."""
    (folder / "mine.py").write_text(CHECK)
    command = [sys.executable, "-m", "harness", "soak", "-i", str(ROOT / "inventories" / "local.ini"), "mine.py"]
    command += ["--iterations", str(count), "--reset", reset, "-q", "--logs", reset]
    subprocess.run(command, cwd=folder, check=True)
    marks = read_trials((folder / reset / "latest").resolve()).marks
    times = {
        kind: [mark.ended - mark.started for mark in marks if mark.kind == kind and mark.iteration > 1 and mark.ended]
        for kind in ("reset", "iteration")
    }
    return statistics.median(times["reset"]), statistics.median(times["iteration"])


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        found = {reset: measure(reset, count, Path(place)) for reset, count in COUNTS.items()}
    quick = found["snapshot"]
    print(f"{'reset':<12} {'reset, s':>9} {'iteration, s':>13} {'ratio of resets':>16} {'of iterations':>14}")
    for name, (reset, iteration) in found.items():
        print(f"{name:<12} {reset:9.2f} {iteration:13.2f} {reset / quick[0]:16.1f} {iteration / quick[1]:14.1f}")


if __name__ == "__main__":
    main()
