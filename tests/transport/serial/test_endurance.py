"""Openings, time-outs and lost consoles leave nothing behind: a few rounds here, a thousand in the benchmark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_nothing_grows() -> None:
    """The benchmark itself says what has grown, and ends with 1."""
    argv = [sys.executable, "-m", "benchmarks.endurance", "--rounds", "4", "--warm-up", "1"]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert [line[:28].strip() for line in lines[1:]] == [
        "open, command, close",
        "time-out, next command",
        "console lost, login anew",
    ]
