"""A console that goes away at any moment: the caller gets the error that was promised, or is not bothered at all."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.events.emitter import NullEmitter
from harness.transport.errors import Cause, Eof, TransportLost, Unavailable
from harness.transport.serial.console import Console
from harness.transport.serial.spec import SerialSpec
from harness.transport.serial.transport import SerialTransport

Within = Callable[..., Deadline]
BASH = ["bash", "--norc", "-i"]


# Bytes typed in all: in the first newline, the probe for a shell, the loader's line, and the program, which
# has several thousand. Reads may be joined on a busy machine, so the number of reads says nothing.
@pytest.mark.parametrize("typed", [1, 10, 60, 400, 2000, 4000])
def test_a_console_that_is_cut_once_during_the_login(bench: Any, within: Within, typed: int) -> None:
    count, cuts = 0, 0

    def cut(data: bytes) -> bytes:
        nonlocal count, cuts
        count += len(data)
        if count >= typed and not cuts:
            cuts += 1
            guest.drop_client()
        return data

    guest = bench.guest(BASH, to_guest=cut)
    transport = bench.transport(bench.console(guest))
    assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    assert cuts == 1
    assert [fields["level"] for fields in bench.events.of("console.lost")] == ["warning"]


@contextmanager
def server(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Serves each client of a Unix socket in turn."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def loop() -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                with client, suppress(OSError):
                    serve(client)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


@pytest.mark.parametrize("heard", [0, 1, 5])
def test_a_console_that_is_cut_during_each_login(bench: Any, within: Within, tmp_path: Path, heard: int) -> None:
    """The other end closes as soon as so many bytes were typed: no end of stream leaves the login as it is."""

    def serve(client: socket.socket) -> None:
        if heard:
            client.recv(heard)

    with server(tmp_path / "socket", serve):
        console = Console(str(tmp_path / "socket"), name="brief", events=NullEmitter())
        with pytest.raises(Unavailable) as caught:
            SerialTransport(console, SerialSpec(console.address), events=NullEmitter()).run("true", deadline=within(1))
        console.close()
    # On a busy machine one login may take until the deadline; that is no shell.
    assert caught.value.cause in (Cause.EOF, Cause.TIMEOUT, Cause.REFUSED, Cause.NO_SHELL)
    assert not caught.value.may_have_run


def test_a_console_that_takes_nothing_more_while_a_command_runs(bench: Any, within: Within) -> None:
    """It is the console that failed, and the command may have run; the login is long over."""
    transport = bench.shell(*BASH)
    transport.run("true", deadline=within())
    console = transport._console
    command = "sleep 20"
    write = console._port.write

    def full(data: bytes, seconds: float) -> int:
        # A request is typed without blanks.
        return write(data, seconds) if command.replace(" ", "~").encode() in data else 0

    console._port.write = full
    with pytest.raises(TransportLost) as caught:
        transport.run(command, deadline=within(1.5))
    assert caught.value.may_have_run
    console._port.write = write


def test_ctrl_c_of_somebody_is_no_lack_of_room(bench: Any, within: Within) -> None:
    """It ends our shell while a command runs; that is what the error states."""
    for command in ("sleep 20", "find /dev/null; sleep 20", "sh -c 'sleep 20; true'"):
        transport = bench.shell(*BASH)
        transport.run("true", deadline=within())
        threading.Timer(0.3, lambda it=transport: it._console.write(b"\x03", deadline=within())).start()
        with pytest.raises(TransportLost) as caught:
            transport.run(command, deadline=within())
        assert caught.value.cause is Cause.NO_SHELL
        assert caught.value.may_have_run


def test_an_end_of_stream_while_a_command_is_typed_is_one_that_was_not_run(bench: Any, within: Within) -> None:
    transport = bench.shell(*BASH)
    transport.run("true", deadline=within())
    bench.guests[0].drop_client()
    with pytest.raises(Eof):
        transport._session.ask("N", deadline=within(), accept=lambda body: False)
    assert transport.run("echo back", deadline=within()).stdout == b"back\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_for_locks_that_cannot_be_written(bench: Any, tmp_path: Path, within: Within) -> None:
    (tmp_path / "run").chmod(0o500)
    with pytest.raises(Unavailable) as caught:
        bench.console(bench.guest(BASH)).open(within())
    assert caught.value.cause is Cause.CONFIG


def test_no_place_for_locks(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: Within) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    with pytest.raises(Unavailable) as caught:
        bench.console(bench.guest(BASH)).open(within())
    assert caught.value.cause is Cause.CONFIG


def test_a_raw_log_that_cannot_be_opened(bench: Any, tmp_path: Path, within: Within) -> None:
    """Reported, and no reason to have no console."""
    (tmp_path / "file").write_text("no folder")
    transport = bench.transport(bench.console(bench.guest(BASH), raw_log=tmp_path / "file" / "raw.log"))
    assert transport.run("echo in", deadline=within()).stdout == b"in\n"
    assert len(bench.events.of("console.log_failed")) == 1
