"""Slow lines and late ones: what is waited for follows what was measured on the line."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.testing.slow_line import SlowLine
from harness.transport.errors import Cause, Eof
from harness.transport.serial.console import Console
from harness.transport.serial.timing import LineTiming

Within = Callable[..., Deadline]
BASH = ["bash", "--norc", "-i"]


def test_a_line_that_is_slow_and_late(bench: Any, within: Within, tmp_path: Path) -> None:
    guest = bench.guest(BASH)
    with SlowLine(guest.path, tmp_path / "slow", rate=1920, latency=0.6) as line:
        console = Console(str(line.path), name="slow", events=bench.events)
        transport = bench.transport(console)
        for number in range(3):
            assert transport.run(f"echo {number}", deadline=within(60)).stdout == f"{number}\n".encode()
        transport.close()
        console.close()
    # Late is not lost: nothing was typed twice, or to end what stands on the console.
    for action in ("serial.rescue", "serial.input_lost", "serial.resync"):
        assert not bench.events.of(action)


@pytest.mark.parametrize("broken", ["gzip", "base64"])
def test_tools_that_do_not_unpack(bench: Any, within: Within, tmp_path: Path, broken: str) -> None:
    """They are there by name, so the program is typed compressed first, and as it is when that was of no use."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / broken).write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / broken).chmod(0o755)
    transport = bench.shell(*BASH, env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert transport.run("echo in", deadline=within()).stdout == b"in\n"


def test_a_guest_that_cannot_unpack_is_not_asked_to(bench: Any, within: Within, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "stty", "cat", "mkfifo"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    transport = bench.shell(str(tmp_path / "bin" / "sh"), "-i", env={"PATH": str(tmp_path / "bin")})
    assert transport.run("echo in", deadline=within()).stdout == b"in\n"
    assert not [event for event in bench.events.of("console.input") if event["text"].startswith("@H4s")]


@pytest.mark.parametrize("losing", [b"@H4s", b"z\n", b"+"])
def test_a_piece_that_does_not_arrive(bench: Any, within: Within, losing: bytes) -> None:
    """Pieces are typed ahead; where one is lost, all of them are typed anew, one by one."""
    lost: list[bytes] = []

    def lose(data: bytes) -> bytes:
        if not lost and losing in data:
            lost.append(data)
            at = data.index(losing)
            return data[:at] + data[at + len(losing) :]
        return data

    transport = bench.transport(bench.console(bench.guest(BASH, to_guest=lose)))
    assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    assert lost


def test_typing_that_was_slowed_down_is_fast_again(bench: Any, within: Within) -> None:
    """A console loses a few characters in its life; what is typed from then on is not slow for ever."""
    left = 0

    def lose(data: bytes) -> bytes:
        nonlocal left
        if left and len(data) > 10:
            left -= 1
            return data[:9] + data[10:]
        return data

    transport = bench.transport(bench.console(bench.guest(BASH, to_guest=lose)))
    transport.run("true", deadline=within())
    left = 6
    while left:
        assert transport.run("echo lossy", deadline=within()).stdout == b"lossy\n"
    for _ in range(12):
        assert transport.run("echo fine", deadline=within()).stdout == b"fine\n"
    assert transport._console.pace == 0
    transport._session.slow_down()
    transport._console.pace = 0.05
    transport._session.lost(Eof("gone", cause=Cause.EOF, transport="serial"))
    assert transport.run("echo again", deadline=within()).stdout == b"again\n"
    assert transport._console.pace < 0.005


def test_what_was_measured_is_what_is_waited_for() -> None:
    timing = LineTiming()
    assert timing.window(2.0) == 2.0
    timing.note_answer(4.0)
    assert timing.window(2.0) >= 8.0
    timing.note_bytes(300, 10.0)
    assert timing.window(2.0, typed=700, heard=700) >= 2 * (4.0 + 1400 / 30)
    for _ in range(20):
        timing.note_answer(0.01)
        timing.note_bytes(10_000, 0.01)
    assert timing.window(2.0, typed=700, heard=700) < 2.5  # and it recovers


@given(
    answers=st.lists(st.floats(0, 10), max_size=20),
    sizes=st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 100)), max_size=20),
    least=st.floats(0.01, 20),
)
def test_a_window_is_never_shorter_than_its_least(
    answers: list[float], sizes: list[tuple[int, float]], least: float
) -> None:
    timing = LineTiming()
    for seconds in answers:
        timing.note_answer(seconds)
    for count, seconds in sizes:
        timing.note_bytes(count, seconds)
    window = timing.window(least, typed=100)
    assert least <= window < math.inf
    assert not answers or timing.latency <= max(answers)
    assert not answers or window >= least / 2 + answers[-1]
