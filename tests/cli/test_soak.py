"""`harness soak` and `harness status` as a person types them, against a port where nobody answers."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.forked import Forked
from tests.patience import scaled

from .test_usage import ROOT, harness

CHECK = """from harness import check

@check(budget=0.2, interval=0.05)
def hello(target):
    assert target.read("echo hello") == "hello"
"""
SOAK = ("soak", "-i", "inv.ini", "mine.py")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CHECK)
    (tmp_path / "inv.ini").write_text("vm1 ansible_host=127.0.0.1 ansible_port=1 settle=no\n")
    return tmp_path


CASES = [
    ([], "nothing says when the soak ends"),
    (["--iterations", "0"], "--iterations"),
    (["--for", "soon"], "no time, such as 8h"),
    (["--iterations", "1", "--reset", "snapshot"], "takes a machine that we start"),
    (["--iterations", "1", "--reset", "unit"], "unit:NAME"),
    (["--iterations", "1", "--fault", "link-dwon"], "did you mean 'link-down'"),
    (["--iterations", "1", "--fault", "pause"], "takes a machine that we start"),
    (["--iterations", "1", "-e", "soak_reset=cold-boot"], "soak_reset"),
    (["--iterations", "1", "--known-flakes", "none.yml"], "none.yml"),
    (["--iterations", "1", "--metrics", "9300"], "no ADDRESS:PORT"),
    (["--resume", "latest"], "--resume goes on with what the soak was begun with"),
]


@pytest.mark.parametrize(("arguments", "words"), CASES)
def test_mistakes(place: Path, arguments: list[str], words: str) -> None:
    done = harness(*SOAK, *arguments, cwd=place)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "logs").exists()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- check: a\n  tracker: x\n- check: b\n", 3, "no `tracker`"),
        ("- chek: a\n", 1, "did you mean 'check'"),
        ("- check: a\n  tracker: x\n  snooze: soon\n", 3, "`snooze` is a day"),
        ("- check: a\n  tracker: x\n  warn: maybe\n", 3, "`warn` is true or false"),
        ("- check: a\n  tracker: [x]\n", 2, "`tracker` is a text"),
        ("check: a\n", 1, "a list"),
        ("- [\n", 2, "no YAML"),
        ("- check: a\n  check: b\n", 2, "twice"),
    ],
)
def test_bad_known_flakes_are_shown_with_their_line(place: Path, text: str, line: int, words: str) -> None:
    (place / "known-flakes.yml").write_text(text)
    done = harness(*SOAK, "--iterations", "1", cwd=place)
    assert done.returncode == 2, done.stderr
    assert f"known-flakes.yml:{line}" in done.stderr
    assert words in done.stderr
    assert not (place / "logs").exists()


def test_a_soak_that_reaches_nobody_says_so_and_can_be_asked_about(place: Path) -> None:
    done = harness(*SOAK, "--iterations", "2", "--retries", "0", cwd=place)
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert sum("iteration " in line and "1 unreachable" in line for line in lines) == 2
    assert "vm1: 2 iterations" in done.stdout
    assert "\x1b" not in done.stdout
    status = harness("status", cwd=place)
    assert status.returncode == 0
    assert "has ended (exit code 3)" in status.stdout
    assert "0 passed (0.0 %, 0.0 to 65.8 %)" in status.stdout
    document = json.loads(harness("status", "--json", cwd=place).stdout)
    assert document["state"] == "ended"
    assert document["targets"]["vm1"]["outcomes"] == {"unreachable": 2}
    again = harness("soak", "--resume", "latest", "--iterations", "3", cwd=place)
    assert again.returncode == 3, again.stderr
    assert "vm1: 3 iterations" in again.stdout


def test_known_flakes_beside_the_inventory_are_taken(place: Path) -> None:
    (place / "known-flakes.yml").write_text("- check: mine::*\n  tracker: https://example.org/1\n  warn: true\n")
    done = harness(*SOAK, "--iterations", "1", "--retries", "0", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "known flake, see https://example.org/1" in done.stdout


def test_a_killed_soak_is_gone_on_with_and_an_interrupted_one_says_how(place: Path) -> None:
    def begin(*arguments: str) -> subprocess.Popen[str]:
        return Forked(
            [sys.executable, "-m", "harness", *arguments], cwd=place, env={"PYTHONPATH": str(ROOT), "HOME": str(place)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def wait_for(count: int) -> None:
        end = time.monotonic() + scaled(60)
        while time.monotonic() < end:
            files = list(place.glob("logs/2*/trials.jsonl"))
            if files and files[0].read_text().count('"ended":1') - files[0].read_text().count('"mark"') >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"no {count} iterations in 60 s")

    soak = begin(*SOAK, "--for", "1h", "--retries", "0")
    try:
        wait_for(1)
    finally:
        soak.send_signal(signal.SIGKILL)
        soak.communicate(timeout=scaled(30))
    status = harness("status", cwd=place)
    assert "was killed" in status.stdout
    assert "harness soak --resume" in status.stdout
    soak = begin("soak", "--resume", "latest")
    try:
        wait_for(2)
        assert "goes on" in harness("status", cwd=place).stdout
        busy = harness("soak", "--resume", "latest", cwd=place)
        assert busy.returncode == 2
        assert "another process is writing the record" in busy.stderr
        soak.send_signal(signal.SIGINT)
        out, err = soak.communicate(timeout=scaled(60))
    finally:
        if soak.poll() is None:
            soak.kill()
            soak.communicate()
    assert soak.returncode == 130, err
    assert "going on behind iteration" in out
    assert "go on with: harness soak --resume" in out


def test_figures_are_served_for_prometheus(place: Path) -> None:
    import socket
    import urllib.error
    import urllib.request

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    soak = Forked(
        [sys.executable, "-m", "harness", *SOAK, "--for", "1h", "--retries", "0", "--metrics", f"127.0.0.1:{port}"],
        cwd=place, env={"PYTHONPATH": str(ROOT), "HOME": str(place)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    text = ""
    try:
        end = time.monotonic() + scaled(60)
        while time.monotonic() < end and 'harness_iterations_total{target="vm1"} 1.0' not in text:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
            except OSError:
                pass
            time.sleep(0.05)
    finally:
        soak.kill()
        soak.wait()
    assert 'harness_trials_total{check="mine::hello",outcome="unreachable",target="vm1"} 1.0' in text
    assert "# TYPE harness_settle_seconds summary" in text


def test_a_full_disk_ends_it_and_says_how_to_go_on(place: Path) -> None:
    """A bound on the size of files stands for the end of the disk: writes fail in the same place. The printed command
    is run by a shell as it is, in a folder with a name that a shell would run."""
    logs = "-l $(touch P);`touch P`'\""
    command = f'ulimit -f 24; exec {sys.executable} -m harness soak -i inv.ini mine.py --for 1h --retries 0 "$@"'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(place)}
    done = subprocess.run(
        ["bash", "-c", command, "bash", f"--logs={logs}"], cwd=place, env=environment, capture_output=True,
        text=True, stdin=subprocess.DEVNULL, timeout=scaled(120), check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "cannot write the record" in done.stderr
    assert "Traceback" not in done.stderr
    printed = re.search("It goes on with: (harness soak --resume .*)", done.stderr)
    assert printed is not None, done.stderr
    again = subprocess.run(
        ["bash", "-c", f'harness() {{ {sys.executable} -m harness "$@" --iterations 1; }}\n{printed[1]}'], cwd=place,
        env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=scaled(120), check=False,
    )  # fmt: skip
    assert again.returncode == 3, again.stderr
    assert {each.name for each in place.iterdir()} - {".cache"} == {logs, "inv.ini", "mine.py"}


def test_on_a_terminal_there_is_a_live_table(place: Path) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    soak = subprocess.Popen(
        [sys.executable, "-m", "harness", *SOAK, "--iterations", "2", "--retries", "0"], cwd=place, stdin=theirs,
        stdout=theirs, stderr=theirs, env={"PYTHONPATH": str(ROOT), "HOME": str(place), "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            break
    os.close(ours)
    assert soak.wait(scaled(60)) == 3
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"target +iteration +clean +settle p50 \(p99\) +flaky +faults +fallbacks +ETA +now", text)
    assert re.search(r"vm1 +1 of 2 +0\.0 %, 0\.0 to 79\.3 % +- +0 +0 +0 +\d+ s ", text)
    assert shown.rstrip().endswith(b"Z-" + text.rstrip().rpartition("Z-")[2].encode())  # the table is gone in the end
    assert b"\x1b[?25h" in shown


@pytest.fixture
def ended(place: Path) -> Path:
    """A soak of one iteration that has ended."""
    assert harness(*SOAK, "--iterations", "1", "--retries", "0", cwd=place).returncode == 3
    return place


def test_a_resume_refuses_what_cannot_change(ended: Path) -> None:
    for arguments, words in (
        (["--fault", "no-such-fault", "--seed", "99"], "--fault, --seed cannot be changed with --resume"),
        (["--ship", "nosuch://x"], "no sink is called 'nosuch'"),
        (["--limit", "vm2"], "--limit cannot be changed"),
        (["--reset", "reboot"], "--reset cannot be changed"),
    ):
        done = harness("soak", "--resume", "latest", *arguments, cwd=ended)
        assert done.returncode == 2, done.stdout
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    # The same as it began with is no change.
    again = harness("soak", "--resume", "latest", "--retries", "0", "--iterations", "1", cwd=ended)
    assert again.returncode == 3, again.stderr


def test_a_resume_uses_the_files_that_the_soak_began_with(ended: Path) -> None:
    (ended / "inv.ini").write_text("vm2 ansible_host=127.0.0.1 ansible_port=1 settle=no\n")
    (ended / "mine.py").unlink()
    done = harness("soak", "--resume", "latest", "--iterations", "2", cwd=ended)
    assert done.returncode == 3, done.stderr
    assert "vm1: 2 iterations" in done.stdout
    assert "vm2" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "inputs changed" in line]
    assert "inv.ini" in line
    assert "mine.py" in line
    folder = (ended / "logs" / "latest").resolve()
    assert {path.stat().st_mode & 0o077 for path in (folder / "inputs").rglob("*.ini")} == {0}
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert {each["check_id"] for each in trials if "outcome" in each} == {"mine.py::hello"}
