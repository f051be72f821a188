"""Real shells on real ptys: what `run` returns is what the command wrote, whatever the shell and the noise."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline, SystemClock
from harness.testing.pty_guest import PtyGuest
from harness.transport.errors import Cause, Timeout, TransportLost
from harness.transport.serial.transport import SerialTransport
from tests.patience import scaled

Within = Callable[..., Deadline]
SHELLS = {
    "bash": ["bash", "--norc", "-i"],
    "dash": ["dash", "-i"],
    "busybox": ["busybox", "ash", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "-i"],
}


@contextmanager
def noise(guest: PtyGuest) -> Iterator[None]:
    """A process that writes to the terminal all the while, at any byte, as a kernel does."""
    program = (
        "import os,random,sys,time\n"
        "fd=os.open(sys.argv[1],os.O_WRONLY|os.O_NOCTTY); n=0\n"
        "while True:\n"
        " n+=1; os.write(fd,random.choice([b'[   12.%06d] usb 1-1: something\\r\\n'%n, b'(1 of 2) A start job\\r',"
        " b'half a line %d'%n, b'\\x1b[0;1;31mred\\x1b[0m\\r\\n', b'x<y|y>.\\n', bytes([random.randrange(256)])]))\n"
        " time.sleep(random.random()*0.006)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, guest.tty])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_answers_are_byte_for_byte(bench: Any, within: Within, shell: str) -> None:
    _answers_are_byte_for_byte(bench.shell(*SHELLS[shell]), within)


@pytest.mark.parametrize("sh", ["bash", "busybox", "zsh"])
def test_answers_are_byte_for_byte_whatever_sh_is(bench: Any, within: Within, tmp_path: Path, sh: str) -> None:
    found = shutil.which(sh)
    assert found is not None, "apt.txt names it"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(found)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    _answers_are_byte_for_byte(bench.shell("bash", "--norc", "-i", env={"PATH": path}), within)


TOOLS = {
    "all": None,
    "od": ["cat", "od", "tr", "seq", "find", "echo", "sleep", "stty"],
    "none": ["cat", "tr", "seq", "find", "echo", "sleep", "stty"],
}


# Each shell, and each set of tools; the shells' own ways are used where there are no tools.
@pytest.mark.parametrize(("sh", "tools"), [("dash", "od"), ("bash", "all"), ("bash", "none"), ("busybox", "none")])
def test_nothing_can_be_written_in_the_guest(
    bench: Any, within: Within, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sh: str, tools: str
) -> None:
    """All that a command wrote is kept in a variable then, and read again from there."""
    monkeypatch.setattr("harness.transport.serial.session.DIRS", ("/nonexistent",))
    (tmp_path / "bin").mkdir()
    for name, program in [("sh", sh), *((tool, tool) for tool in TOOLS[tools] or ())]:
        (tmp_path / "bin" / name).symlink_to(shutil.which(program) or "")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}" if tools == "all" else str(tmp_path / "bin")
    guest = bench.guest([shutil.which("bash"), "--norc", "-i"], env={"PATH": path})
    transport = bench.transport(bench.console(guest))
    # bash takes 20 s of CPU time for what the others read in one, when it has to read byte by byte.
    slow = (sh, tools) == ("bash", "none")
    _answers_are_byte_for_byte(transport, within, lines=300 if slow else 3000)
    assert transport.guest.capture == "v"
    data = random.Random(3).randbytes(600 if slow else 3000)
    assert transport.run("cat", stdin=data, deadline=within()).stdout == data
    with pytest.raises(Timeout) as caught:
        transport.run("echo early; sleep 60", deadline=within(2))
    assert caught.value.stdout in (b"early\n", b"")  # a tenth of it is kept for reading: a busy machine needs more
    assert transport.run("echo next", deadline=within()).stdout == b"next\n"
    with noise(guest):
        for i in range(2 if slow else 5):
            result = transport.run(f"seq {i} 300; echo e >&2; exit {i}", deadline=within(60))
            assert result.stdout == "".join(f"{n}\n" for n in range(i, 301)).encode()
            assert (result.stderr, result.exit_status) == (b"e\n", i)


@pytest.mark.parametrize("sh", ["dash", "bash", "busybox", "zsh"])
@pytest.mark.parametrize("more", [True, False], ids=["another can", "none can"])
def test_a_folder_that_cannot_be_written_is_passed_over(
    bench: Any, within: Within, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sh: str, more: bool
) -> None:
    """Not even root can make a file in /proc."""
    monkeypatch.setattr("harness.transport.serial.session.DIRS", ("/proc", str(tmp_path)) if more else ("/proc",))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shutil.which(sh) or "")
    transport = bench.shell("bash", "--norc", "-i", env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert transport.run("echo a; exit 3", deadline=within()).exit_status == 3
    assert transport.guest.folder.startswith(str(tmp_path)) is more
    assert (transport.guest.capture == "v") is not more


def _answers_are_byte_for_byte(transport: SerialTransport, within: Within, *, lines: int = 3000) -> None:
    cases: list[tuple[str, bytes, bytes, int]] = [
        ("true", b"", b"", 0),
        ("false", b"", b"", 1),
        ("exit 3", b"", b"", 3),
        ("echo out; echo err >&2; exit 7", b"out\n", b"err\n", 7),
        (r"printf 'no newline'", b"no newline", b"", 0),
        (r"printf 'a\000b\377\r\n\t~|>.'", b"a\0b\xff\r\n\t~|>.", b"", 0),
        ("printf 'a|b>~'; printf '\\n\\n\\n' >&2", b"a|b>~", b"\n\n\n", 0),
        ("echo one >/dev/stderr; echo two >/dev/stderr", b"", b"one\ntwo\n", 0),
        ("echo 'a  b' \"c\" | tr a A; echo $?", b"A  b c\n0\n", b"", 0),
        ("echo one; echo two >&2; false", b"one\n", b"two\n", 1),
        ("echo >&2", b"", b"\n", 0),
        ("true; echo $?; false || echo $?", b"0\n1\n", b"", 0),
        ("sh -c 'echo a; echo b >&2; exit 4'", b"a\n", b"b\n", 4),
        ("sh -c 'echo a >&2; echo b >/dev/stderr; echo c >&2'", b"", b"a\nb\nc\n", 0),
        ("sh -c 'printf \"\\0\" >&2'", b"", b"\0", 0),
        ("find / -maxdepth 0 -exec echo {} +; sleep 0.1; echo e >&2", b"/\n", b"e\n", 0),
        ("cat", b"", b"", 0),
        ("x=1; cd /; umask 0", b"", b"", 0),
        ('echo "${x-unset}"', b"unset\n", b"", 0),
        (f"seq 1 {lines}", "".join(f"{i}\n" for i in range(1, lines + 1)).encode(), b"", 0),
        ("kill -9 $$", b"", b"", 137),
        ("echo still here", b"still here\n", b"", 0),
    ]
    for command, out, err, status in cases:
        result = transport.run(command, deadline=within())
        assert (result.stdout, result.stderr, result.exit_status) == (out, err, status), command
    result = transport.run("echo 'open quote", deadline=within())
    assert result.exit_status != 0
    assert b"nterminated" in result.stderr or b"unexpected EOF" in result.stderr or b"unmatched" in result.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_noise_on_the_terminal_never_changes_an_answer(bench: Any, within: Within, shell: str) -> None:
    guest = bench.guest(SHELLS[shell])
    transport = bench.transport(bench.console(guest))
    rng = random.Random(shell)
    damaged = again = 0
    rounds = int(os.environ.get("HARNESS_MANY") or 0) // 1000 or 12
    with noise(guest):
        for i in range(rounds):
            nonce = f"{rng.randrange(1 << 30)}"
            result = transport.run(f"echo a{nonce}; echo b{nonce} >&2; exit {i % 200}", deadline=within(60))
            assert result.stdout == f"a{nonce}\n".encode()
            assert result.stderr == f"b{nonce}\n".encode()
            assert result.exit_status == i % 200
            damaged += result.damage.damaged_lines
            again += result.damage.re_reads
        data = rng.randbytes(20000)
        echoed = transport.run("cat", stdin=data, deadline=within(60))
        assert echoed.stdout == data
        damaged += echoed.damage.damaged_lines
        again += echoed.damage.re_reads
    print(f"{shell}: {rounds + 1} commands, {damaged} lines damaged, {again} re-reads, 0 wrong")
    assert any("usb 1-1: something" in line for line in bench.events.lines())


def test_long_commands_and_large_input_survive_short_lines(bench: Any, within: Within) -> None:
    transport = bench.shell("busybox", "ash", "-i")
    text = "é\n\t'quoted' \\ $x " * 4000
    quoted = text.replace("'", "'\\''")
    result = transport.run(f"printf %s '{quoted}'", deadline=within())
    assert result.stdout == text.encode()
    data = random.Random(1).randbytes(150_000)
    assert transport.run("sha256sum", stdin=data, deadline=within()).out.split()[0] == hashlib.sha256(data).hexdigest()
    assert transport.run("cat", stdin=b"", deadline=within()).stdout == b""


def test_lost_and_changed_input_is_never_run(bench: Any, within: Within) -> None:
    """A line that loses or changes what is typed: the command is refused and typed again, or it is run as it is."""
    rng = random.Random(5)
    armed = threading.Event()

    def hurt(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if not armed.is_set() or rng.random() > 0.004:
                out.append(byte)
            elif rng.random() < 0.5:
                out.append(rng.choice(b"abcXYZ019 ;\"'\n"))
        return bytes(out)

    guest = bench.guest(["dash", "-i"], to_guest=hurt)
    transport = bench.transport(bench.console(guest))
    marker = bench.folder / "ran"
    transport.run("true", deadline=within())
    armed.set()
    for i in range(10):
        result = transport.run(f"echo value {i} >>{marker}; echo {i}", deadline=within(60))
        assert result.stdout == f"{i}\n".encode()
    assert marker.read_text() == "".join(f"value {i}\n" for i in range(10))


def test_a_command_that_overruns_is_ended_with_its_children(bench: Any, within: Within) -> None:
    transport = bench.shell("bash", "--norc", "-i")
    transport.run("true", deadline=within())
    mark = bench.folder / "pids"
    script = (
        f"(sleep 300 & echo $! >>{mark}; sh -c 'trap \"\" TERM; echo $$ >>{mark}; sleep 301') & echo begun; sleep 302"
    )
    with pytest.raises(Timeout) as caught:
        transport.run(script, deadline=within(3))
    assert caught.value.stdout in (b"begun\n", b"")
    assert transport.run("echo next", deadline=within()).stdout == b"next\n"
    for pid in mark.read_text().split():
        state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
        assert not state or state.startswith("Z"), f"{pid} still runs: {state}"


def test_the_record_has_the_blanks_of_a_command(bench: Any, within: Within) -> None:
    """Secrets are masked in it, and one that holds a blank would not be found in what is typed."""
    transport = bench.shell("dash", "-i")
    transport.run("echo 'pass word'; exit 3", deadline=within())
    assert any(" echo 'pass word'; exit 3" in fields["text"] for fields in bench.events.of("console.input"))


class Leaping(SystemClock):
    """A clock that has jumped ahead, as ours does where the process was stopped, or its machine is busy."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_deadline_that_passed_unseen_ends_the_command_too(bench: Any) -> None:
    transport = bench.shell("bash", "--norc", "-i")
    transport.run("true", deadline=Deadline.after(scaled(60)))
    mark, clock = bench.folder / "pids", Leaping()

    def leap() -> None:
        until = time.monotonic() + scaled(30)
        while not mark.exists() and time.monotonic() < until:
            time.sleep(0.01)
        clock.ahead = 1000.0

    leaps = threading.Thread(target=leap)
    leaps.start()
    with pytest.raises(Timeout):
        transport.run(f"sleep 300 & echo $! >{mark}; wait; sleep 301", deadline=Deadline.after(600, clock=clock))
    leaps.join()
    assert transport.run("echo next", deadline=Deadline.after(scaled(60))).stdout == b"next\n"
    state = subprocess.run(["ps", "-o", "stat=", "-p", mark.read_text().strip()], capture_output=True, text=True).stdout
    assert not state.strip() or state.startswith("Z"), f"it still runs: {state}"


def test_a_background_child_that_holds_the_output_does_not_hang_us(bench: Any, within: Within) -> None:
    transport = bench.shell("dash", "-i")
    result = transport.run("(sleep 60; echo late) & echo done", deadline=within())
    assert result.stdout == b"done\n"
    assert transport.run("echo next", deadline=within()).stdout == b"next\n"


def test_a_thousand_timeouts_or_some_leave_nothing_behind(bench: Any, within: Within) -> None:
    transport = bench.shell("dash", "-i")
    transport.run("true", deadline=within())
    fds, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    rounds = 1000 if os.environ.get("HARNESS_MANY") else 6
    for i in range(rounds):
        with pytest.raises(Timeout):
            transport.run("sleep 50", deadline=within(0.4))
        assert transport.run(f"echo {i}", deadline=within()).stdout == f"{i}\n".encode()
    assert len(os.listdir("/proc/self/fd")) == fds
    assert threading.active_count() == threads


def test_the_end_of_the_console_is_a_typed_error_and_it_comes_back(bench: Any, within: Within) -> None:
    guest = bench.guest(["bash", "--norc", "-i"])
    transport = bench.transport(bench.console(guest))
    transport.run("true", deadline=within())
    threading.Timer(0.3, guest.drop_client).start()
    with pytest.raises(TransportLost) as caught:
        transport.run("sleep 20", deadline=within())
    assert caught.value.cause is Cause.EOF
    assert caught.value.may_have_run
    result = transport.run("echo back", deadline=within())
    assert result.stdout == b"back\n"
    assert result.damage.reconnects == 1


BEHIND_AND_HUNG_UP = """\
import os, signal, sys
tty, shell, ours = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY), int(sys.argv[2]), int(sys.argv[3])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.tcsetpgrp(tty, os.getpgid(shell))
os.kill(ours, signal.SIGHUP)
"""


def test_a_login_that_ends_before_us_leaves_no_shell_of_ours_behind(bench: Any, within: Within, tmp_path: Path) -> None:
    """The login's shell has the terminal again when ours hears of the end: what gives the terminal back as it was is
    not to be stopped for that."""
    guest = bench.guest(["bash", "--norc", "-i"])
    transport = bench.transport(bench.console(guest))
    transport.run("true", deadline=within())
    assert transport.guest is not None
    ours, program = transport.guest.pid, tmp_path / "program.py"
    program.write_text(BEHIND_AND_HUNG_UP)
    command = f"{sys.executable} {program} {guest.tty} {guest.process.pid} {ours}; sleep 20"
    with suppress(TransportLost):  # or it is ended before, and says so
        assert transport.run(command, deadline=within(20)).exit_status != 0
    until = time.monotonic() + scaled(10)
    while Path(f"/proc/{ours}").exists():
        assert time.monotonic() < until, Path(f"/proc/{ours}/stat").read_text()
        time.sleep(0.05)


def test_a_shell_that_was_killed_is_noticed(bench: Any, within: Within) -> None:
    guest = bench.guest(["bash", "--norc", "-i"])
    transport = bench.transport(bench.console(guest))
    transport.run("true", deadline=within())
    assert transport.guest is not None
    with pytest.raises(TransportLost) as caught:
        transport.run(f"kill -9 {transport.guest.pid}; sleep 20", deadline=within(20))
    assert caught.value.cause is Cause.NO_SHELL
    assert transport.run("echo back", deadline=within()).stdout == b"back\n"


def test_text_that_looks_like_a_panic_is_only_text(bench: Any, within: Within) -> None:
    guest = bench.guest(["bash", "--norc", "-i"])
    transport = bench.transport(bench.console(guest))
    text = "[   1.0] Kernel panic - not syncing: no"
    script = f"sleep 0.2; echo '{text}' >{guest.tty}; echo 'host login: ' >{guest.tty}; sleep 0.5; echo fine"
    assert transport.run(script, deadline=within()).stdout == b"fine\n"
    assert text in bench.events.lines()


def test_files_arrive_whole_or_not_at_all(bench: Any, within: Within) -> None:
    transport = bench.shell("bash", "--norc", "-i")
    data = random.Random(2).randbytes(1_500_000)
    path = str(bench.folder / "a file")
    seen: list[tuple[int, int]] = []
    transport.put(data[:60_000], path, deadline=within(), mode=0o640, progress=lambda a, b: seen.append((a, b)))
    assert seen[-1] == (60_000, 60_000)
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert transport.get(path, deadline=within()) == data[:60_000]
    (bench.folder / "big").write_bytes(data)
    assert transport.get(str(bench.folder / "big"), deadline=within(60)) == data
    with pytest.raises(FileNotFoundError):
        transport.get("/nowhere/at/all", deadline=within())
    with pytest.raises(FileNotFoundError):
        transport.put(b"x", "/nowhere/at/all", deadline=within())
    assert sorted(os.listdir(bench.folder)) == ["a file", "big", "console1", "run"]


def test_nothing_stays_in_the_guest(bench: Any, within: Within) -> None:
    transport = bench.shell("bash", "--norc", "-i")
    for i in range(60):
        transport.run(f"echo {i}", deadline=within())
    assert transport.guest is not None
    folder = transport.guest.folder
    assert len(os.listdir(folder)) < 200
    assert os.stat(folder).st_mode & 0o077 == 0
    transport.close()
    assert not os.path.exists(folder)


@pytest.mark.parametrize("shell", [["dash", "-i"], ["bash", "--norc", "--noediting", "-i"]], ids=["dash", "bash"])
def test_the_terminal_is_left_as_it_was(bench: Any, within: Within, shell: list[str]) -> None:
    """Without its echo whoever comes to the console next would type blindly."""
    guest = bench.guest(shell)
    with open(guest.tty, "rb") as terminal:
        before = termios.tcgetattr(terminal)
        transport = bench.transport(bench.console(guest))
        transport.run("true", deadline=within())
        assert termios.tcgetattr(terminal) != before
        transport.close()
        assert termios.tcgetattr(terminal) == before


def test_frames_are_no_console_lines(bench: Any, within: Within) -> None:
    transport = bench.shell("bash", "--norc", "-i")
    transport.run("seq 1 5000", deadline=within())
    before = len(bench.events.lines())
    for command in ("echo hello", "seq 1 5000", "echo x; exit 3"):
        transport.run(command, deadline=within())
    assert bench.events.lines()[before:] == []
