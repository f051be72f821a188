"""Programs of which nothing is known: what they write goes through named pipes, each through one of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Damaged, Timeout
from harness.transport.serial.transport import SerialTransport
from tests.patience import scaled

Within = Callable[..., Deadline]
OWN = """#!/bin/sh
case $1 in
    nothing) ;;
    short) echo "out $2"; echo "err $2" >&2 ;;
    bytes) printf 'a\\000b\\377%s' "$2"; printf '\\000' >&2 ;;
    much) seq "$2" 60000 ;;
    both) seq "$2" 30000; seq "$2" 30000 >&2 ;;
    by-name) echo "one $2" >/dev/stderr; echo "two $2" >/dev/stdout; echo "three $2" >/dev/stderr ;;
esac
exit "$2"
"""


def _numbers(first: int, last: int) -> bytes:
    return "".join(f"{n}\n" for n in range(first, last + 1)).encode()


EXPECTED: dict[str, Callable[[int], tuple[bytes, bytes]]] = {
    "nothing": lambda n: (b"", b""),
    "short": lambda n: (f"out {n}\n".encode(), f"err {n}\n".encode()),
    "bytes": lambda n: (f"a\0b{{}}{n}".encode().replace(b"{}", b"\xff"), b"\0"),
    "much": lambda n: (_numbers(n, 60000), b""),
    "both": lambda n: (_numbers(n, 30000), _numbers(n, 30000)),
    "by-name": lambda n: (f"two {n}\n".encode(), f"one {n}\nthree {n}\n".encode()),
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    program = tmp_path / "own"
    program.write_text(OWN)
    program.chmod(0o755)
    return program


def shell(bench: Any, tmp_path: Path, sh: str) -> SerialTransport:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shutil.which(sh) or "")
    transport: SerialTransport = bench.shell(
        "bash", "--norc", "-i", env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    )
    return transport


def carriers(transport: SerialTransport) -> list[int]:
    """The processes that carry what commands write."""
    assert transport.guest is not None
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[0] == b"cat" and len(command) > 30 and transport.guest.folder.encode() in command[1]:
            found.append(int(folder.name))
    return found


def is_right(transport: SerialTransport, own: Path, kind: str, number: int, deadline: Deadline) -> None:
    result = transport.run(f"{own} {kind} {number}", deadline=deadline)
    assert (result.stdout, result.stderr) == EXPECTED[kind](number), (kind, number)
    assert result.exit_status == number


@pytest.mark.parametrize("sh", ["dash", "bash", "busybox", "zsh"])
def test_each_answer_is_its_own(bench: Any, within: Within, tmp_path: Path, own: Path, sh: str) -> None:
    """More than one `cat` carries, with commands of other ways in between."""
    transport = shell(bench, tmp_path, sh)
    for number in range(40):
        is_right(transport, own, list(EXPECTED)[number % len(EXPECTED)], number, within(60))
        if number % 3 == 0:
            assert transport.run("uname -s; exit 3", deadline=within()).stdout == b"Linux\n"
        if number % 4 == 0:
            assert transport.run(f"{own} short 1 | cat; cat >&2", stdin=b"in", deadline=within()).stderr == b"err 1\nin"
    assert len(carriers(transport)) <= 2


@pytest.mark.parametrize("sh", ["dash", "bash", "busybox", "zsh"])
def test_who_holds_the_output_goes_on_unheard(bench: Any, within: Within, tmp_path: Path, own: Path, sh: str) -> None:
    transport = shell(bench, tmp_path, sh)
    go, done = tmp_path / "go", tmp_path / "done"
    is_right(transport, own, "short", 1, within())
    late = (
        f"(while [ ! -e {go} ]; do sleep 0.1; done; echo late; echo late >&2; echo alive >{done}) & echo begun; {own}"
    )
    assert transport.run(late, deadline=within()).stdout == b"begun\n"
    is_right(transport, own, "both", 2, within(60))
    go.touch()
    for number in range(3, 40):
        is_right(transport, own, "short", number, within())
    until = time.monotonic() + scaled(20)
    while not done.exists():
        assert time.monotonic() < until, "it was ended by writing to a pipe that nobody reads"
        time.sleep(0.05)
    is_right(transport, own, "both", 40, within(60))
    while len(carriers(transport)) > 2:
        assert time.monotonic() < until, "what carried it stays for ever"
        time.sleep(0.05)


@pytest.mark.parametrize("sh", ["dash", "bash", "busybox", "zsh"])
def test_who_carries_may_be_killed(bench: Any, within: Within, tmp_path: Path, own: Path, sh: str) -> None:
    transport = shell(bench, tmp_path, sh)
    is_right(transport, own, "short", 1, within())
    for number in range(2, 6):
        until = time.monotonic() + scaled(20)
        while len(victims := carriers(transport)) > 2:
            assert time.monotonic() < until, "the one whose other was killed stays for ever"
            time.sleep(0.01)
        assert len(victims) == 2
        os.kill(victims[number % 2], signal.SIGKILL)
        while victims[number % 2] in carriers(transport):
            time.sleep(0.01)
        is_right(transport, own, "both", number, within(60))


@pytest.mark.parametrize("which", [0, 1])
def test_what_was_carried_by_who_was_killed_is_not_believed(
    bench: Any, within: Within, tmp_path: Path, own: Path, which: int
) -> None:
    transport = shell(bench, tmp_path, "dash")
    is_right(transport, own, "short", 1, within())
    for _ in range(2):
        victim = sorted(carriers(transport))[which]
        killing = f"echo a; echo b >&2; sleep 0.5; kill -9 {victim}; {own} both 1; exit 0"
        with pytest.raises(Damaged, match="part of the output is lost"):
            transport.run(killing, deadline=within())
        is_right(transport, own, "both", 2, within(60))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("sh", ["dash", "bash", "busybox", "zsh"])
def test_a_carrier_that_gets_no_processor_for_a_while_is_waited_for(
    bench: Any, within: Within, tmp_path: Path, own: Path, sh: str, which: int
) -> None:
    """The command has ended long before its output has been carried; nothing else holds the output open."""
    transport = shell(bench, tmp_path, sh)
    is_right(transport, own, "short", 1, within())
    victim = sorted(carriers(transport))[which]
    goes_on = threading.Timer(1.5, os.kill, (victim, signal.SIGCONT))
    goes_on.start()
    try:
        result = transport.run(f"kill -STOP {victim}; {own} short 2", deadline=within())
    finally:
        goes_on.join()
    assert (result.stdout, result.stderr, result.exit_status) == (*EXPECTED["short"](2), 2)
    is_right(transport, own, "both", 3, within(60))


@pytest.mark.parametrize("sh", ["dash", "bash", "busybox"])
def test_what_carries_without_named_pipes_is_waited_for_as_well(
    bench: Any, within: Within, tmp_path: Path, own: Path, sh: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, program in [("sh", sh), *((tool, tool) for tool in ("cat", "mkdir", "rm", "sleep", "stty", "base64"))]:
        (tools / name).symlink_to(shutil.which(program) or "")
    transport = bench.shell(shutil.which("bash"), "--norc", "-i", env={"PATH": str(tools)})
    is_right(transport, own, "short", 1, within())
    ready, go = tmp_path / "ready", tmp_path / "go"

    def stop_for_a_while() -> None:
        until = time.monotonic() + scaled(20)
        while not ready.exists() and time.monotonic() < until:
            time.sleep(0.02)
        victims = _cats_started_in(tools)
        for victim in victims:
            os.kill(victim, signal.SIGSTOP)
        go.touch()
        time.sleep(1.5)
        for victim in victims:
            os.kill(victim, signal.SIGCONT)

    stops = threading.Thread(target=stop_for_a_while)
    stops.start()
    try:
        command = f": >{ready}; while [ ! -e {go} ]; do sleep 0.05; done; {own} short 2"
        result = transport.run(command, deadline=within())
    finally:
        stops.join()
    assert (result.stdout, result.stderr, result.exit_status) == (*EXPECTED["short"](2), 2)


def _cats_started_in(tools: Path) -> list[int]:
    """The processes `cat` whose environment is that of the test's own guest."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if command == b"cat\0" and f"PATH={tools}\0".encode() in environment:
            found.append(int(folder.name))
    return found


def test_what_was_ended_leaves_the_pipes_as_they_were(bench: Any, within: Within, tmp_path: Path, own: Path) -> None:
    transport = shell(bench, tmp_path, "dash")
    is_right(transport, own, "short", 0, within())  # logged in: the short deadlines are for the commands alone
    for number in range(20):
        with pytest.raises(Timeout):
            transport.run(f"{own} short {number}; sleep 50", deadline=within(0.6))
        is_right(transport, own, "short", number, within())


def test_nothing_stays_of_it(bench: Any, within: Within, tmp_path: Path, own: Path) -> None:
    transport = shell(bench, tmp_path, "dash")
    is_right(transport, own, "short", 1, within())
    ours = carriers(transport)
    assert len(ours) == 2
    folder = transport.guest.folder if transport.guest else ""
    transport.close()
    assert not os.path.exists(folder)
    until = time.monotonic() + scaled(10)
    while any(Path(f"/proc/{pid}").exists() for pid in ours):
        assert time.monotonic() < until, subprocess.run(["ps", "ax"], capture_output=True, text=True).stdout
        time.sleep(0.05)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 256 KiB, where the guest keeps what commands write."""
    if os.geteuid():
        pytest.skip("only root may mount")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=True)
    monkeypatch.setattr("harness.transport.serial.session.DIRS", (str(place),))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("command", ["{own} much 1", "seq 1 60000", "{own} much 1 >&2; sleep 60 & {own}"])
def test_what_finds_no_room_is_told(
    bench: Any, within: Within, tmp_path: Path, own: Path, small: Path, command: str
) -> None:
    transport = shell(bench, tmp_path, "dash")
    is_right(transport, own, "short", 1, within())
    for number in range(2, 5):
        with pytest.raises(Damaged, match="no room left"):
            transport.run(command.format(own=own), deadline=within())
        is_right(transport, own, "short", number, within())
        assert transport.run("uname", deadline=within()).stdout == b"Linux\n"
