"""What a client meets on the port of sshd, against real sockets: each result is one of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.deadline import Deadline
from harness.diagnosis.ask import diagnose_error
from harness.events import NullEmitter
from harness.target.network import FIRST_WORDS_SHARE, SshEndpoint
from harness.transport.errors import Contact, Unavailable
from harness.transport.ssh.spec import SshSpec
from tests.patience import patient, scaled

Serve = Callable[[socket.socket, threading.Event], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A server for one connection; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def work() -> None:
        client, _ = listener.accept()
        with client:
            serve(client, done)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        thread.join(patient(10))
        listener.close()


def endpoint(port: int, seconds: float, host: str = "127.0.0.1") -> SshEndpoint:
    return SshEndpoint(SshSpec("vm1", host, port, use_config=False), Deadline.after(seconds), NullEmitter())


def silent(client: socket.socket, done: threading.Event) -> None:
    done.wait()


def closed(client: socket.socket, done: threading.Event) -> None:
    pass


def reset(client: socket.socket, done: threading.Event) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def full(client: socket.socket, done: threading.Event) -> None:
    client.sendall(b"Exceeded MaxStartups\r\n")


def http(client: socket.socket, done: threading.Event) -> None:
    client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")


def talks_on(client: socket.socket, done: threading.Event) -> None:
    with contextlib.suppress(OSError):  # more than anybody reads of what may be an identification
        client.sendall(b"220 mail.example.net ESMTP Postfix\r\n" * 1000)
    done.wait()


MET: list[tuple[Serve, Contact, bytes, str]] = [
    (silent, Contact.SILENT, b"", "says nothing"),
    (closed, Contact.CLOSED, b"", "closes it without a word"),
    (reset, Contact.RESET, b"", "resets it before a word"),
    (full, Contact.CLOSED_AFTER_TEXT, b"Exceeded MaxStartups", "MaxStartups logins are under way already"),
    (http, Contact.CLOSED_AFTER_TEXT, b"HTTP/1.0 400 Bad Request", "an HTTP server answers, and not sshd"),
    (talks_on, Contact.NOT_SSH, b"ESMTP Postfix", "another server answers, and not sshd"),
]


@pytest.mark.parametrize(("serve", "contact", "seen", "words"), MET)
def test_each_result_is_one_of_its_own_with_what_was_received(
    serve: Serve, contact: Contact, seen: bytes, words: str
) -> None:
    with serving(serve) as port, pytest.raises(Unavailable) as caught:
        endpoint(port, scaled(1 if serve is silent else 20)).connect()
    assert caught.value.contact is contact
    assert seen in caught.value.seen
    headline = diagnose_error(caught.value, target="vm1", address=f"127.0.0.1:{port}", user="root").headline
    assert words in headline
    assert seen.decode() in headline


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable) as caught:
        endpoint(port, patient(20)).connect()
    assert caught.value.contact is Contact.REFUSED


def test_an_address_without_a_route_is_told_apart() -> None:
    with pytest.raises(Unavailable) as caught:
        endpoint(22, patient(20), host="255.255.255.255").connect()
    assert caught.value.contact is Contact.NO_ROUTE


def test_a_server_that_greets_late_is_no_failure() -> None:
    def late(client: socket.socket, done: threading.Event) -> None:
        done.wait(0.6)
        client.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        done.wait()

    with serving(late) as port:
        words = endpoint(port, patient(20)).connect()
    assert words.banner == "SSH-2.0-OpenSSH_9.2p1 Debian-2"
    assert words.greeted >= 0.5


def test_an_attempt_of_the_usual_length_waits_for_nine_seconds() -> None:
    assert FIRST_WORDS_SHARE * 20 > 9 + 2


def test_what_is_sent_before_the_identification_is_no_failure() -> None:
    def preamble(client: socket.socket, done: threading.Event) -> None:
        client.sendall(b"Authorized use only\r\nSSH-2.0-dropbear\r\n")
        done.wait()

    with serving(preamble) as port:
        assert endpoint(port, patient(20)).connect().banner == "SSH-2.0-dropbear"
