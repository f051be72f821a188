"""RELP, which answers for each message (https://www.rsyslog.com/doc/relp.html), plain or over TLS.

Acknowledged: the receiver has answered 200 for the message's number. What that means there is its own setting: rsyslog
answers when the message is in its queue, or written where the queue is `Direct`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from harness import __version__
from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.event import Event
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits, Unavailable
from harness.ship.sinks.syslog import Format
from harness.ship.stream import Stream
from harness.ship.tls import context

_HEADER = re.compile(rb"(\d{1,9}) ([A-Za-z]{1,32}) (\d{1,9})(?: |(?=\n))")
_LONGEST_HEADER = 54
_LONGEST_ANSWER = 1 << 16  # bytes; receivers say a status and a few words
_OFFER = f"relp_version=0\nrelp_software=harness,{__version__}\ncommands=syslog".encode()
_FAREWELL = 1.0  # seconds
_LAST_NUMBER = 999_999_999


class RelpSink:
    """Has up to `window` messages on their way, and reads an answer for each."""

    def __init__(self, address: Address, options: Options) -> None:
        self._format = Format(options)
        self._window = options.count("window", 128)
        self.limits = Limits(options.count("batch", 500), options.size("batch_bytes", 1_000_000), self._format.line)
        self._address = address
        self._tls = context(address, options)
        self._name = options.text("name") if self._tls else ""
        self._session: _Session | None = None

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        messages = [self._format.message(event) for event in events]
        try:
            if self._session is None:
                self._session = _Session(
                    self._address, Stream(self._address, self._tls, self._name, deadline), deadline
                )
            refused = self._session.carry(messages, self._window, deadline)
        except BaseException:
            self._drop()
            raise
        return Answer(refused) if refused else TAKEN

    def close(self) -> None:
        if self._session is not None:
            self._session.bid_farewell()
        self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class _Session:
    """One connection, from `open` on."""

    def __init__(self, address: Address, stream: Stream, deadline: Deadline) -> None:
        self._address = address
        self._stream = stream
        self._number = 0
        self._buffer = b""
        try:
            number = self._next()
            stream.send(_frame(number, b"open", _OFFER), deadline)
            answered, words = self._response(deadline)
            if answered != number or not _accepted(words):
                raise Unavailable(f"{address.authority} does not open a RELP session: {_words(words)}")
        except BaseException:
            stream.close()
            raise

    def carry(self, messages: Sequence[bytes], window: int, deadline: Deadline) -> dict[int, str]:
        """Sends all, and returns when each is answered for: the refused ones, with their reasons."""
        open_ones: dict[int, int] = {}
        refused: dict[int, str] = {}
        at = 0
        while at < len(messages) or open_ones:
            frames = b""
            while at < len(messages) and len(open_ones) < window:
                number = self._next()
                open_ones[number] = at
                frames += _frame(number, b"syslog", messages[at])
                at += 1
            if frames:
                self._stream.send(frames, deadline)
            # Half of the window is answered before more is sent, so that frames travel in company.
            least = 0 if at == len(messages) else window // 2
            while len(open_ones) > least:
                number, words = self._response(deadline)
                if number not in open_ones:
                    raise Unavailable(f"{self._address.authority} answers for message {number}, which was not sent")
                index = open_ones.pop(number)
                if not _accepted(words):
                    refused[index] = _words(words)
        return refused

    def bid_farewell(self) -> None:
        """Tells the receiver that no more comes; everything is answered for, so what it says to that is not waited for
        long."""
        deadline = Deadline.after(_FAREWELL)
        with contextlib.suppress(Unavailable):
            self._stream.send(_frame(self._next(), b"close", b""), deadline)
            self._response(deadline)

    def close(self) -> None:
        self._stream.close()

    def _next(self) -> int:
        self._number = self._number % _LAST_NUMBER + 1
        return self._number

    def _response(self, deadline: Deadline) -> tuple[int, bytes]:
        """The next answer: the number of what it is for, and its words."""
        while True:
            match = _HEADER.match(self._buffer)
            if match:
                end = match.end() + int(match[3])
                if int(match[3]) > _LONGEST_ANSWER:
                    raise Unavailable(f"{self._address.authority} announces an answer of {int(match[3])} bytes")
                if len(self._buffer) > end:
                    if self._buffer[end : end + 1] != b"\n":
                        raise Unavailable(f"{self._address.authority} sends a frame that does not end where it says")
                    words, self._buffer = self._buffer[match.end() : end], self._buffer[end + 1 :]
                    if match[2] == b"rsp":
                        return int(match[1]), words
                    if match[2] == b"serverclose":
                        raise Unavailable(f"{self._address.authority} closes the session")
                    raise Unavailable(f"{self._address.authority} says {_words(match[0])}, which is no answer of RELP")
            elif len(self._buffer) >= _LONGEST_HEADER:
                raise Unavailable(
                    f"{self._address.authority} says {_words(self._buffer)}, which is no RELP",
                    hint="Look at what is listening there.",
                )
            self._buffer += self._stream.receive(deadline)


def open_sink(address: Address, options: Options) -> RelpSink:
    return RelpSink(address, options)


def _frame(number: int, command: bytes, data: bytes) -> bytes:
    return b"%d %b %d%b%b\n" % (number, command, len(data), b" " if data else b"", data)


def _accepted(words: bytes) -> bool:
    return re.match(rb"200(?![0-9])", words) is not None


def _words(data: bytes) -> str:
    return " ".join(data[:200].decode("utf-8", "backslashreplace").split())
