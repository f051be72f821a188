"""Half of an answer, or an answer of another kind, acknowledges nothing: the batch is sent again."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.ship.registry import open_sink
from tests.ship.runs import Run, Trip

PARTIAL = b'{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"all is well"}}'
BULK = (
    b'{"took":1,"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}},{"create":{"status":201}}]}'
)
JSON = b"Content-Type: application/json\r\n"
NGINX = b"<html>welcome to nginx</html>"
GOOD = {"otlp": PARTIAL, "elastic": BULK, "loki": b"", "journal": b"OK.\n"}
STATUS = {"otlp": b"200 OK", "elastic": b"200 OK", "loki": b"204 No Content", "journal": b"202 Accepted"}
SCHEMES = {"otlp": "otlp+http", "elastic": "elastic+http", "loki": "loki+http", "journal": "journal+http"}


class RawReceiver:
    """Reads one request of each connection, answers with the bytes that are next, and closes; the last answer stays."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        size = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        while len(body) < size:
            body += connection.recv(65536)
        self.requests += 1
        connection.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(20)


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[RawReceiver]:
    receiver = RawReceiver(*answers)
    try:
        yield receiver
    finally:
        receiver.close()


def whole(body: bytes, status: bytes = b"200 OK", headers: bytes = JSON) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def good(kind: str) -> bytes:
    if kind == "loki":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    return whole(GOOD[kind], STATUS[kind], JSON if kind != "journal" else b"Content-Type: text/plain\r\n")


def chunked(body: bytes, end: bytes = b"0\r\n\r\n", headers: bytes = JSON) -> bytes:
    head = b"HTTP/1.1 200 OK\r\n" + headers + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (len(body), body) + end


def short(body: bytes, status: bytes = b"200 OK") -> bytes:
    """A body of which the last ten bytes do not come; what comes is no half of a document."""
    return b"HTTP/1.1 " + status + b"\r\n" + JSON + b"Content-Length: %d\r\n\r\n" % (len(body) + 10) + body


PACKED = gzip.compress(PARTIAL)
BAD = {
    "the body is shorter than its length": short(PARTIAL),
    "there is no body": short(b""),
    "in the middle of partialSuccess": whole(PARTIAL[:30]),
    "in the middle of partialSuccess, to the end of the connection": b"HTTP/1.1 200 OK\r\n"
    + JSON
    + b"\r\n"
    + PARTIAL[:30],
    "empty, to the end of the connection": b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n",
    "the headers do not end": b"HTTP/1.1 200 OK\r\n" + JSON,
    "the headers end in the middle of one": b"HTTP/1.1 200 OK\r\nContent-Le",
    "the status line is alone": b"HTTP/1.1 200 OK\r\n",
    "the status line is torn": b"HTTP/1.1 20",
    "there are no end of headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(500)),
    "there is nothing": b"",
    "a page": whole(NGINX, headers=b"Content-Type: text/html\r\n"),
    "a page that is called JSON": whole(NGINX),
    "JSON that is called a page": whole(PARTIAL, headers=b"Content-Type: text/html; charset=utf-8\r\n"),
    "a list": whole(b"[]"),
    "a number": whole(b"5"),
    "null": whole(b"null"),
    "another partialSuccess": whole(b'{"partialSuccess": [1]}'),
    "partialSuccess with no number": whole(b'{"partialSuccess": {"rejectedLogRecords": "many"}}'),
    "the last chunk is missing": chunked(PARTIAL, b""),
    "a chunk is torn": chunked(PARTIAL)[:-30],
    "an empty page": whole(b"", headers=b"Content-Type: text/html\r\n"),
    "half of gzip": whole(PACKED[:-12], headers=JSON + b"Content-Encoding: gzip\r\n"),
    "gzip that is none": whole(PARTIAL, headers=JSON + b"Content-Encoding: gzip\r\n"),
    "an encoding that nobody asked for": whole(PARTIAL, headers=JSON + b"Content-Encoding: br\r\n"),
    "another page for no content": whole(NGINX, b"203 Non-Authoritative", b"Content-Type: text/html\r\n"),
}


def shipped(run: Run, kind: str, port: int, most: int = 4) -> tuple[bool, Trip]:
    trip = Trip(run, open_sink(f"{SCHEMES[kind]}://127.0.0.1:{port}").sink, most=most)
    return trip.go(), trip


@pytest.fixture
def ended(run: Run) -> Run:
    run.say("one")
    run.end()
    return run


@pytest.mark.parametrize("what", BAD)
def test_otlp_is_sent_again(ended: Run, what: str) -> None:
    with answering(BAD[what], good("otlp")) as receiver:
        done, trip = shipped(ended, "otlp", receiver.port)
    assert done
    assert (receiver.requests, trip.shipper.sent) == (2, 3)
    assert trip.pauses
    assert ended.rejected() == []


@pytest.mark.parametrize("kind", ["elastic", "loki", "journal"])
@pytest.mark.parametrize(
    "what",
    ["the body is shorter than its length", "the headers do not end", "the status line is torn", "a page",
     "a page that is called JSON", "the last chunk is missing", "half of gzip", "an empty page"],
)  # fmt: skip
def test_the_other_sinks_send_it_again(ended: Run, kind: str, what: str) -> None:
    with answering(BAD[what], good(kind)) as receiver:
        done, trip = shipped(ended, kind, receiver.port)
    assert done
    assert (receiver.requests, trip.shipper.sent) == (2, 3)
    assert trip.pauses


@pytest.mark.parametrize(
    "body", [BULK[:40], b"{}", b'{"errors": true, "items": []}', b'{"errors": true, "items": [5]}']
)
def test_half_of_a_bulk_answer_is_none(ended: Run, body: bytes) -> None:
    with answering(whole(body), good("elastic")) as receiver:
        done, _ = shipped(ended, "elastic", receiver.port)
    assert done
    assert receiver.requests == 2


@pytest.mark.parametrize(
    "answer",
    [
        whole(b""),
        whole(b"{}"),
        whole(PARTIAL, headers=b""),
        whole(PARTIAL, headers=b"Content-Type: application/json; charset=utf-8\r\n"),
        chunked(PARTIAL),
        whole(PACKED, headers=JSON + b"Content-Encoding: gzip\r\n"),
        whole(zlib.compress(PARTIAL), headers=JSON + b"Content-Encoding: deflate\r\n"),
        b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n" + PARTIAL,
        b"HTTP/1.1 100 Continue\r\n\r\n" + whole(PARTIAL),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_a_whole_answer_acknowledges(ended: Run, answer: bytes) -> None:
    with answering(answer) as receiver:
        done, trip = shipped(ended, "otlp", receiver.port)
    assert done
    assert (receiver.requests, trip.pauses) == (1, [])


@pytest.mark.parametrize("status", [b"400 Bad Request", b"422 Unprocessable"])
def test_half_of_a_refusal_refuses_nothing(ended: Run, status: bytes) -> None:
    with answering(short(b'{"message": "no', status), good("otlp")) as receiver:
        done, trip = shipped(ended, "otlp", receiver.port)
    assert done
    assert ended.rejected() == []
    assert (receiver.requests, trip.shipper.sent) == (2, 3)


def test_what_is_wrong_is_told_with_advice(ended: Run) -> None:
    with answering(BAD["a page"]) as receiver:
        done, trip = shipped(ended, "otlp", receiver.port)
    assert not done
    assert "answers 200 (text/html) with what is not a JSON object: <html>welcome to nginx</html>" in trip.told[0]
    assert "Look at the URL" in trip.told[0]
    assert trip.shipper.position.sequence == 0


@given(cut=st.integers(0, 400), kind=st.sampled_from(["otlp", "elastic", "loki", "journal"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_an_answer_that_is_cut_anywhere_is_none(tmp_path_factory: pytest.TempPathFactory, cut: int, kind: str) -> None:
    run = Run(tmp_path_factory.mktemp("cut") / "run")
    run.say("one")
    run.end()
    answer = good(kind)
    with answering(answer[: min(cut, len(answer) - 1)], answer) as receiver:
        done, trip = shipped(run, kind, receiver.port)
    assert done
    assert receiver.requests == 2
    assert trip.shipper.sent == 3


@pytest.mark.parametrize(
    "answer",
    [b"1 rsp 6 200", b"1 rsp 6 200 OKx", b"1 rsp 7 2000 OK\n", b"1 rsp", b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
)
def test_half_of_a_relp_answer_is_none(ended: Run, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        trip = Trip(ended, open_sink(f"relp://127.0.0.1:{server.getsockname()[1]}").sink, most=1)
        assert not trip.go()
        thread.join(20)
    assert trip.shipper.position.sequence == 0


def test_elasticsearch_that_is_busy_gets_the_rest_in_its_own_pace(run: Run) -> None:
    """Of each answer a tenth is 429: those are sent again alone, soon, and in batches that stay as large."""
    from tests.ship.receivers import HttpReceiver, Reply, Request, serving

    run.say(*(f"line {number}" for number in range(1998)))
    run.end()
    asked: dict[str, int] = {}
    sizes: list[int] = []

    def decide(request: Request) -> Reply:
        lines = request.body.splitlines()[::2]
        items = []
        for name in (json.loads(line)["create"]["_id"] for line in lines):
            asked[name] = asked.get(name, 0) + 1
            busy = asked[name] == 1 and len(asked) % 10 == 3
            items.append({"create": {"status": 429 if busy else 201, "_id": name}})
        if lines:
            sizes.append(len(lines))
        return Reply(200, json.dumps({"errors": True, "items": items}).encode())

    receiver = HttpReceiver(decide)
    with serving(receiver):
        done, trip = shipped(run, "elastic", receiver.port, most=50)
    assert done
    assert set(asked) == set(run.ids())
    assert [size for size in sizes if size > 200] == [500] * 4
    assert len(sizes) <= 8
    assert sum(trip.pauses) < 4 * 2.0 * 0.25
    assert trip.told == []
