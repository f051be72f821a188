"""Logging in while the console is never quiet: kernel and systemd lines at any byte, and noise of no known form."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.testing.pty_guest import PtyGuest
from harness.transport.errors import Cause, Unavailable

from .test_login import BASH, GETTY, MANY
from .test_shells import noise

Within = Callable[..., Deadline]
KERNEL = (
    b"[%5d.%06d] foo: bar\r\n",
    b"[%5d.%06d] Password: for nobody, guest login: \r\n",
    b"[%5d.%06d] systemd[1]: Login incorrect, permission denied.\r\n",
    b"[%5d.%06d][    T1] x[1] (y) [  OK  ] z\r\n",
)
SYSTEMD = (
    b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mfoo@%d.service\x1b[0m - Foo.\n",
    b"         Starting \x1b[0;1;39mbar@%d.service\x1b[0m - Bar login: \n",
    b"\x1bM\r\x1b[K[\x1b[0;31m*\x1b[0;1;31m*\x1b[0m    ] (%d of 9) A start job is running for x (5s / 1min)\n",
    b"\x1b[K[FAILED] Failed to start password: %d\n",
)


@contextmanager
def flood(guest: PtyGuest, *, over: Callable[[], bool], seed: int = 1, every: float = 0.004) -> Iterator[None]:
    """A kernel that prints at any byte and a systemd that writes to the terminal, without a pause.

    When it is `over` it only trickles: what noise does to commands is told by the tests of the frames.
    """
    rng = random.Random(seed)
    stop = threading.Event()

    def run() -> None:
        count = 0
        while not stop.wait(every * rng.random() * (20 if over() else 2)):
            count += 1
            guest.printk(rng.choice(KERNEL[: 1 if over() else 4]) % (400 + count // 100, count))
            if count % 5 == 0 and not over():
                guest.write(rng.choice(SYSTEMD) % count)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def heard(bench: Any) -> list[str]:
    """What the getty was told, without the empty names by which it was woken."""
    lines = (bench.folder / "heard").read_text().splitlines()
    return [line for line in lines if line != "name="]


def floods(bench: Any, guest: PtyGuest, kind: str) -> Any:
    return noise(guest) if kind == "unknown" else flood(guest, over=lambda: bool(bench.events.of("serial.connected")))


LOGINS = [("plain", "kernel"), ("autologin", "kernel"), ("timeout", "kernel"), ("plain", "unknown")]
PROBE = re.compile(r'(name|password)=.* echo \w+""\w+')
RARER = [
    ("slow", "kernel"),
    ("colour", "kernel"),
    ("silent", "kernel"),
    ("autologin", "unknown"),
    ("timeout", "unknown"),
]


@pytest.mark.parametrize(("style", "kind"), [*LOGINS, *RARER] if MANY else LOGINS)
def test_a_login_while_the_console_is_never_quiet(bench: Any, within: Within, style: str, kind: str) -> None:
    env = {"GETTY_HEARD": str(bench.folder / "heard")}
    guest = bench.guest([*GETTY, style, *BASH], respawn=True, env=env, trickle=kind == "kernel")
    raw = bench.folder / "raw.log"
    transport = bench.transport(bench.console(guest, raw_log=raw), password="secret", login_timeout=120)
    with floods(bench, guest, kind):
        assert transport.run("echo in", deadline=within(120)).stdout == b"in\n"
    told = heard(bench) if style != "autologin" else ["name=root", "password=secret"]
    # Such noise may stand for good where a prompt for a password would be seen, and a busy machine may be slow to print
    # one: a probe that is typed there is refused, and the next login goes well. What is never typed is the password
    # anywhere else.
    told = [line for line in told if not PROBE.fullmatch(line) and line != "password="]
    assert told[-2:] == ["name=root", "password=secret"]
    assert set(told[:-2]) <= {"name=root"}
    assert b"secret" not in raw.read_bytes()
    assert any("foo: bar" in line or "usb 1-1" in line for line in bench.events.lines())


@pytest.mark.parametrize("kind", ["kernel", "unknown"])
def test_no_password_is_given_to_what_asks_for_none(bench: Any, within: Within, kind: str) -> None:
    """The noise says `Password: ` all the while, and a shell stands there: it must never be told the password."""
    env = {"GETTY_HEARD": str(bench.folder / "heard")}
    guest = bench.guest([*GETTY, "nopassword", *BASH], respawn=True, env=env, trickle=kind == "kernel")
    raw = bench.folder / "raw.log"
    transport = bench.transport(bench.console(guest, raw_log=raw), password="secret", login_timeout=120)
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.05):
            guest.write(b"Password: \n")

    asking = threading.Thread(target=ask)
    with floods(bench, guest, kind):
        asking.start()
        try:
            assert transport.run("echo in", deadline=within(120)).stdout == b"in\n"
        finally:
            stop.set()
            asking.join()
    assert b"secret" not in raw.read_bytes()
    # A name that was torn by noise is asked for a password: an empty line or a probe may answer that, and nothing else.
    assert not any("secret" in line for line in heard(bench)), heard(bench)


@pytest.mark.parametrize("kind", ["kernel", "unknown"])
def test_a_login_that_is_refused_in_the_flood(bench: Any, within: Within, kind: str) -> None:
    env = {"GETTY_HEARD": str(bench.folder / "heard")}
    guest = bench.guest([*GETTY, "plain", *BASH], respawn=True, env=env, trickle=kind == "kernel")
    with floods(bench, guest, kind), pytest.raises(Unavailable) as caught:
        bench.transport(bench.console(guest), password="wrong", login_timeout=120).run("true", deadline=within(120))
    assert caught.value.cause is Cause.LOGIN
    assert heard(bench) == ["name=root", "password=wrong"]
