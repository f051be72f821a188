"""A line between a console and whoever uses it that carries so many bytes a second, and each of them late."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from pathlib import Path

_SLICE = 0.02  # seconds of the line's time that are carried at once


class SlowLine:
    """Serves at `path` what is served at `target`, both Unix sockets: one client at a time, both ways alike.

    `rate` is in bytes a second (a serial line of 9,600 baud carries 960), `latency` in seconds, one way.
    """

    def __init__(self, target: Path, path: Path, *, rate: float, latency: float = 0.0) -> None:
        self.path = path
        self.rate = rate
        self.latency = latency
        self._target = target
        self._ends: tuple[socket.socket, ...] = ()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            back = socket.socket(socket.AF_UNIX)
            with client, back, contextlib.suppress(OSError):
                back.connect(str(self._target))
                self._ends = (client, back)
                threads = [
                    threading.Thread(target=self._carry, args=ends, daemon=True)
                    for ends in ((client, back), (back, client))
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        due: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        deliverer = threading.Thread(target=self._deliver, args=(due, sink), daemon=True)
        deliverer.start()
        free = 0.0  # when the line has carried all that it was given
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                free = max(free, time.monotonic())
                size = max(1, int(self.rate * _SLICE))
                for at in range(0, len(data), size):
                    piece = data[at : at + size]
                    free += len(piece) / self.rate
                    due.put((free + self.latency, piece))
        due.put((0.0, b""))
        deliverer.join()
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _deliver(self, due: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                at, data = due.get()
                if not data or self._closed.wait(max(0.0, at - time.monotonic())):
                    return
                sink.sendall(data)

    def close(self) -> None:
        """Cuts the line and ends the service."""
        self._closed.set()
        for end in (*self._ends, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def __enter__(self) -> SlowLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
