"""A forked `python -m harness` does what a started one does."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.forked import Forked
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
HARNESS = [sys.executable, "-m", "harness"]
CHECKS = """\
import os, signal, sys, threading, time
from pathlib import Path
from harness import check

print([sys.path[0], sys.argv, os.getcwd(), os.environ.get("WORD"), sys.stdout.encoding, sys.stdout.errors,
       sys.stdout.line_buffering, sys.stdin.read(), os.umask(0o22), threading.active_count(), __name__,
       [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGTERM)],
       [sys.getfilesystemencoding(), sys.flags.utf8_mode, sys.flags.safe_path]])
if os.environ.get("WAIT"):
    Path("waits").touch()
    time.sleep(600)

@check
def c(target): ...
"""


def environment(place: Path, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(place), **more}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CHECKS)
    (tmp_path / "inv.ini").write_text("vm1 ansible_host=127.0.0.1\n")
    return tmp_path


LISTED = ("--list", "mine.py")


@pytest.mark.parametrize(
    ("options", "words", "more"),
    [
        ({"input": b""}, LISTED, {"WORD": "é\udce9"}),
        ({"input": b"typed"}, LISTED, {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"}),
        ({"stdin": subprocess.DEVNULL}, LISTED, {}),
        ({"input": b""}, ("--list", "x\udce9.py"), {}),
        ({"input": b""}, ("--nothing",), {}),
    ],
)
def test_a_forked_process_sees_what_a_started_one_sees(
    place: Path, options: dict[str, Any], words: tuple[str, ...], more: dict[str, str]
) -> None:
    whole: dict[str, Any] = {"cwd": place, "env": environment(place, **more), "capture_output": True, **options}
    argv = [*HARNESS, "run", "-i", "inv.ini", *words]
    mine, real = forked.run(argv, **whole), subprocess.run(argv, check=False, **whole)
    assert (mine.returncode, mine.stdout, mine.stderr) == (real.returncode, real.stdout, real.stderr)
    assert (b"mine" in mine.stdout) is (mine.returncode == 0) is (words == LISTED)


def test_a_terminal_is_the_forked_process_s_own(place: Path) -> None:
    master, slave = pty.openpty()
    argv = [*HARNESS, "run", "-i", "inv.ini", "--list", "mine.py"]
    env = environment(place, WAIT="1")
    with Forked(argv, cwd=place, env=env, stdin=slave, stdout=slave, stderr=slave, controlling_terminal=True) as one:
        os.close(slave)
        os.write(master, b"\x04")
        until(lambda: (place / "waits").exists(), one)
        assert os.getsid(one.pid) == one.pid
        assert os.tcgetpgrp(master) == one.pid
        os.write(master, b"\x03")
        assert one.wait(scaled(60)) == 130
    assert b", True, '', " in os.read(master, 65536), "lines are written at once"
    os.close(master)


def until(what: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    while not what():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGQUIT])
def test_signals_end_it_as_they_end_a_started_one(place: Path, number: signal.Signals) -> None:
    ended = []
    for start in (Forked, subprocess.Popen):
        (place / "waits").unlink(missing_ok=True)
        argv = [*HARNESS, "run", "-i", "inv.ini", "--list", "mine.py"]
        whole: dict[str, Any] = {"cwd": place, "env": environment(place, WAIT="1"), "stdin": subprocess.DEVNULL}
        with start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **whole) as process:
            until(lambda: (place / "waits").exists(), process)
            assert process.poll() is None
            process.send_signal(number)
            out, err = process.communicate(timeout=scaled(60))
            ended.append((process.returncode, out, err))
    assert ended[0] == ended[1]


def test_processes_run_side_by_side_and_a_reader_may_go_away(place: Path) -> None:
    argv = [*HARNESS, "run", "-i", "inv.ini", "--list", "mine.py"]
    env = environment(place)
    piped: dict[str, Any] = {"cwd": place, "env": env, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with Forked(argv, **piped) as first, Forked(argv, **piped) as second:
        assert first.stdout is not None
        first.stdout.close()
        assert second.communicate(b"two")[0].count(b"two") == 1
        assert second.returncode == 0
        assert first.poll() is None
        first.communicate(b"one")
    assert first.pid != second.pid


def test_what_it_cannot_do_is_refused(place: Path) -> None:
    for argv, options in (
        ([sys.executable, "-c", ""], {}),
        ([sys.executable, "-m", "json"], {}),
        (HARNESS, {"preexec_fn": print}),
        (HARNESS, {"pass_fds": [1]}),
        (HARNESS, {"shell": True}),
    ):
        with pytest.raises(ValueError, match=r"python -m MODULE|a forked process cannot have"):
            Forked(argv, **options)
