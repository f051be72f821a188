"""Faults as they are written, drawn, done from inside a shell, and undone."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.inventory import load
from harness.soak.faults import programs
from harness.soak.faults.fault import KINDS, Fault, draw, faults_of, jump_seconds, parse_fault
from harness.target.spec import target_spec
from tests.patience import scaled


@pytest.mark.parametrize(
    ("text", "name", "seconds", "chance"),
    [
        ("link-down", "link-down", 5.0, 1.0),
        ("link-down:2s@0.2", "link-down", 2.0, 0.2),
        ("link_down:2@20%", "link-down", 2.0, 0.2),
        ("pause:500ms", "pause", 0.5, 1.0),
        ("reset@1%", "reset", 0.0, 0.01),
        ("sshd-kill", "sshd-kill", 0.0, 1.0),
        ("kill:cron@.5", "kill:cron", 0.0, 0.5),
        ("disk-full", "disk-full:/var/tmp", 5.0, 1.0),
        ("disk-full:/srv:1m@0.1", "disk-full:/srv", 60.0, 0.1),
        ("memory:90%:3s", "memory:90%", 3.0, 1.0),
        ("memory:90%@10%", "memory:90%", 5.0, 0.1),
        ("cpu:4", "cpu:4", 5.0, 1.0),
        ("cpu:4:10s", "cpu:4", 10.0, 1.0),
        ("cpu:10s", "cpu:0", 10.0, 1.0),
        ("clock-jump:-2d:1s", "clock-jump:-2d", 1.0, 1.0),
        ("console-noise:200:2s@0.3", "console-noise:200", 2.0, 0.3),
    ],
)
def test_what_is_written_is_read(text: str, name: str, seconds: float, chance: float) -> None:
    fault = parse_fault(text)
    assert (fault.name, fault.seconds, fault.chance) == (name, seconds, chance)
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("link-dwon", "did you mean 'link-down'"),
        ("", "no fault is called ''"),
        ("link-down@2", "a chance is from 0 to 1"),
        ("link-down:0s", "more than nothing"),
        ("link-down:x", "link-down[:SECONDS][@CHANCE]"),
        ("kill", "kill:NAME"),
        ("kill:a b", "kill:NAME"),
        ("reset:5s", "reset[@CHANCE]"),
        ("disk-full:srv", "disk-full[:/FOLDER]"),
        ("disk-full:/a;reboot", "disk-full[:/FOLDER]"),
        ("clock-jump:1h:1s", "clock-jump[:+1h]"),
        ("memory:100%", "memory[:75%]"),
        ("cpu:1:2:3", "cpu[:LOOPS]"),
    ],
)
def test_what_cannot_be_done_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_fault(text)


@given(st.integers(), st.integers(1, 10**6), st.text(max_size=10))
def test_draws_depend_on_seed_target_and_iteration_alone(seed: int, iteration: int, target: str) -> None:
    faults = [parse_fault(text) for text in ("pause@0.5", "reset@0.5", "cpu@0", "sshd-kill@1")]
    once = draw(faults, seed=seed, target=target, iteration=iteration, within=3.0)
    assert once == draw(faults, seed=seed, target=target, iteration=iteration, within=3.0)
    names = [due.fault.name for due in once]
    assert "sshd-kill" in names
    assert "cpu:0" not in names
    assert all(0 <= due.after < 3.0 for due in once)
    assert [due.after for due in once] == sorted(due.after for due in once)


def test_a_chance_is_kept_in_the_long_run() -> None:
    faults = [parse_fault("pause@0.2")]
    count = sum(len(draw(faults, seed=7, target="vm1", iteration=i, within=1.0)) for i in range(1, 5001))
    assert 900 < count < 1100  # five standard deviations are 141


def test_faults_of_a_board_need_its_shell_only(tmp_path: Path) -> None:
    (tmp_path / "inv.ini").write_text("board ansible_host=192.0.2.1 soak_faults=\"['kill:cron@10%', 'pause@0.1']\"\n")
    (host,) = load([str(tmp_path / "inv.ini")]).select("all")
    with pytest.raises(UsageError, match=r"inv\.ini:1.*\n?.*'pause@0\.1': takes a machine that we start"):
        faults_of(host, target_spec(host), [])
    (tmp_path / "inv.ini").write_text("board ansible_host=192.0.2.1 soak_faults=\"['kill:cron@10%']\"\n")
    (host,) = load([str(tmp_path / "inv.ini")]).select("all")
    assert [fault.name for fault in faults_of(host, target_spec(host), ["cpu"])] == ["kill:cron", "cpu:0"]
    with pytest.raises(UsageError, match="--fault 'link-down': takes a machine"):
        faults_of(host, target_spec(host), ["link-down"])


def test_jumps() -> None:
    assert [jump_seconds(text) for text in ("+1h", "-90s", "+2d", "-5")] == [3600, -90, 172800, -5]


INSIDE = [kind for kind in KINDS.values() if not kind.machine]


@pytest.mark.parametrize("kind", INSIDE, ids=lambda kind: kind.name)
def test_programs_are_posix_shell(kind: object) -> None:
    """`dash -n` reads them; that they do what they say is shown on a guest."""
    fault = parse_fault(f"{kind.name}{':x' if kind.default is None else ''}")  # type: ignore[attr-defined]
    for text in (programs.begin(fault), programs.undo(fault)):
        assert "@NAME@" not in text
        assert not re.search(r"@[A-Z]+@", text)
        subprocess.run(["sh", "-n"], input=text.encode(), check=True)


def test_a_process_is_killed_by_its_name(tmp_path: Path) -> None:
    program = tmp_path / "victim-of-test"
    program.symlink_to("/bin/sleep")
    victim = subprocess.Popen([str(program), "60"])
    try:
        end = time.monotonic() + scaled(10)
        while Path(f"/proc/{victim.pid}/comm").read_text().strip() != "victim-of-test" and time.monotonic() < end:
            time.sleep(0.01)
        text = programs.begin(Fault(KINDS["kill"], "victim-of-test"))
        subprocess.run(["sh", "-c", text], check=True, timeout=scaled(30))
        assert victim.wait(scaled(10)) == -9
        again = subprocess.run(["sh", "-c", text], check=False, timeout=scaled(30), capture_output=True, text=True)
        assert again.returncode == 1
        assert "no process is called victim-of-test" in again.stderr
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_file_system_is_filled_and_freed(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "x", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        fault = Fault(KINDS["disk-full"], str(folder), 5.0)
        subprocess.run(["sh", "-c", programs.begin(fault)], check=True, timeout=scaled(60))
        with pytest.raises(OSError, match="No space left"):
            (folder / "more").write_bytes(b"x" * 8192)
        subprocess.run(["sh", "-c", programs.undo(fault)], check=True, timeout=scaled(60))
        (folder / "more").write_bytes(b"x" * 8192)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
