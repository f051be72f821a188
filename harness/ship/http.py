"""Requests to receivers that speak HTTP: one connection, kept; what a status means for a batch."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from harness import __version__
from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.credentials import headers as credential_headers
from harness.ship.guard import guarded
from harness.ship.options import Options
from harness.ship.sink import Refused, Unavailable
from harness.ship.tls import context, reason

_MOST_ANSWER = 64 << 20
_MOST_TOLD = 200
_ABOUT_THE_BATCH = {400, 406, 409, 411, 413, 414, 422, 431}
_ABOUT_OURSELVES = {
    401: "Give it credentials that it knows: see password_env, token_env, headers_file.",
    403: "The credentials are known there, and are not allowed to write.",
    404: "Look at the path in the URL, and at what is listening there.",
    405: "Look at the path in the URL, and at what is listening there.",
    407: "A proxy stands in between, and asks for credentials.",
    415: "This is no receiver of that kind.",
}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `wait` is what Retry-After asks for, in seconds; None without it."""

    status: int
    body: bytes
    wait: float | None

    @property
    def said(self) -> str:
        """The beginning of the answer's text, on one line."""
        text = " ".join(self.body[: 4 * _MOST_TOLD].decode("utf-8", "replace").split())
        return text if len(text) <= _MOST_TOLD else text[: _MOST_TOLD - 1] + "…"


class HttpClient:
    """Posts to one URL over one kept connection. Not thread-safe."""

    def __init__(self, address: Address, options: Options, *, compress: bool = True) -> None:
        self.address = address
        self._headers = {"User-Agent": f"harness/{__version__}", **credential_headers(address, options)}
        self._gzip = options.boolean("gzip", compress)
        self._name = options.text("name")
        self._tls = context(address, options)
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Sends a request and returns its answer, whatever its status. Raises Unavailable when there is none."""
        deadline.check(f"sending to {self.address}")
        every = {**self._headers, **headers}
        if self._gzip:
            body = gzip.compress(body, 1, mtime=0)
            every["Content-Encoding"] = "gzip"
        connection = self._connected(deadline)
        assert connection.sock is not None
        try:
            with guarded(connection.sock, deadline):
                try:
                    connection.request("POST", path, body, every)
                except (BrokenPipeError, ConnectionResetError):
                    # A receiver may refuse (413) before it has read everything; its answer is then there to be read.
                    answer = connection.getresponse()
                else:
                    answer = connection.getresponse()
                data = answer.read(_MOST_ANSWER)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            deadline.cancellation.check()
            why = "it does not answer in time" if deadline.expired else _reason(error)
            raise Unavailable(f"{self.address.authority} gave no answer: {why}") from error
        if answer.will_close or not answer.isclosed():
            self.close()
        return Response(answer.status, data, retry_after(answer.getheader("Retry-After"), time.time()))

    def close(self) -> None:
        """Lets go of the connection."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _connected(self, deadline: Deadline) -> http.client.HTTPConnection:
        if self._connection is not None and self._connection.sock is not None:
            return self._connection
        address = self.address
        self._connection = (
            http.client.HTTPConnection(address.host, address.port)
            if self._tls is None
            else _NamedHttps(address.host, address.port, context=self._tls, name=self._name)
        )
        self._connection.timeout = deadline.remaining() or 0.001
        try:
            self._connection.connect()
        except OSError as error:
            self._connection = None
            deadline.cancellation.check()
            raise Unavailable(f"cannot connect to {address.authority}: {reason(error)}") from error
        self._connection.sock.settimeout(None)  # guards end each wait from here on
        return self._connection


class _NamedHttps(http.client.HTTPSConnection):
    """HTTPS that verifies the receiver under another name than the one that is connected to."""

    def __init__(self, host: str, port: int, *, context: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, context=context)
        self._verified = context
        self._name = name or host

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._verified.wrap_socket(self.sock, server_hostname=self._name)


def require_taken(response: Response, address: Address) -> None:
    """Returns when the status says that the batch was taken (2xx); raises Refused where the batch is at fault, else
    Unavailable: what is wrong there (or in the URL) may be put right, and until then the record keeps everything."""
    status = response.status
    if 200 <= status < 300:
        return
    said = f": {response.said}" if response.said else ""
    words = f"{address.authority} answers {status} {http.client.responses.get(status, '')}".rstrip() + said
    if status in _ABOUT_THE_BATCH:
        raise Refused(words)
    raise Unavailable(words, wait=response.wait, hint=_ABOUT_OURSELVES.get(status, ""))


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, from a Retry-After header (RFC 9110, section 10.2.3): a number or a date. None where it is none.

    `now` is in seconds since the epoch.
    """
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection"
    return reason(error) if isinstance(error, OSError) else f"{type(error).__name__} {error}".strip()
