"""`harness console` at a terminal: typing, leaving, watching, and the terminal afterwards."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.testing.pty_guest import PtyGuest
from tests.operate.person import Person

People = Callable[..., Person]
CONSOLE = ("console", "-i", "inv.ini", "board")
THERE = b"it is logged in"


def events(folder: Path, action: str) -> list[dict[str, object]]:
    found = []
    for path in sorted(folder.glob("logs/.operate/2*/events.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found += [line for line in lines if line["event.action"] == action]
    return found


def attend(person: People, *more: str, env: dict[str, str] | None = None) -> Person:
    """Somebody who has got the console's shell to answer."""
    one = person(*CONSOLE, *more, **({"env": env} if env else {}))
    one.sees(THERE)
    one.type(b"echo so$((1))\r")
    one.sees(b"so1")
    return one


def test_keys_go_there_and_words_come_back(board: PtyGuest, person: People, tmp_path: Path) -> None:
    one = attend(person)
    assert one.is_raw
    one.type(b"sh -c 'echo slow$((1)); exec sleep 100'\r")
    one.sees(b"slow1")
    one.type(b"\x03")  # it is the guest's, not ours
    one.sees(b"board:~# ")
    one.type(b"echo $? $((40+2))\r")
    one.sees(b"130 42")
    one.type(b"\x1d")
    assert one.finish() == 0
    assert one.is_as_before
    assert b"left the console of board: the escape key was pressed" in one.seen
    logs = list(tmp_path.glob("logs/.operate/2*/targets/board/console.log"))
    assert len(logs) == 1
    assert b"130 42" in logs[0].read_bytes()
    assert logs[0].stat().st_mode & 0o777 == 0o600


def test_what_is_typed_does_not_stand_in_the_record(board: PtyGuest, person: People, tmp_path: Path) -> None:
    one = attend(person)
    one.type(b"read -rs word; echo ${#word}\r")
    one.sees(b"${#word}")
    one.type(b"hunter2hunter2\r")
    one.sees(b"14")
    one.type(b"\x1d")
    assert one.finish() == 0
    for path in tmp_path.glob("logs/.operate/2*/**/*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path
    told = events(tmp_path, "console.attended")
    assert len(told) == 1
    assert int(str(told[0]["harness.bytes"])) > len("read -rs word; echo ${#word}\rhunter2hunter2\r")


def test_another_escape_key(board: PtyGuest, person: People) -> None:
    one = attend(person, "--escape", "ctrl-a")
    one.type(b"read -rn1 -s key; printf %s $key | od -An -tx1\r")
    one.sees(b"-tx1")
    one.type(b"\x1d")  # Ctrl-] is a key like any other now
    one.sees(b" 1d")
    one.type(b"\x01")
    assert one.finish() == 0


def test_what_came_before_is_shown(board: PtyGuest, person: People) -> None:
    first = attend(person)
    first.type(b"clear; printf '\\033[6n'; echo what came $((1))\r")
    first.sees(b"what came 1")
    first.type(b"\x1d")
    assert first.finish() == 0
    second = person(*CONSOLE)
    second.sees(b"what came 1")
    assert b"the lines before are of an earlier run" in second.seen
    assert b"\x1b[6n" not in second.seen  # else the terminal would answer it, and that would be typed
    second.type(b"\x1d")
    assert second.finish() == 0
    third = person(*CONSOLE, "--tail", "0")
    third.sees(THERE)
    third.type(b"\x1d")
    assert third.finish() == 0
    assert b"what came 1" not in third.seen


def test_the_size_is_typed_when_it_is_asked_for(board: PtyGuest, person: People) -> None:
    one = attend(person, "--resize")
    one.type(b"stty size\r")
    one.sees(b"30 100")
    one.resize(40, 132)
    one.sees(b"stty rows 40 columns 132")
    one.type(b"stty size\r")
    one.sees(b"40 132")
    one.type(b"\x1d")
    assert one.finish() == 0


def test_nothing_is_typed_unasked(board: PtyGuest, person: People) -> None:
    one = attend(person)
    one.resize(40, 132)
    one.type(b"stty size\r")
    one.sees(b"24 80")
    one.type(b"\x1d")
    assert one.finish() == 0
    assert b"stty rows" not in one.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(board: PtyGuest, person: People, number: int) -> None:
    one = attend(person)
    one.process.send_signal(number)
    assert one.finish() == 130
    assert one.is_as_before


def test_a_terminal_that_goes_away_ends_it(board: PtyGuest, person: People, tmp_path: Path) -> None:
    one = attend(person)
    one.hang_up()
    one.process.wait()
    assert events(tmp_path, "console.attended")
    assert events(tmp_path, "operate.end")


def test_a_lost_console_gives_the_terminal_back(board: PtyGuest, person: People) -> None:
    one = attend(person)
    board.drop_client()
    assert one.finish() == 3
    assert one.is_as_before
    assert b"the console board at " in one.seen
    assert b"is gone" in one.seen


def test_it_is_taken_up_again_where_it_was_stopped(board: PtyGuest, person: People) -> None:
    """A stop from outside leaves the terminal to a shell, which sets its own modes."""
    import termios

    one = attend(person)
    termios.tcsetattr(one.slave, termios.TCSANOW, one.before)
    one.process.send_signal(signal.SIGCONT)
    one.type(b"echo on$((1))\r")
    one.sees(b"on1")
    assert one.is_raw
    one.type(b"\x1d")
    assert one.finish() == 0


def test_several_watch_and_one_types(board: PtyGuest, person: People) -> None:
    hands = attend(person)
    eyes = [person(*CONSOLE), person(*CONSOLE, "--watch")]
    for each in eyes:
        each.sees(b"watching")
        each.sees(THERE)
    assert b"is in use by process %d" % hands.process.pid in eyes[0].seen
    assert b"is in use by process %d" % hands.process.pid in eyes[1].seen
    for each in eyes:
        each.type(b"echo not$((1))\r")
    hands.type(b"echo for$((1))all\r")
    for each in (hands, *eyes):
        each.sees(b"for1all")
    eyes[0].type(b"\x1d")
    eyes[1].type(b"\x03")
    assert eyes[0].finish() == 0
    assert eyes[1].finish() == 130
    hands.type(b"echo end$((1))\r")
    hands.sees(b"end1")
    assert b"not1" not in hands.seen
    hands.type(b"\x1d")
    assert hands.finish() == 0
    assert all(each.is_as_before for each in eyes)


def test_watching_ends_when_who_holds_it_gives_it_back(board: PtyGuest, person: People) -> None:
    hands = attend(person)
    eyes = person(*CONSOLE, "--watch")
    eyes.sees(THERE)
    hands.type(b"echo last$((1))\r")
    hands.sees(b"last1")
    hands.type(b"\x1d")
    assert hands.finish() == 0
    assert eyes.finish() == 0
    assert b"last1" in eyes.seen
    assert b"what was watched has ended" in eyes.seen


def test_a_board_that_nobody_holds_is_opened_to_be_watched(board: PtyGuest, person: People) -> None:
    eyes = person(*CONSOLE, "--watch")
    eyes.sees(b"nobody else holds it")
    eyes.sees(THERE)
    board.write(b"a line of its own\n")
    eyes.sees(b"a line of its own")
    eyes.type(b"\x1d")
    assert eyes.finish() == 0


def test_it_takes_one_host(board: PtyGuest, person: People, tmp_path: Path) -> None:
    (tmp_path / "inv.ini").write_text(f"board serial_socket={board.path}\nother ansible_host=127.0.0.1\n")
    one = person("console", "-i", "inv.ini", "all")
    assert one.finish() == 2
    assert b"pattern matches 2 hosts; this command takes exactly one" in one.seen
    none = person("console", "-i", "inv.ini", "other")
    assert none.finish() == 2
    assert b"host 'other' has no serial console" in none.seen
    assert one.is_as_before
    assert none.is_as_before
