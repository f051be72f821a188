"""Syslog, RFC 5424: over TCP (RFC 6587, octet counting), over TLS (RFC 5425), over UDP (RFC 5426).

Syslog has no answers. Acknowledged means: over TCP and TLS that the receiver's kernel has every byte, over UDP only
that our own kernel took the datagram.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.ship.address import Address
from harness.ship.event import Event
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits, Sink, Unavailable
from harness.ship.stream import Stream
from harness.ship.tls import context, reason

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
"""RFC 5424, table 1, in the order of their numbers."""
HEADER_MOST = 512
"""Bytes that the part before the event may have: its fields have their own bounds in the RFC."""
_FIRST_BATCH = 0.2  # seconds
_NOT_PRINTABLE = re.compile(r"[^\x21-\x7e]")
_HIGHEST_SEQUENCE_ID = 2147483647  # RFC 5424, section 7.3.1


class Format:
    """Makes messages of events. The text is the event as JSON, without a BOM: JSON readers stumble over it."""

    def __init__(self, options: Options) -> None:
        self._facility = FACILITIES.index(options.choice("facility", "user", *FACILITIES))
        self.most = options.size("max_bytes", 8192, least=HEADER_MOST + 512)
        self._host = socket.gethostname()

    @property
    def line(self) -> int:
        """The bytes that an event's line may have."""
        return self.most - HEADER_MOST

    def message(self, event: Event) -> bytes:
        """The header has the target as the host, the run as the process, and the action as the message's kind."""
        time = event.text("@timestamp") or "-"
        host = _field(event.text("host.name") or self._host, 255)
        run = _field(event.text("cicd.pipeline.run.id"), 128)
        action = _field(event.text("event.action"), 32)
        number = (event.sequence - 1) % _HIGHEST_SEQUENCE_ID + 1
        priority = self._facility * 8 + event.severity
        header = f'<{priority}>1 {time} {host} harness {run} {action} [meta sequenceId="{number}"] '
        return header.encode("ascii", "replace") + event.line


class StreamSink:
    """Over TCP or TLS."""

    def __init__(self, address: Address, options: Options) -> None:
        self._format = Format(options)
        self.limits = Limits(options.count("batch", 200), options.size("batch_bytes", 256_000), self._format.line)
        self._address = address
        self._tls = context(address, options)
        if self._tls is not None and options.choice("tls", "1.2", "1.2", "1.3") == "1.2":
            # In 1.3 a receiver that refuses our certificate says so only after it was sent a batch.
            self._tls.maximum_version = ssl.TLSVersion.TLSv1_2
        self._name = options.text("name") if self._tls else ""
        self._stream: Stream | None = None
        self._proven = False
        self._before = b""

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        frames = b"".join(_counted(self._format.message(event)) for event in events)
        try:
            stream = self._connected(deadline)
            stream.send(frames, deadline)
            stream.await_acknowledgement(deadline)
            self._prove(stream, deadline)
        except BaseException:
            self.close()
            raise
        self._before = frames
        return TAKEN

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _connected(self, deadline: Deadline) -> Stream:
        how = self._stream.ended() if self._stream else ""
        if how:
            self.close()
        if self._stream is None:
            self._stream = Stream(self._address, self._tls, self._name, deadline)
            self._proven = False
            if how == "reset":
                # Its kernel had the last batch, and threw away what its program had not read. So once more.
                self._stream.send(self._before, deadline)
        return self._stream

    def _prove(self, stream: Stream, deadline: Deadline) -> None:
        """A receiver that does not like who we are, by its own rules, hangs up when it has begun to read. Its kernel
        had the first batch by then; so that one is waited for a little."""
        if self._proven:
            return
        deadline.sleep(_FIRST_BATCH)
        if stream.ended():
            raise Unavailable(f"{self._address.authority} closed the connection after the first batch")
        self._proven = True


class DatagramSink:
    """Over UDP: one message, one datagram. What the network loses is lost."""

    def __init__(self, address: Address, options: Options) -> None:
        self._format = Format(options)
        if self._format.most > 65_507:
            raise UsageError("max_bytes is more than a UDP datagram holds (65507 bytes)", hint=f"In: {address}")
        self.limits = Limits(options.count("batch", 100), options.size("batch_bytes", 256_000), self._format.line)
        self._address = address
        self._socket: socket.socket | None = None

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        deadline.check(f"sending to {self._address}")
        try:
            sock = self._connected()
            for event in events:
                sock.send(self._format.message(event))
            # The socket reports only with its next call that nobody listens there.
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "nobody listens there")
        except OSError as error:
            self.close()
            raise Unavailable(f"cannot send to {self._address.authority}: {reason(error)}") from error
        return TAKEN

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, place = found[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.connect(place)
        return self._socket


def open_sink(address: Address, options: Options) -> Sink:
    if address.scheme == "syslog+udp":
        return DatagramSink(address, options)
    return StreamSink(address, options)


def _counted(message: bytes) -> bytes:
    return b"%d %b" % (len(message), message)


def _field(text: str, most: int) -> str:
    """A header's field: printable ASCII without spaces, or a dash."""
    return _NOT_PRINTABLE.sub("_", text)[:most] or "-"
