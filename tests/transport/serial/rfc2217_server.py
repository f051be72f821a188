"""A real RFC 2217 server (pyserial's own) in front of a shell on a pty: what a console server with telnet is."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import serial
import serial.rfc2217


class Rfc2217Server:
    """Serves the console at `path` (a Unix socket) on a loopback port, one client at a time."""

    def __init__(self, path: Path) -> None:
        self.line: Any = serial.serial_for_url("loop://")  # keeps what the client sets: baud rate, parity, lines
        self.clients = 0
        self._path = path
        self._client: socket.socket | None = None
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            self.clients += 1
            self._client = client
            with client, socket.socket(socket.AF_UNIX) as back, contextlib.suppress(OSError):
                back.connect(str(self._path))
                self._talk(client, back)

    def _talk(self, client: socket.socket, back: socket.socket) -> None:
        class Connection:
            def write(self, data: bytes) -> None:
                with contextlib.suppress(OSError):
                    client.sendall(data)

        connection: Any = Connection()
        manager: Any = serial.rfc2217.PortManager(self.line, connection)

        def pump() -> None:
            with contextlib.suppress(OSError):
                while data := back.recv(4096):
                    client.sendall(b"".join(manager.escape(data)))
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

        pumping = threading.Thread(target=pump)
        pumping.start()
        with contextlib.suppress(OSError):
            while data := client.recv(4096):
                back.sendall(b"".join(manager.filter(data)))
        with contextlib.suppress(OSError):
            back.shutdown(socket.SHUT_RDWR)
        pumping.join()

    def drop_client(self) -> None:
        """Hangs up, as a console server does that is restarted."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.drop_client()
        self._thread.join()
        self.line.close()
