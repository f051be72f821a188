"""`harness shell`: an SSH session as a person has it, and as a pipe has it, with a real sshd."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.operate.person import Person, close, harness
from tests.transport.ssh.conftest import Sshd, make_sshd

SHELL = ("shell", "-i", "inv.ini", "box")
PROMPT = b"there> "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd that is not harmed."""
    found = make_sshd(tmp_path_factory.mktemp("sshd"))
    found.start()
    yield found
    found.stop()


@pytest.fixture
def box(server: Sshd, tmp_path: Path) -> Sshd:
    """It stands in `inv.ini` as `box`."""
    know(tmp_path, server)
    write(tmp_path, server.port, server.client_key)
    return server


def know(folder: Path, server: Sshd) -> None:
    key = (server.folder / "host_ed25519.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {key}")


def write(folder: Path, port: int, key: Path, more: str = "") -> None:
    options = f"-F none -o UserKnownHostsFile={folder / 'known_hosts'} -o IdentitiesOnly=yes"
    (folder / "inv.ini").write_text(
        f"box ansible_host=127.0.0.1 ansible_port={port} ansible_user=root ansible_ssh_private_key_file={key} "
        f"ansible_ssh_common_args='{options}' {more}\n"
    )


def at_shell(person: Callable[..., Person], *command: str) -> Person:
    one = person(*SHELL, *command)
    one.is_answered(b"PS1='the''re> '\r", PROMPT)
    return one


def test_a_session_at_a_terminal(box: Sshd, person: Callable[..., Person]) -> None:
    one = at_shell(person)
    assert one.is_raw
    one.type(b"stty size; echo $TERM; tty\r")
    one.sees(b"30 100\r\nxterm\r\n/dev/pts/")
    one.resize(41, 99)
    one.type(b'until [ "$(stty size)" = "41 99" ]; do :; done; echo resized$((1))\r')
    one.sees(b"resized1")
    one.type(b"sh -c 'echo slow$((1)); exec sleep 100'\r")
    one.sees(b"slow1")
    one.type(b"\x03")
    one.sees(PROMPT)
    one.type(b"exit 7\r")
    assert one.finish() == 7
    assert one.is_as_before


def test_a_command_at_a_terminal(box: Sshd, person: Callable[..., Person]) -> None:
    one = person("shell", "box", "-i", "inv.ini", "--", "sh", "-c", 'tty && read x && echo "got $x"; exit 5')
    one.sees(b"/dev/pts/")
    one.type(b"a word\r")
    one.sees(b"got a word")
    assert one.finish() == 5
    assert one.is_as_before


def test_streams_without_a_terminal(box: Sshd, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    done = harness(tmp_path, *SHELL, "--", "cat; echo err >&2; exit 9", input=data)
    assert done.returncode == 9
    assert done.stdout == data
    assert done.stderr == b"err\n"


def test_a_remote_shell_reads_a_pipe(box: Sshd, tmp_path: Path) -> None:
    done = harness(tmp_path, *SHELL, input=b"tty; echo out; echo err >&2; exit 4\n")
    assert done.returncode == 4
    assert done.stdout == b"not a tty\nout\n"
    assert done.stderr == b"err\n"


@pytest.mark.parametrize("streams", [[0], [0, 1, 2]])
def test_closed_streams(box: Sshd, tmp_path: Path, streams: list[int]) -> None:
    done = harness(
        tmp_path,
        *SHELL,
        "--",
        f"cat; echo here > {tmp_path / 'mark'}; exit 6",
        preexec_fn=lambda: close(streams),
    )
    assert done.returncode == 6
    assert (tmp_path / "mark").exists()


def test_ended_by_a_signal(box: Sshd, tmp_path: Path) -> None:
    done = harness(tmp_path, *SHELL, "--", "kill -9 $$")
    assert done.returncode == 255
    assert b"a signal ended the remote shell" in done.stderr


def test_a_signal_gives_the_terminal_back(box: Sshd, person: Callable[..., Person]) -> None:
    one = at_shell(person)
    one.process.send_signal(signal.SIGTERM)
    assert one.finish() == 130
    assert one.is_as_before


def test_a_lost_connection_gives_the_terminal_back(tmp_path: Path, person: Callable[..., Person]) -> None:
    server = make_sshd(tmp_path / "sshd")
    server.start()
    try:
        know(tmp_path, server)
        write(tmp_path, server.port, server.client_key)
        one = at_shell(person)
        server.kill_sessions()
        assert one.finish() == 3
    finally:
        server.stop()
    assert one.is_as_before
    assert b"was lost" in one.seen
    assert b"The console: harness console -i inv.ini box" in one.seen


def test_where_there_is_no_ssh_it_says_why_and_offers_the_console(
    tmp_path: Path, person: Callable[..., Person]
) -> None:
    write(tmp_path, 1, tmp_path / "none", f"serial_socket={tmp_path / 'console'}")
    done = harness(tmp_path, *SHELL)
    assert done.returncode == 3
    assert b"no SSH (refused): box: no TCP connection to root@127.0.0.1:1" in done.stderr
    assert b"The console: harness console -i inv.ini box\n" in done.stderr
    one = person(*SHELL)
    assert one.finish() == 3
    assert b"no SSH (refused)" in one.seen
    assert one.is_as_before


def test_a_host_key_that_is_not_known_is_refused(box: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    done = harness(tmp_path, *SHELL, "--", "true")
    assert done.returncode == 3
    assert b"no SSH (host_key)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["box", "--transport", "serial"], 2, "a shell is an SSH session"),
        (["nobody"], 2, "nobody"),
        (["serial"], 2, "no SSH"),
    ],
)
def test_mistyped(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "inv.ini").write_text("box ansible_host=127.0.0.1\nserial serial_socket=/tmp/none\n")
    done = harness(tmp_path, "shell", "-i", "inv.ini", *arguments)
    assert done.returncode == code
    assert words in done.stderr.decode()
