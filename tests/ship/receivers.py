"""Receivers on the loopback that do what a test wants of them: an HTTP server, and a RELP server, each with faults."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_LINGER = struct.pack("ii", 1, 0)  # closing sends a reset


@dataclass
class Reply:
    """What is answered. `fault` is `reset` (no answer, a reset), `lost` (taken, then a reset), or `unread` (the answer
    comes before the body is read)."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes


Decide = Callable[[Request], Reply]


class HttpReceiver:
    """Keeps the requests that it takes (2xx, and `lost`) in `taken`, and all of them in `seen`."""

    def __init__(self, decide: Decide | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.decide: Decide = decide or (lambda request: Reply())
        self.taken: list[Request] = []
        self.seen: list[Request] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def do_POST(self) -> None:
                receiver._handle(self)

            def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the parent's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers["Content-Length"])
        early = Request(handler.path, dict(handler.headers), b"")
        unread = self.decide(early).fault == "unread"
        body = b"" if unread else handler.rfile.read(size)
        if not unread and len(body) < size:
            handler.close_connection = True  # the sender was killed in the midst of it
            return
        if handler.headers["Content-Encoding"] == "gzip" and body:
            body = gzip.decompress(body)
        request = Request(handler.path, dict(handler.headers), body)
        self.seen.append(request)
        reply = self.decide(request)
        if reply.fault == "lost" or (200 <= reply.status < 300 and not reply.fault):
            self.taken.append(request)
        if reply.fault in ("reset", "lost"):
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            handler.close_connection = True
            handler.connection.close()
            return
        if reply.fault == "unread":
            handler.close_connection = True
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)


class RelpReceiver:
    """Answers each frame, for each message as `decide` says: nothing, `reset` before it is taken, `lost` when it is
    taken and not answered, or the words of a refusal (`500 no`)."""

    def __init__(self, decide: Callable[[bytes], str] | None = None) -> None:
        self.decide = decide or (lambda message: "")
        self.taken: list[bytes] = []
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    receiver._session(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _session(self, handler: socketserver.StreamRequestHandler) -> None:
        while frame := read_frame(handler.rfile):
            number, command, data = frame
            words = "200 OK"
            if command == b"syslog":
                fault = self.decide(data)
                if fault in ("", "lost"):
                    self.taken.append(data)
                if fault in ("reset", "lost"):
                    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                    handler.connection.close()
                    return
                words = fault or words
            answer = words.encode()
            handler.wfile.write(b"%d rsp %d %b\n" % (number, len(answer), answer))


def read_frame(file: Any) -> tuple[int, bytes, bytes] | None:
    """The next frame of RELP; None at the end."""
    head = b""
    while not re.fullmatch(rb"(\d+) (\w+) (\d+)[ \n]", head):
        more = file.read(1)
        if not more:
            return None
        head += more
    number, command, size = head.split()
    data = file.read(int(size)) if int(size) else b""
    if head.endswith(b" "):
        assert file.read(1) == b"\n"
    return int(number), command, data


@contextlib.contextmanager
def serving(receiver: HttpReceiver | RelpReceiver) -> Iterator[None]:
    """Closes it in the end."""
    try:
        yield
    finally:
        receiver.close()
