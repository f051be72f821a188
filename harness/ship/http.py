"""Requests to receivers that speak HTTP: one connection, kept; what a status means for a batch."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import select
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from harness import __version__
from harness.deadline import Deadline
from harness.printing import printable
from harness.ship.address import Address
from harness.ship.credentials import headers as credential_headers
from harness.ship.guard import guarded
from harness.ship.options import Options
from harness.ship.sink import Refused, Unavailable
from harness.ship.tls import context, reason

_MOST_ANSWER = 16 << 20
_MOST_TOLD = 200
_MOST_REASON = 2000
_LONGEST_WAIT = 86_400.0  # seconds of a Retry-After that are believed
_ABOUT_THE_BATCH = {400, 406, 409, 411, 413, 414, 422, 431}
_TOO_LARGE = 413
_SAYS_TOO_LARGE = re.compile(r"larger than max|too large|exceeds? the (?:maximum|max|limit)", re.IGNORECASE)
"""How a server's own 500 says that it is the size: gRPC behind Loki says "received message larger than max"."""
_ABOUT_THE_RECEIVER = {401, 403, 404, 405, 407, 408, 415, 429, 503}
_LOOK = "Look at the URL, and at what is listening there."
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
    """A whole answer: its headers ended, and its body is as long as they say, decompressed.

    `wait` is what Retry-After asks for, in seconds; None without it. `kind` is the media type in lower case, without
    parameters; empty where none is given. `bounded` says that the end of the body was marked (by its length, by the
    last chunk, or because the status has none), so that an empty one is known to be empty.
    """

    status: int
    body: bytes
    wait: float | None
    kind: str = ""
    bounded: bool = True

    @property
    def said(self) -> str:
        """The beginning of the answer's text, on one line."""
        text = printable(" ".join(self.body[: 4 * _MOST_TOLD].decode("utf-8", "replace").split()))
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
                # A receiver may refuse (413) before it has read everything; its answer is then there to be read.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.request("POST", path, body, every)
                answer = connection.getresponse()
                response = self._read(answer)
                if answer.chunked and deadline.expired:  # http.client takes the end of the connection for their end
                    raise http.client.HTTPException("its trailers do not end")
        except (OSError, EOFError, http.client.HTTPException, zlib.error, ValueError) as error:
            self.close()
            deadline.cancellation.check()
            why = "it does not answer in time" if deadline.expired else _reason(error)
            lost = isinstance(error, OSError | http.client.HTTPException) and not deadline.expired
            raise Unavailable(f"{self.address.authority} gave no whole answer: {why}", lost=lost) from error
        if answer.will_close or not answer.isclosed():
            self.close()
        return response

    def _read(self, answer: http.client.HTTPResponse) -> Response:
        """The answer with its whole body. Raises HTTPException, OSError, EOFError and zlib.error where it is not whole,
        ValueError where it is too long or encoded in a way that was not asked for."""
        headers = answer.headers
        wait = retry_after(headers.get("Retry-After"), time.time())
        kind = headers.get_content_type() if "Content-Type" in headers else ""
        bounded = answer.chunked or answer.length is not None
        try:
            data = answer.read(_MOST_ANSWER + 1)
            if len(data) <= _MOST_ANSWER and answer.length:
                raise http.client.IncompleteRead(data, answer.length)
        except (OSError, http.client.HTTPException):
            # The status says all that there is to know; a receiver that has not read the batch resets the connection.
            if answer.status != _TOO_LARGE:
                raise
            self.close()
            data = b""
        if len(data) > _MOST_ANSWER:
            raise ValueError(f"the answer is longer than {_MOST_ANSWER} bytes")
        encoding = (headers.get("Content-Encoding") or "identity").strip().lower()
        return Response(answer.status, _decoded(data, encoding), wait, kind, bounded)

    def close(self) -> None:
        """Lets go of the connection."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _connected(self, deadline: Deadline) -> http.client.HTTPConnection:
        if self._connection is not None and self._connection.sock is not None:
            # Nothing may come before the request: it is the end of the connection, or an answer to nothing.
            poll = select.poll()
            poll.register(self._connection.sock, select.POLLIN)
            if not poll.poll(0):
                return self._connection
            self.close()
        address = self.address
        self._connection = (
            http.client.HTTPConnection(address.host, address.port)
            if self._tls is None
            else _NamedHttps(address.host, address.port, context=self._tls, name=self._name)
        )
        self._connection.response_class = _CompleteResponse
        self._connection.timeout = deadline.remaining() or 0.001
        try:
            self._connection.connect()
        except OSError as error:
            self._connection = None
            deadline.cancellation.check()
            raise Unavailable(f"cannot connect to {address.authority}: {reason(error)}", sent=False) from error
        self._connection.sock.settimeout(None)  # guards end each wait from here on
        return self._connection


class _CompleteResponse(http.client.HTTPResponse):
    """A response whose headers must end in an empty line. http.client takes the end of the connection for that."""

    def begin(self) -> None:
        raw: Any = self.fp
        reader: Any = _LastLine(raw)
        self.fp = reader
        super().begin()
        if self.fp is reader:  # else there is no body, and it is closed
            self.fp = raw
        if reader.last not in (b"\r\n", b"\n"):
            self._close_conn()  # type: ignore[attr-defined]
            raise http.client.HTTPException("its headers do not end")


class _LastLine:
    """A reader that remembers the last line that was read from it."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._raw.readline(limit)
        self.last = line
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


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
    if status in _ABOUT_THE_BATCH or (status == 500 and _SAYS_TOO_LARGE.search(response.said)):
        raise Refused(words)
    about_receiver = status in _ABOUT_THE_RECEIVER or status < 400
    raise Unavailable(words, wait=response.wait, hint=_ABOUT_OURSELVES.get(status, ""), sent=not about_receiver)


def bounded_reason(text: str, most: int = _MOST_REASON) -> str:
    """Return a receiver's reason, printable and cut to `most` characters, for a person and for `rejected.jsonl`."""
    return printable(text[:most]) + ("…" if len(text) > most else "")


def json_object(response: Response, address: Address, *kinds: str) -> dict[str, Any]:
    """Return the JSON object that a successful answer holds; an empty one for a body that is known to be empty.

    `kinds` are media types that the receiver may give besides JSON's.

    Raises Unavailable where it is anything else (half of a document, a web server's page): the batch is then not
    acknowledged."""
    if not response.body and response.bounded and not _other_kind(response.kind, "application/x-protobuf"):
        return {}
    try:
        document = orjson.loads(response.body) if not _other_kind(response.kind, *kinds) else None
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise not_an_answer(response, address, "a JSON object")
    return document


def not_an_answer(response: Response, address: Address, expected: str) -> Unavailable:
    """Return the error for an answer with a good status that does not acknowledge: `expected` is what would."""
    kind = f" ({response.kind})" if response.kind else ""
    said = response.said or "nothing"
    return Unavailable(
        f"{address.authority} answers {response.status}{kind} with what is not {expected}: {said}", hint=_LOOK
    )


def _other_kind(kind: str, *more: str) -> bool:
    """Whether a media type is given and is not JSON's, nor one of `more`."""
    return not (kind in ("", "application/json", "text/json", *more) or kind.endswith("+json"))


def _decoded(data: bytes, encoding: str) -> bytes:
    """Undo a Content-Encoding. Raises ValueError for an unknown one and for too much data, EOFError and zlib.error
    where the compressed data is not whole."""
    if encoding in ("identity", "") or not data:
        return data
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"the answer has the Content-Encoding {encoding!r}, which was not asked for")
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: a gzip or zlib header, whichever there is
    body = decompressor.decompress(data, _MOST_ANSWER)
    if decompressor.unconsumed_tail:
        raise ValueError(f"the answer is longer than {_MOST_ANSWER} bytes")
    if not decompressor.eof:
        raise EOFError("its compressed body ends early")
    return body


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, from a Retry-After header (RFC 9110, section 10.2.3): a number or a date. None where it is none.

    `now` is in seconds since the epoch.
    """
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return min(_LONGEST_WAIT, float(value))
    try:
        return min(_LONGEST_WAIT, max(0.0, parsedate_to_datetime(value).timestamp() - now))
    except (TypeError, ValueError, OverflowError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection"
    if isinstance(error, http.client.IncompleteRead):
        return "its body ends early"
    if isinstance(error, http.client.HTTPException | EOFError | ValueError) and str(error):
        return bounded_reason(str(error), _MOST_TOLD)  # it may hold the line that is wrong
    return reason(error) if isinstance(error, OSError) else f"{type(error).__name__} {error}".strip()
