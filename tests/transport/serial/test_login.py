"""Getting a shell: every login style, every state that somebody may have left a console in."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled
from harness.transport.errors import Cause, Damaged, Unavailable
from harness.transport.serial.guest import loader
from harness.transport.serial.login import Login
from harness.transport.serial.prompts import Prompt, classify
from harness.transport.serial.session import Session
from harness.transport.serial.timing import LineTiming
from tests.clocks import ManualClock
from tests.patience import scaled

Within = Callable[..., Deadline]
GETTY = [sys.executable, "-IS", str(Path(__file__).with_name("getty.py"))]  # it needs no more than the standard library
BASH = ["bash", "--norc", "-i"]
MANY = bool(os.environ.get("HARNESS_MANY"))


@pytest.mark.parametrize(
    "style", ["plain", "silent", "autologin", "colour", "timeout", "nopassword", "booting", "slow"]
)
@pytest.mark.parametrize("shell", [BASH, ["fish", "-i"]][: 2 if MANY else 1], ids=["bash", "fish"][: 2 if MANY else 1])
def test_each_login_style(bench: Any, within: Within, style: str, shell: list[str]) -> None:
    guest = bench.guest([*GETTY, style, *shell], respawn=True)
    transport = bench.transport(bench.console(guest), password="secret")
    assert transport.run("echo in", deadline=within(40)).stdout == b"in\n"
    typed = [fields["text"] for fields in bench.events.of("console.input")]
    assert not any("secret" in text for text in typed)


def test_a_refused_login_is_an_error_and_no_loop(bench: Any, within: Within) -> None:
    guest = bench.guest([*GETTY, "plain", *BASH], respawn=True)
    transport = bench.transport(bench.console(guest), password="wrong")
    with pytest.raises(Unavailable) as caught:
        transport.run("true", deadline=within())
    assert caught.value.cause is Cause.LOGIN
    assert "refused" in str(caught.value)
    names = [f["text"] for f in bench.events.of("console.input") if f["text"] == "root"]
    assert len(names) == 1


@pytest.mark.parametrize("style", ["half", "half-changed", "late timeout"])
def test_what_an_earlier_login_left_or_a_slow_one_ended(bench: Any, within: Within, style: str) -> None:
    heard = bench.folder / "heard"
    guest = bench.guest([*GETTY, style, *BASH], respawn=True, env={"GETTY_HEARD": str(heard)})
    transport = bench.transport(bench.console(guest), password="secret")
    assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    told = [line for line in heard.read_text().splitlines() if line not in ("name=", "password=")]
    assert told == ["name=root", "password=secret"] * (2 if style == "late timeout" else 1)


@pytest.mark.parametrize("style", ["never in time", "never in time, mute"])
def test_logins_that_the_machine_always_ends_too_early(bench: Any, within: Within, style: str) -> None:
    guest = bench.guest([*GETTY, style, *BASH], respawn=True)
    words = ": Login timed out after 60 seconds" if style == "never in time" else ""
    with pytest.raises(Unavailable, match=f"ended the login of root 3 times{words}") as caught:
        bench.transport(bench.console(guest), password="secret").run("true", deadline=within(60))
    assert caught.value.cause is Cause.LOGIN


def test_a_refusal_says_what_the_machine_said(bench: Any, within: Within) -> None:
    guest = bench.guest([*GETTY, "locked", *BASH], respawn=True)
    with pytest.raises(Unavailable, match="Your account has expired") as caught:
        bench.transport(bench.console(guest), password="secret").run("true", deadline=within())
    assert caught.value.cause is Cause.LOGIN


def test_an_emergency_shell_is_opened_with_roots_password_and_left_open(bench: Any, within: Within) -> None:
    guest = bench.guest([*GETTY, "maintenance", *BASH], respawn=True)
    transport = bench.transport(bench.console(guest), password="secret")
    assert transport.run("echo in", deadline=within(40)).stdout == b"in\n"
    transport.close()
    typed = [fields["text"] for fields in bench.events.of("console.input")]
    assert not any("secret" in text for text in typed)
    assert "exit" not in typed, "leaving it would let the boot go on"


@pytest.mark.parametrize(
    ("style", "password", "words"),
    [
        ("maintenance", None, "asks for root's password for maintenance, and none is given"),
        ("maintenance", "wrong", "refuses the one that is given"),
        ("root locked", "secret", "the root account is locked"),
    ],
)
def test_an_emergency_shell_that_stays_closed_says_why(
    bench: Any, within: Within, style: str, password: str | None, words: str
) -> None:
    guest = bench.guest([*GETTY, style, *BASH], respawn=True)
    with pytest.raises(Unavailable, match=words) as caught:
        bench.transport(bench.console(guest), password=password).run("true", deadline=within(40))
    assert caught.value.cause is Cause.LOGIN


def test_a_password_that_must_be_changed(bench: Any, within: Within) -> None:
    guest = bench.guest([*GETTY, "expired", *BASH], respawn=True)
    transport = bench.transport(bench.console(guest), password="secret")
    with pytest.raises(Unavailable) as caught:
        transport.run("true", deadline=within())
    assert caught.value.cause is Cause.PASSWORD_EXPIRED
    assert "secret" not in str(caught.value)


def test_a_password_that_is_not_given(bench: Any, within: Within) -> None:
    guest = bench.guest([*GETTY, "plain", *BASH], respawn=True)
    with pytest.raises(Unavailable) as caught:
        bench.transport(bench.console(guest)).run("true", deadline=within())
    assert caught.value.cause is Cause.LOGIN
    assert "serial_password" in caught.value.hint


def test_a_console_that_says_nothing(bench: Any, within: Within) -> None:
    guest = bench.guest(["sh", "-c", "stty -echo; trap '' INT QUIT TSTP; while :; do sleep 1000; done"])
    with pytest.raises(Unavailable) as caught:
        bench.transport(bench.console(guest)).run("true", deadline=within(6))
    assert caught.value.cause in (Cause.NO_SHELL, Cause.TIMEOUT)


def test_ctrl_c_ends_a_login_at_once(bench: Any) -> None:
    guest = bench.guest(["sh", "-c", "stty -echo; trap '' INT QUIT TSTP; while :; do sleep 1000; done"])
    cancellation = Cancellation()
    threading.Timer(0.5, lambda: cancellation.cancel("Ctrl-C")).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        bench.transport(bench.console(guest)).run(
            "true", deadline=Deadline.after(scaled(60), cancellation=cancellation)
        )
    assert time.monotonic() - began < 30


LEFT = {
    "cat": b"cat\n",
    "less": b"seq 1 500 | less\n",
    "vi": b"vi /etc/passwd\n",
    "quote": b"echo 'open\n",
    "double quote": b'echo "open\n',
    "here-document": b"cat <<END\nmore\n",
    "half a command": b"echo half a comm",
    "a running command": b"sleep 1000\n",
    "continuation": b"if true; then\n",
    "stopped output": b"\x13",
    "python": f"{sys.executable} -q\n".encode(),
}


# Each takes the seconds that the gentler keys before it are given; the rest is tried where time is no matter.
QUICK = ["cat", "vi", "here-document", "half a command"]


@pytest.mark.parametrize("left", LEFT if MANY else QUICK)
def test_whatever_was_left_on_the_console(bench: Any, within: Within, left: str) -> None:
    guest = bench.guest(BASH)
    console = bench.console(guest)
    console.open(within())
    time.sleep(0.4)  # the shell must be there before somebody can leave something in it
    console.write(LEFT[left], deadline=within())
    time.sleep(0.4)
    assert bench.transport(console).run("echo in", deadline=within(40)).stdout == b"in\n"


@pytest.mark.parametrize("shell", [["bash", "--norc", "-i"], ["busybox", "ash", "-i"], ["sh"]], ids=lambda a: a[0])
def test_a_half_typed_line_is_never_run(bench: Any, within: Within, shell: list[str]) -> None:
    guest = bench.guest(shell)
    console = bench.console(guest)
    console.open(within())
    time.sleep(0.4)
    ran = bench.folder / "ran"
    console.write(f"touch {ran}".encode(), deadline=within())
    time.sleep(0.4)
    assert bench.transport(console).run("echo in", deadline=within(40)).stdout == b"in\n"
    assert not ran.exists()


@pytest.mark.parametrize("style", ["plain", "nopassword"])
def test_a_long_backlog_is_waited_out(bench: Any, within: Within, style: str) -> None:
    """Old text pours out for seconds when we come, prompts among it: no answer is typed at one of those."""
    heard = bench.folder / "heard"
    env = {"GETTY_HEARD": str(heard)}
    guest = bench.guest([*GETTY, style, *BASH], respawn=True, env=env)
    raw = bench.folder / "raw.log"
    transport = bench.transport(bench.console(guest, raw_log=raw), password="secret")
    stop = time.monotonic() + 2.5

    def pour() -> None:
        while time.monotonic() < stop:
            guest.write(b"an old line\nguest login: \nPassword: \nLogin incorrect\n\nold login: x\n" * 5)
            time.sleep(0.01)

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    finally:
        pouring.join()
    told = [line for line in heard.read_text().splitlines() if line != "name="]
    assert told == ["name=root"] + (["password=secret"] if style == "plain" else [])
    assert b"secret" not in raw.read_bytes()


def test_an_earlier_run_that_was_killed(bench: Any, within: Within) -> None:
    guest = bench.guest(BASH)
    first = bench.console(guest)
    transport = bench.transport(first)
    transport.run("true", deadline=within())
    first.close()  # no goodbye: our program still waits there, with the echo off
    assert bench.transport(bench.console(guest)).run("echo in", deadline=within()).stdout == b"in\n"


@pytest.mark.parametrize("deaf", ["trap '' INT QUIT", "stty intr undef", "stty intr undef eof undef"])
@pytest.mark.parametrize("amid", ["the program", "its loader"])
def test_an_earlier_run_that_was_killed_where_ctrl_c_is_ignored(
    bench: Any, within: Within, deaf: str, amid: str
) -> None:
    """As in a debug shell that was started with `&`."""
    guest = bench.guest(["sh", "-c", f"{deaf}; exec bash --norc -i"])
    first = bench.console(guest)
    if amid == "the program":
        bench.transport(first).run("true", deadline=within())
    else:
        first.open(within())
        time.sleep(0.4)
        first.write(f"{loader('abcd', 'efgh')}\n+echo half a\n+program\n".encode(), deadline=within())
        time.sleep(0.4)
    first.close()
    assert bench.transport(bench.console(guest)).run("echo in", deadline=within()).stdout == b"in\n"


def test_a_program_whose_echo_is_lost_is_found_running(
    bench: Any, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrived whole and was started, while what was given back of it was lost or late: it is not typed to again."""
    type_ahead = Session._type_ahead

    def lose_the_echo(self: Session, *arguments: Any, **options: Any) -> None:
        type_ahead(self, *arguments, **options)

    monkeypatch.setattr(Session, "_type_ahead", lose_the_echo)
    typed = 0

    def count(data: bytes) -> bytes:
        nonlocal typed
        typed += len(data)
        return data

    guest = bench.guest(BASH, to_guest=count)
    assert bench.transport(bench.console(guest)).run("echo in", deadline=within(60)).stdout == b"in\n"
    assert typed < 10_000


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else first")
def test_su_makes_root(bench: Any, within: Within) -> None:
    """Somebody who is root already needs nothing; somebody who is not gets told what su said."""
    from harness.transport.serial.spec import Become

    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "--norc", "-i"]
    guest = bench.guest(argv, env={"HOME": "/tmp"})
    with pytest.raises(Unavailable) as caught:
        bench.transport(bench.console(guest), become=Become("su", "wrong")).run("true", deadline=within(40))
    assert caught.value.cause is Cause.BECOME
    root = bench.transport(bench.console(bench.guest(BASH)), become=Become("su"))
    assert root.run("id -u", deadline=within()).stdout == b"0\n"


def test_no_controlling_terminal(bench: Any, within: Within) -> None:
    """As with `init=/bin/sh`: no job control and no Ctrl-C, yet an overrunning command is ended."""
    from harness.transport.errors import Timeout

    transport = bench.shell("dash", "-i", controlling=False)
    assert transport.run("echo in", deadline=within()).stdout == b"in\n"
    assert transport.guest.job_control is False
    with pytest.raises(Timeout):
        transport.run("sleep 200.25 | cat", deadline=within(2))
    assert transport.run("echo next", deadline=within()).stdout == b"next\n"
    # A process that got its signal may not have run since then.
    left = "ps ax -o args | grep 'slee[p] 200.25'"
    end = time.monotonic() + scaled(10)
    while transport.run(left, deadline=within()).stdout:
        assert time.monotonic() < end, "it still runs"


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox"])
def test_a_guest_with_no_tools_at_all(bench: Any, within: Within, shell: str) -> None:
    """No base64, gzip, awk, sed, cat, rm or sums: the shell alone does it, or says that it cannot."""
    folder = bench.folder / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(shutil.which(shell) or "")
    transport = bench.transport(bench.console(bench.guest([str(folder / "sh"), "-i"], env={"PATH": str(folder)})))
    result = transport.run("echo out; echo err >&2; exit 5", deadline=within())
    assert (result.stdout, result.stderr, result.exit_status) == (b"out\n", b"err\n", 5)
    loop = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done"
    expected = "".join(f"line {i}\n" for i in range(200)).encode()
    assert transport.run(loop, deadline=within()).stdout == expected
    assert transport.run("while read x; do echo $x; done", stdin=b"1\n2\n", deadline=within()).stdout == b"1\n2\n"
    if shell == "dash":
        with pytest.raises(Damaged, match="no means"):
            transport.run(r"printf 'a\000\377b'", deadline=within())
        assert transport.run("echo fine", deadline=within()).stdout == b"fine\n"
    else:
        assert transport.run(r"printf 'a\000\377b'", deadline=within()).stdout == b"a\0\xffb"


CLASSIFIED = {
    b"\r\nguest login: ": Prompt.NAME,
    b"\x1b[1mguest login:\x1b[0m ": Prompt.NAME,
    b"Username: ": Prompt.NAME,
    b"Password: ": Prompt.PASSWORD,
    b"[sudo] password for joe: ": Prompt.PASSWORD,
    b"Last login: Mon Nov 23 10:00 on ttyS0\r\nroot@guest:~# ": Prompt.OTHER,
    b"[  OK  ] Started getty # $ > \r\n": Prompt.OTHER,
    b"login: timed out\r\n": Prompt.OTHER,
    b"Password: \n": Prompt.OTHER,
    b"guest login: \r\n": Prompt.OTHER,
    b"Login incorrect\r\nguest login: ": Prompt.REFUSED,
    b"(current) UNIX password: ": Prompt.NEW_PASSWORD,
    b"New password: ": Prompt.NEW_PASSWORD,
    b"abcd2345<!|712345678901>\r\n": Prompt.HARNESS,
    b"abcd2345:x:abcd2345\r\n": Prompt.HARNESS,
    b"": Prompt.OTHER,
    b"Give root password for maintenance\r\n(or press Control-D to continue): ": Prompt.MAINTENANCE,
    b"Login incorrect\r\n\r\nGive root password for maintenance\r\n(or press Control-D to continue): ": (
        Prompt.MAINTENANCE
    ),
    b"Give root password for system maintenance\n(or type Control-D for normal startup):": Prompt.MAINTENANCE,
    b"Press Enter for maintenance\r\n(or press Control-D to continue): ": Prompt.MAINTENANCE_ENTER,
    b"Give root password for maintenance\r\n(or press Control-D to continue): \r\nroot@vm1:~# ": Prompt.OTHER,
    b"\r\n(or press Control-D to continue): ": Prompt.MAINTENANCE_ENTER,
    b"\r\r\nGive root password for maintenance\r\r\n(or press Control-D to continue): ": Prompt.MAINTENANCE,
    b"Cannot open access to console, the root account is locked.\r\nPress Enter to continue.\r\n": Prompt.ROOT_LOCKED,
}


@pytest.mark.parametrize("seen", CLASSIFIED)
def test_prompts_are_told_apart(seen: bytes) -> None:
    assert classify(seen) is CLASSIFIED[seen]


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_machine_that_is_slow_to_start_a_login_leaves_time_for_it(in_doubt: bool) -> None:
    """Two words wait for an echo: of a login of 60 s they took all where a getty had taken eight to start."""
    login = object.__new__(Login)
    login._console = SimpleNamespace(timing=LineTiming(latency=8.0))  # type: ignore[assignment]
    login._echo_took, login._prompt_took, login._doubt = 0.0, 8.0, in_doubt
    waits = login._echo_wait(Deadline.after(60, clock=ManualClock()))
    assert 1.5 <= waits <= 60 / 16
    assert login._echo_wait(Deadline.after(5, clock=ManualClock())) == 1.5


def test_only_an_empty_line_is_typed_into_a_dialogue(bench: Any, within: Within) -> None:
    """What answers the first newline draws a screen: neither a probe nor a key that ends programs follows."""
    script = bench.folder / "dialogue.py"
    script.write_text(
        "import os, sys, tty\n"
        "tty.setraw(0)\n"
        f"open({str(bench.folder / 'ready')!r}, 'w')\n"
        "while data := os.read(0, 100):\n"
        f"    open({str(bench.folder / 'typed')!r}, 'ab').write(data)\n"
        "    os.write(1, b''.join(b'\\x1b[%d;5H| erase all disks? |' % row for row in range(5, 15)))\n"
    )
    transport = bench.shell(sys.executable, str(script))
    end = time.monotonic() + scaled(20)
    while not (bench.folder / "ready").exists() and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(Unavailable, match=r"nothing is typed on the console .*a menu or a dialogue") as caught:
        transport.run("true", deadline=within())
    assert "| erase all disks? |" in str(caught.value)
    # Ctrl-E, Ctrl-U and Enter: an empty line, whatever was typed before.
    assert (bench.folder / "typed").read_bytes().strip(b"\r\n") == b"\x05\x15"


def test_a_console_that_is_only_read_gets_no_key(bench: Any, within: Within) -> None:
    guest = bench.guest(["dash", "-i"])
    typed: list[bytes] = []

    def keep(data: bytes) -> bytes:
        typed.append(data)
        return data

    guest.to_guest = keep
    transport = bench.transport(bench.console(guest), hands_off=True)
    with pytest.raises(Unavailable, match="console_hands_off is set"):
        transport.run("true", deadline=within())
    assert typed == []
