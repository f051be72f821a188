"""A receiver of records that does to its client whatever it is told; each connection has a thread."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

Answer = Callable[["HostileReceiver", socket.socket], None]
"""What is done when a request's headers, or the first bytes of another protocol, are there."""
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class HostileReceiver:
    """Listens on the loopback. `connections` counts who came."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.connections = 0
        self.stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> HostileReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self._answer(self, sock)

    def repeat(self, sock: socket.socket, piece: bytes, pause: float = 0.0) -> None:
        """Send the piece until the client or the test has gone."""
        while not self.stop.is_set():
            sock.sendall(piece)
            if pause:
                time.sleep(pause)


def heard(sock: socket.socket) -> bytes:
    """Return an HTTP request, headers and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return data
        data += more
    length = re.search(rb"(?i)content-length: (\d+)", data)
    end = data.index(b"\r\n\r\n") + 4 + int(length[1] if length else b"0")
    while len(data) < end:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return data


def http(head: bytes, piece: bytes = b"", pause: float = 0.0) -> Answer:
    """Answer a request with `head`, then `piece` without end."""

    def answer(receiver: HostileReceiver, sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(head)
        if piece:
            receiver.repeat(sock, piece, pause)

    return answer


def relp(*answers: bytes, endless: bytes = b"", pause: float = 0.0) -> Answer:
    """Answer each thing that is heard with the next of these, then send `endless`."""

    def answer(receiver: HostileReceiver, sock: socket.socket) -> None:
        for each in answers:
            sock.recv(65536)
            sock.sendall(each)
        if endless:
            receiver.repeat(sock, endless, pause)
        while sock.recv(65536):
            pass

    return answer


def bomb(size: int) -> bytes:
    """An answer with a small compressed body that unpacks to `size` bytes."""
    body = gzip.compress(b"[" * size, 9)
    return _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def endless_answers() -> Iterator[tuple[str, Answer]]:
    """Each answer that would take all memory, or all time."""
    yield "a status line without end", http(b"HTTP/1.1 ", b"x" * 65536)
    yield "a header without end", http(_OK + b"X: ", b"x" * 65536)
    yield "headers without end", http(_OK, b"X-Header: 1\r\n" * 1000)
    yield "a header that folds without end", http(_OK + b"X: 1\r\n", b" 1\r\n" * 1000)
    yield "interim answers without end", http(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500)
    yield "a body without end", http(_OK + b"\r\n", b"x" * 65536)
    yield "a body of a length beyond all", http(_OK + b"Content-Length: %b\r\n\r\n" % (b"9" * 30), b"x" * 65536)
    yield "chunks without end", http(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n%b\r\n" % (b"x" * 65536))
    yield (
        "a chunk of a size beyond all",
        http(_OK + b"Transfer-Encoding: chunked\r\n\r\n%b\r\n" % (b"f" * 60), b"x" * 65536),
    )
    yield "a chunk's size without end", http(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"f" * 65536)
    yield "trailers without end", http(_OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n" * 1000)
    yield "a drip", http(_OK + b"\r\n", b"x", 0.05)
    yield "a drip of headers", http(_OK, b"X: 1\r\n", 0.05)
    yield "a gzip bomb", http(bomb(64 << 20))
    yield "an encoding that nobody asked for", http(_OK + b"Content-Encoding: zstd\r\nContent-Length: 1\r\n\r\nx")


def bad_answers() -> Iterator[tuple[str, Answer]]:
    """Each answer that ends, and acknowledges nothing."""
    for name, body in (
        ("deep", b"[" * 200_000),
        ("deep objects", b'{"a":' * 200_000),
        ("large numbers", b'{"errors": true, "items": [{"create": {"status": 1e400}}]}'),
        ("wrong types", b'{"errors": {}, "items": {"a": [1]}, "partialSuccess": [1]}'),
        ("control characters", b"\x1b]52;c;eA==\x07\x9b2J\xe2\x80\xae"),
    ):
        yield f"a body with {name}", http(_OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    yield "a status of 5,000 digits", http(b"HTTP/1.1 %b OK\r\n\r\n" % (b"2" * 5000))
    yield "status 999", http(b"HTTP/1.1 999 \x1b]0;t\x07\r\nContent-Length: 0\r\n\r\n")
    yield "an endless wait", http(b"HTTP/1.1 503 x\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n" % (b"9" * 5000))
    yield (
        "a wait of no calendar",
        http(
            b"HTTP/1.1 503 x\r\nRetry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
        ),
    )
