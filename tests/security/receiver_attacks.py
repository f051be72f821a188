"""The attacks of a receiver of records; tests.security.attacks runs them with the others."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.deadline import Deadline
from harness.ship.event import Event
from harness.ship.http import retry_after
from harness.ship.registry import open_sink
from harness.ship.sink import TAKEN, Answer, Refused, Unavailable
from tests.patience import scaled
from tests.security import hostile_receiver as hostile
from tests.security.hostile_sshd import wait as wait_until
from tests.security.peak import peak_growth

_HTTP = ("otlp+http", "elastic+http", "loki+http", "journal+http")
_SECONDS = 0.6
_MOST = 160 << 20
"""Bytes that an answer may take: 16 MiB as they come, as much unpacked, and what reading them needs meanwhile."""


@contextlib.contextmanager
def _events(text: str = "hello") -> Iterator[list[Event]]:
    from tests.ship.runs import Run

    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "20260101T000000Z-000000")
        run.say(text)
        run.end()
        yield run.events()


def _sent(url: str, events: list[Event], seconds: float = _SECONDS) -> Answer | None:
    """What a sink says of a batch; None where it was not acknowledged."""
    sink = open_sink(url).sink
    began = time.monotonic()
    answer, words, wait = None, "", 0.0
    try:
        answer = sink.send(events, Deadline.after(seconds))
    except Unavailable as error:
        words, wait = str(error), error.wait or 0.0
    except Refused as error:
        words = str(error)
    finally:
        sink.close()
    took = time.monotonic() - began
    assert took < seconds + scaled(4), f"{url}: {took:.1f} s"
    assert len(words) < 5000, "a person reads this"
    assert wait <= 86_400
    return answer


def _is_withstood(name: str, answer: hostile.Answer, scheme: str, events: list[Event]) -> None:
    with hostile.HostileReceiver(answer) as receiver:
        found: list[Answer | None] = []
        grown = peak_growth(lambda: found.append(_sent(f"{scheme}://127.0.0.1:{receiver.port}", events)))
        # On a busy machine the sink's deadline may pass before the receiver's thread has had its turn.
        assert wait_until(10, lambda: receiver.connections > 0), name
        assert found[0] is None or found[0].refused or found[0].again, f"{name}: {scheme} took it for {found[0]}"
        assert grown < _MOST, f"{name}: {scheme}: {grown >> 20} MiB"


def receiver_http_answers_without_end() -> None:
    with _events() as events:
        for name, answer in hostile.endless_answers():
            _is_withstood(name, answer, "otlp+http", events)


def receiver_http_answers_of_any_kind() -> None:
    with _events() as events:
        for name, answer in hostile.bad_answers():
            for scheme in _HTTP[:3]:
                if scheme == "loki+http" and name == "a body with wrong types":
                    continue  # a good status and any JSON object are an acknowledgement there
                _is_withstood(name, answer, scheme, events)
        _is_withstood("a bomb", hostile.http(hostile.bomb(64 << 20)), "journal+http", events)
    assert retry_after("9" * 5000, 0.0) == 86_400


def receiver_redirects() -> None:
    """What another server is named by is not followed: the record, and the credentials, go where they were meant to."""
    with _events() as events, hostile.HostileReceiver(hostile.http(b"HTTP/1.1 204 x\r\n\r\n")) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            head = b"HTTP/1.1 %d x\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n"
            with hostile.HostileReceiver(hostile.http(head % (status, elsewhere.port))) as receiver:
                for scheme in _HTTP:
                    assert _sent(f"{scheme}://127.0.0.1:{receiver.port}", events) is None
        assert elsewhere.connections == 0


def receiver_relp_answers() -> None:
    opened = b"1 rsp 6 200 OK\n"
    with _events() as events:
        for name, answer in {
            "digits without end": hostile.relp(endless=b"1" * 65536),
            "an answer of a gigabyte": hostile.relp(b"1 rsp 999999999 ", endless=b"x" * 65536),
            "one after it was opened": hostile.relp(opened, b"2 rsp 999999999 ", endless=b"x" * 65536),
            "answers for what was not sent": hostile.relp(opened, endless=b"77 rsp 6 200 OK\n" * 1000),
            "a command": hostile.relp(opened, b"2 syslog 6 200 OK\n"),
            "nothing": hostile.relp(),
            "a drip": hostile.relp(endless=b"1", pause=0.05),
            "control characters": hostile.relp(b"1 rsp 20 500 \x1b]52;c;eA==\x07\x1bc    \n"),
        }.items():
            _is_withstood(name, answer, "relp", events)


def receiver_syslog_talks_or_is_deaf() -> None:
    """Syslog has no answers: what comes is not kept, and one that reads nothing costs no more than the deadline."""

    def talks(receiver: hostile.HostileReceiver, sock: socket.socket) -> None:
        threading.Thread(target=_drained, args=(sock,), daemon=True).start()
        receiver.repeat(sock, b"x" * 65536)

    def deaf(receiver: hostile.HostileReceiver, sock: socket.socket) -> None:
        receiver.stop.wait(30)

    with _events() as events, hostile.HostileReceiver(talks) as receiver:
        url = f"syslog+tcp://127.0.0.1:{receiver.port}"
        assert peak_growth(lambda: _sent(url, events)) < _MOST
    with _events("x" * 50_000) as events, hostile.HostileReceiver(deaf) as receiver:
        url = f"syslog+tcp://127.0.0.1:{receiver.port}?max_bytes=100000"
        assert _sent(url, events * 400) in (None, TAKEN)


def _drained(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


RECEIVER_ATTACKS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        receiver_http_answers_without_end,
        receiver_http_answers_of_any_kind,
        receiver_redirects,
        receiver_relp_answers,
        receiver_syslog_talks_or_is_deaf,
    )
}
