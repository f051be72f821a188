"""Old text on a console, or somebody else's, with login prompts and refusals in it: none of them is believed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial.prompts import Prompt, unexpected

Within = Callable[..., Deadline]
GETTY = [sys.executable, "-IS", str(Path(__file__).with_name("getty.py"))]  # it needs no more than the standard library
BASH = ["bash", "--norc", "-i"]
PAUSE = 0.3  # longer than any quiet that a prompt is taken for one after

# What others write (None: a pause), as soon as the guest has had what is typed: the first key, the name, the password.
POURS: dict[str, dict[bytes, list[bytes | None]]] = {
    "pauses at prompts": {
        b"\n": [b"old\nguest login: ", None, b"\nPassword: ", None, b"\nLogin incorrect\n\nold login: ", None, b"x\n"]
    },
    "ends with a refused login": {b"\n": [b"Password: \nLogin incorrect\n\nold login: x\n", None, b"and more\n"]},
    "a password prompt before the login's own": {
        b"\n": [b"old login: x\nPassword: \nLogin incorrect\n"],
        b"root\n": [b"\nPassword: "],
    },
    "a refusal while the shell comes up": {b"secret\n": [b"\nLogin incorrect\n\nguest login: "]},
    "a refusal in the midst of others": {
        b"\n": [b"Password: \nLogin incorrect\n"],
        b"root\n": [b"\nlater\n"],
        b"secret\n": [b"\nLogin incorrect\n\nguest login: x\nPassword: ", None, b"\nLogin incorrect\n"],
    },
    "asks again": {b"\n": [b"Password: \n"], b"secret\n": [b"\nPassword: "]},
    "a new password": {b"secret\n": [b"You are required to change your password immediately\nNew password: "]},
    "ended logins": {b"\n": [b"Login timed out after 60 seconds.\n"] * 4, b"root\n": [b"Login timed out\n"]},
    "a machine that lets nobody in": {b"\n": [b"System is booting up. See pam_nologin(8)\n"]},
}


def pouring(bench: Any, pours: dict[bytes, list[bytes | None]], style: str, heard: Path) -> Any:
    left = dict(pours)

    def pour(data: bytes) -> bytes:
        for typed in [key for key in left if data.endswith(key)]:
            for piece in left.pop(typed):
                if piece is None:
                    time.sleep(PAUSE)
                else:
                    guest.printk(piece.replace(b"\n", b"\r\n"))
        return data

    guest = bench.guest([*GETTY, style, *BASH], respawn=True, env={"GETTY_HEARD": str(heard)}, to_guest=pour)
    return guest


@pytest.mark.parametrize(
    ("pour", "style"),
    [
        *((pour, "plain") for pour in POURS),
        ("a password prompt before the login's own", "tardy"),
        ("a refusal in the midst of others", "tardy"),
    ],
)
def test_a_right_password_is_not_refused(bench: Any, within: Within, pour: str, style: str) -> None:
    heard, raw = bench.folder / "heard", bench.folder / "raw.log"
    guest = pouring(bench, POURS[pour], style, heard)
    transport = bench.transport(bench.console(guest, raw_log=raw), password="secret")
    assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    assert "password=secret" in heard.read_text().splitlines()
    assert not [line for line in heard.read_text().splitlines() if line.startswith("name=") and "secret" in line]
    assert b"secret" not in raw.read_bytes()


@pytest.mark.parametrize("pour", ["pauses at prompts", "a refusal in the midst of others"])
def test_a_wrong_password_is_refused_all_the_same(bench: Any, within: Within, pour: str) -> None:
    heard = bench.folder / "heard"
    pours = {key.replace(b"secret", b"wrong"): pieces for key, pieces in POURS[pour].items()}
    transport = bench.transport(bench.console(pouring(bench, pours, "plain", heard)), password="wrong")
    with pytest.raises(Unavailable, match="refused: Login incorrect") as caught:
        transport.run("true", deadline=within(60))
    assert caught.value.cause is Cause.LOGIN
    # Twice at most: an account may be locked for more.
    assert 1 <= heard.read_text().splitlines().count("password=wrong") <= 2


@pytest.mark.parametrize(
    ("seen", "expected", "found"),
    [
        (b"\r\nguest login: ", (Prompt.NAME,), False),
        (b"guest login: \r\nguest login: ", (Prompt.NAME,), False),
        (b"Last login: Mon Nov 23 on ttyS0\r\n# ", (Prompt.NAME,), False),
        (b"root\r\nPassword: ", (Prompt.PASSWORD,), False),
        (b"\r\nLogin incorrect\r\n\r\nguest login: ", (Prompt.REFUSED, Prompt.NAME), False),
        (b"\r\nguest login: x\r\nLogin incorrect\r\n", (Prompt.REFUSED, Prompt.NAME), True),
        (b"Password: \r\nguest login: ", (Prompt.NAME,), True),
        (b"root\r\nguest login: x\r\nPassword: ", (Prompt.PASSWORD,), True),
        (b"Login timed out\r\n", (Prompt.NAME,), True),
        (b"", (), False),
    ],
)
def test_more_than_an_answer(seen: bytes, expected: tuple[Prompt, ...], found: bool) -> None:
    assert unexpected(seen, *expected) is found
