"""`harness console` without a terminal: commands and steps, whatever standard input and output are."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.testing.pty_guest import PtyGuest
from tests.operate.person import Person, close, environment, harness
from tests.patience import scaled

CONSOLE = ("console", "-i", "inv.ini", "board")
LINES = b"""# what is up
echo out; echo err >&2

printf 'a\\377\\0b'; exit 3
  true
"""


def answers(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_commands_from_stdin(board: PtyGuest, tmp_path: Path) -> None:
    done = harness(tmp_path, *CONSOLE, input=LINES)
    assert done.returncode == 1
    lines = done.stdout.split(b"\n")
    assert lines[:2] == [b"$ echo out; echo err >&2", b"out"]
    assert lines[2].startswith(b"[exit status 0, ")
    assert lines[3:5] == [b"$ printf 'a\\377\\0b'; exit 3", b"a\xff\0b"]
    assert lines[5].startswith(b"[exit status 3, ")
    assert lines[6] == b"$ true"
    assert done.stderr == b"err\n"


def test_commands_from_a_file_as_json(board: PtyGuest, tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(LINES)
    done = harness(tmp_path, *CONSOLE, "--script", "script", "--json")
    assert done.returncode == 1
    assert done.stderr == b""
    first, second, third = answers(done)
    assert first.pop("duration") >= 0
    assert first == {
        "name": "board",
        "line": 2,
        "command": "echo out; echo err >&2",
        "exit_status": 0,
        "stdout": "out\n",
        "stderr": "err\n",
        "transport": "serial",
    }
    assert base64.b64decode(second["stdout_base64"]) == b"a\xff\0b"
    assert "stdout" not in second
    assert (second["line"], second["exit_status"]) == (4, 3)
    assert (third["line"], third["command"], third["exit_status"]) == (5, "true", 0)


def test_it_stops_at_the_first_that_fails_when_told_so(board: PtyGuest, tmp_path: Path) -> None:
    done = harness(tmp_path, *CONSOLE, "--json", "--on-error", "stop", input=LINES)
    assert done.returncode == 1
    assert [answer["exit_status"] for answer in answers(done)] == [0, 3]


def test_only_what_the_commands_wrote(board: PtyGuest, tmp_path: Path) -> None:
    done = harness(tmp_path, *CONSOLE, "-q", input=b"echo one\necho two\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\ntwo\n", b"")


def test_a_command_that_does_not_end_in_time_has_failed_and_the_next_one_is_run(
    board: PtyGuest, tmp_path: Path
) -> None:
    done = harness(
        tmp_path, *CONSOLE, "--json", "--timeout", f"{scaled(4):.0f}s", input=b"echo begun; sleep 100\necho next\n"
    )
    assert done.returncode == 1
    slow, following = answers(done)
    assert slow["exit_status"] is None
    assert slow["cause"] == "timeout"
    assert slow["stdout"] == "begun\n"
    assert following["stdout"] == "next\n"


def test_a_program_can_talk_with_it(board: PtyGuest, tmp_path: Path) -> None:
    """Each answer is there before the next command is given."""
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *CONSOLE, "--json"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(f"echo {number}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["stdout"] == f"{number}\n"
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize("way", ["null", "closed", "empty", "nothing at all"])
def test_no_terminal_and_no_command_is_no_error(board: PtyGuest, tmp_path: Path, way: str) -> None:
    closed = {"closed": [0], "nothing at all": [0, 1, 2]}.get(way, [])
    (tmp_path / "empty").touch()
    with open(tmp_path / "empty") as empty:
        done = harness(
            tmp_path,
            *CONSOLE,
            stdin=empty if way == "empty" else subprocess.DEVNULL,
            preexec_fn=lambda: close(closed),
        )
    assert done.returncode == 0
    assert done.stdout == b""
    assert b"no commands came" in done.stderr or way == "nothing at all"
    assert b"ioctl" not in done.stderr


@pytest.mark.parametrize("streams", [[0, 1], [1, 2], [0, 2], [1], [2]])
def test_closed_streams_are_no_matter_for_a_script(board: PtyGuest, tmp_path: Path, streams: list[int]) -> None:
    (tmp_path / "script").write_text(f"echo here > {tmp_path / 'mark'}; echo out; echo err >&2\n")
    done = harness(
        tmp_path,
        *CONSOLE,
        "--script",
        "script",
        preexec_fn=lambda: close(streams),
    )
    assert done.returncode == 0
    assert (tmp_path / "mark").read_text() == "here\n"
    assert (b"\nout\n" in done.stdout) == (1 not in streams)
    assert (done.stderr == b"err\n") == (2 not in streams)


def test_a_terminal_on_one_side_only(board: PtyGuest, tmp_path: Path) -> None:
    """Output goes into a file: commands are read, line by line, from the terminal."""
    master, slave = os.openpty()
    try:
        os.write(master, b"echo hi\n\x04")
        done = harness(tmp_path, *CONSOLE, "-q", stdin=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert b"stdin: commands, one a line; Ctrl-D ends them" in done.stderr


def test_a_script_needs_no_terminal_where_there_is_one(
    board: PtyGuest, person: Callable[..., Person], tmp_path: Path
) -> None:
    (tmp_path / "script").write_text("echo from a script\n")
    one = person(*CONSOLE, "--script", "script")
    assert one.finish() == 0
    assert b"from a script\r\n[exit status 0" in one.seen
    assert one.is_as_before


def test_steps_in_the_order_in_which_they_are_typed(board: PtyGuest, tmp_path: Path) -> None:
    steps = ["--expect", r"~# $", "--send", r"echo $((40+2))\n", "--expect", "^42$", "--expect", r"~# $"]
    first = harness(tmp_path, *CONSOLE, "--send", r"\n", *steps)
    assert first.returncode == 0, first.stderr
    assert b"\n42\n" in first.stdout
    assert first.stderr == b""
    again = harness(tmp_path, *CONSOLE, "--send", r"echo so\x31\r", "--expect", "^so1$", "--json")
    assert again.returncode == 0
    send, expect = answers(again)
    assert send["send"] == r"echo so\x31\r"
    assert (expect["step"], expect["matched"], expect["match"]) == (2, True, "so1")
    assert expect["seen"].endswith("so1")


def test_a_password_of_the_inventory_that_is_typed_is_masked_in_the_record(board: PtyGuest, tmp_path: Path) -> None:
    (tmp_path / "inv.ini").write_text(f"board serial_socket={board.path} serial_password=hunter2hunter2\n")
    steps = ["--send", r"read -rsp 'Word? ' word\n", "--expect", r"^Word\? $", "--send", r"hunter2hunter2\n"]
    steps += ["--expect", "# $", "--send", r"echo so$((1))\n", "--expect", "^so1$"]
    done = harness(tmp_path, *CONSOLE, *steps)
    assert done.returncode == 0, done.stderr
    [record] = tmp_path.glob("logs/.operate/2*/events.jsonl")
    assert "read -rsp" in record.read_text()
    assert "hunter2" not in record.read_text()


def test_an_expectation_that_is_not_met_tells_what_was_seen(board: PtyGuest, tmp_path: Path) -> None:
    steps = ["--send", r"echo so$((1))\n", "--expect", "never", "--send", r"echo not$((1))\n"]
    done = harness(tmp_path, *CONSOLE, *steps, "--timeout", "5")
    assert done.returncode == 1
    assert b"step 2: --expect 'never' met nothing in " in done.stderr
    assert b"    so1\n" in done.stderr
    assert b"not1" not in done.stdout
    plain = harness(tmp_path, *CONSOLE, *steps, "--timeout", "5", "--json")
    assert plain.returncode == 1
    assert [answer.get("matched") for answer in answers(plain)] == [None, False]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--send", r"\q"], 2, "is no escape"),
        (["--expect", "("], 2, "is not a regular expression"),
        (["--script", "none"], 2, "cannot read the script none"),
        (["--script", "bad"], 2, "bad:2: this line is no UTF-8"),
        (["--script", "inv.ini", "--watch"], 2, "choose one"),
        (["--transport", "ssh"], 2, "a console is the serial one"),
        (["--escape", "long"], 2, "is no single key"),
        (["--tail", "-1"], 2, "--tail"),
        (["--timeout", "soon"], 2, "is no time"),
    ],
)
def test_mistyped(board: PtyGuest, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "bad").write_bytes(b"true\n\xff\n")
    done = harness(tmp_path, *CONSOLE, *arguments)
    assert done.returncode == code
    assert words in done.stderr.decode()


def test_a_console_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "inv.ini").write_text(f"board serial_socket={tmp_path / 'none'} serial_login_timeout=1\n")
    commands = harness(tmp_path, *CONSOLE, "--json", input=b"true\ntrue\n")
    assert commands.returncode == 3
    assert [answer["cause"] for answer in answers(commands)] == ["refused"]
    steps = harness(tmp_path, *CONSOLE, "--send", "x")
    assert steps.returncode == 3
    assert b"cannot be opened" in steps.stderr


def test_a_console_that_somebody_else_holds(board: PtyGuest, person: Callable[..., Person], tmp_path: Path) -> None:
    one = person(*CONSOLE)
    one.sees(b"it is logged in")
    done = harness(tmp_path, *CONSOLE, input=b"true\n")
    assert done.returncode == 3
    assert f"is in use by process {one.process.pid}".encode() in done.stderr
    assert b"--watch" in done.stderr


def test_a_console_can_be_watched_into_a_pipe(board: PtyGuest, person: Callable[..., Person], tmp_path: Path) -> None:
    one = person(*CONSOLE)
    one.sees(b"it is logged in")
    one.type(b"echo before$((1))\r")
    one.sees(b"before1")
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *CONSOLE, "--watch", "--tail", "1"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert b"before1" in process.stdout.readline()
        one.type(b"echo after$((1))\r")
        while b"after1" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
