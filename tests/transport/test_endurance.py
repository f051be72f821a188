"""Openings, time-outs and losses leave nothing behind: a few rounds here, a thousand in the benchmark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import scaled

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("way", [[], ["--ssh"]], ids=["serial", "ssh"])
def test_nothing_grows(way: list[str]) -> None:
    """The benchmark itself says what has grown, and ends with 1."""
    argv = [sys.executable, "-m", "benchmarks.endurance", "--rounds", "4", "--warm-up", "1", *way]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=scaled(240))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rounds = [line[:28].strip() for line in ended.stdout.splitlines()[1:]]
    assert rounds == ["open, command, close", "time-out, next command", "lost, and back"]
