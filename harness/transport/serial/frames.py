"""Answers of the guest: bytes in, one verified answer or a list of what to read again out. No I/O and no clock.

Two kinds of line come from the guest, at any place in the stream and between any noise:

- a *message*, ``NONCE<BODY|LENGTH:BODY>``: said twice, believed when both halves and the length agree;
- a *data line*, ``TAGsINDEX:PAYLOAD.``: `s` is ``p`` for stdout and ``q`` for stderr, indices count from 1. All
  payloads of a stream are covered by one checksum over the decoded bytes (that of gzip, or sha256, md5, POSIX cksum);
  where the guest has no tool for that, or keeps its output in a variable, index and payload are said twice too:
  ``TAGsINDEX:INDEX/HEX,HEX,|INDEX/HEX,HEX,.``

What is neither is *noise*: the console's own lines, handed on for the record.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from harness.transport.limits import ANSWER_LIMIT
from harness.transport.serial.requests import Nonce

_LONGEST_SEGMENT = 1 << 17
_LINE_COST = 128
"""Bytes that this machine spends on a data line besides what it carries."""
_STEP = 1 << 20
_MESSAGE_ENDS = 1000
"""Places that are tried as a message's end: noise behind it may hold some more of that character."""
_MOST_MISSING = 5000
"""Lines that are asked for again at a time."""
_MESSAGES_KEPT = 1000


class AnswerTooLongError(Exception):
    """Inside this room: the answer is, or claims to be, longer than what is kept of one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One command's verified answer."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Missing:
    """Lines of one stream (``p`` or ``q``) to be read again; `indices` ascend and count from 1."""

    stream: str
    indices: tuple[int, ...]


@dataclass(slots=True)
class _Stream:
    lines: dict[int, bytes] = field(default_factory=dict)


def posix_cksum(data: bytes) -> int:
    """The checksum of POSIX `cksum` (IEEE Std 1003.1, cksum): CRC-32 most significant bit first, length appended."""
    length = len(data)
    tail = bytearray()
    while length:
        tail.append(length & 0xFF)
        length >>= 8
    # zlib's CRC is the mirror image of this one: mirror each byte on the way in, the whole on the way out.
    register = zlib.crc32((data + bytes(tail)).translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{register:032b}"[::-1], 2) ^ 0xFFFFFFFF


_MIRROR = bytes(int(f"{b:08b}"[::-1], 2) for b in range(256))


def checksum_holds(said: str, data: bytes) -> bool:
    """Compares with what sha256sum, md5sum or cksum printed, told apart by the length."""
    if len(said) == 64:
        return hashlib.sha256(data).hexdigest() == said
    if len(said) == 32:
        return hashlib.md5(data, usedforsecurity=False).hexdigest() == said
    return len(said) <= 10 and said.isdigit() and posix_cksum(data) == int(said)


def parse_message(rest: bytes) -> tuple[bytes, int] | None:
    """Reads ``BODY|LENGTH:BODY>`` at the start of `rest`: the body and how far it reaches, or None where that
    does not hold. The length keeps a damaged half that some line says twice from passing for two."""
    end = rest.rfind(b">")
    for _ in range(_MESSAGE_ENDS):
        if end <= 0:
            return None
        for digits in range(1, 7):
            length, odd = divmod(end - digits - 2, 2)
            if odd or length < 0:
                continue
            between = b"|%d:" % length
            if rest[length : length + digits + 2] == between and rest[:length] == rest[end - length : end]:
                return rest[:length], end + 1
        end = rest.rfind(b">", 0, end)
    return None


def inline_answer(body: str) -> Answer | None:
    """Reads ``=STATUS:LENGTH:LENGTH:STDOUTSTDERR`` (newlines as ``~``); None where the lengths do not hold."""
    parts = body[1:].split(":", 3)
    if len(parts) != 4 or not _is_status(parts[0]) or not all(_is_count(p) for p in parts[1:3]):
        return None
    status, out, err = (int(p) for p in parts[:3])
    text = parts[3]
    if len(text) != out + err or not text.isascii():
        return None
    raw = text.replace("~", "\n").encode("ascii")
    return Answer(status, raw[:out], raw[out:])


def _is_status(text: str) -> bool:
    """Whether it is a program's exit status."""
    return len(text) <= 3 and text.isdigit() and int(text) <= 255


def _is_count(text: str) -> bool:
    """Whether it is a number that can count what one answer holds."""
    return len(text) <= 12 and text.isdigit()


_DATA = re.compile(rb"([pq])([0-9]{1,9}):([A-Za-z0-9+/= ,|-]{0,8192})\.")
_CLEAN = re.compile(rb"([pq])([0-9]{1,9}):([^.]*)\.\r*")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BEGUN = re.compile(rb"[pq][0-9]")


def _begun(text: bytes, tag: bytes) -> int:
    """Where a data line begins in `text`, whole or not; -1 where none does."""
    at = -1
    while (at := text.find(tag, at + 1)) >= 0:
        if _BEGUN.match(text, at + len(tag)):
            return at
    return -1


class Exchange:
    """One attempt's side of the stream: feed it any chunks, ask it for the answer.

    `damaged` counts lines that began as ours and did not hold; `noise_bytes` what belonged to others.
    """

    def __init__(self, nonce: Nonce, *, limit: int = ANSWER_LIMIT) -> None:
        """`limit` bounds the answer, stdout and stderr together, in bytes."""
        self.nonce = nonce
        self._limit = limit
        self._held = 0
        self.damaged = 0
        self.noise_bytes = 0
        self._mark = nonce.whole.encode() + b"<"
        tag = nonce.tag.encode()
        self._tag = tag
        self._rest = b""
        self._news = False
        self._messages: list[str] = []
        self._noise: list[bytes] = []
        self._broken: list[tuple[int, bytes]] = []
        self._streams = {"p": _Stream(), "q": _Stream()}
        self._bulk: tuple[int, tuple[str, int], tuple[str, int]] | None = None
        self._answer: Answer | None = None

    # -- in ----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bool:
        """Takes the next bytes of the stream, cut anywhere. False where there is nothing to act upon: they only were
        some more data lines."""
        self._news = not self.lines_seen()
        buffer = self._rest + data if self._rest else data
        *segments, self._rest = buffer.split(b"\n")
        for segment in segments:
            self._segment(segment)
        if len(self._rest) > _LONGEST_SEGMENT:
            self._segment(self._rest)
            self._rest = b""
        return self._news

    def _segment(self, segment: bytes) -> None:
        # One whole line of ours and nothing else, which is what bulk output is made of, needs no search for noise.
        if segment.startswith(self._tag):
            clean = _CLEAN.fullmatch(segment, len(self._tag))
            if clean is not None and not clean[3].translate(None, _BASE64):
                self._keep(clean[1], clean[2], clean[3])
                return
        self._news = True
        segment = segment.strip(b"\r")
        if not segment:
            return
        left: list[bytes] = []
        at = 0
        broken = False
        while at < len(segment):
            mark = segment.find(self._mark, at)
            data = self._find_line(segment, at)
            if data is not None and (mark < 0 or data.start() - len(self._tag) < mark):
                left.append(segment[at : data.start() - len(self._tag)])
                broken |= not self._take_line(data)
                at = data.end()
                continue
            if mark < 0:
                break
            body = parse_message(segment[mark + len(self._mark) :])
            if body is None:
                broken = True
                break
            left.append(segment[at:mark])
            self._take_message(body[0].decode("ascii", "replace"))
            at = mark + len(self._mark) + body[1]
        left.append(segment[at:])
        remains = b"".join(left).strip(b"\r")
        broken |= _begun(remains, self._tag) >= 0
        if broken:
            self.damaged += 1
            self._broken.append((len(self._noise), segment))
        if remains:
            self.noise_bytes += len(remains)
            self._noise.append(remains)

    def _find_line(self, segment: bytes, at: int) -> re.Match[bytes] | None:
        while (at := segment.find(self._tag, at)) >= 0:
            match = _DATA.match(segment, at + len(self._tag))
            if match:
                return match
            at += 1
        return None

    def _take_line(self, match: re.Match[bytes]) -> bool:
        payload = match[3]
        if b"|" in payload:
            half, odd = divmod(len(payload), 2)
            if not odd or payload[half] != 0x7C or payload[:half] != payload[half + 1 :]:
                return False
            # No sum covers the order of such lines, so the index is said twice as well.
            if not payload.startswith(match[2] + b"/"):
                return False
        self._keep(match[1], match[2], payload)
        return True

    def _keep(self, stream: bytes, index: bytes, payload: bytes) -> None:
        # What it carries takes up to twice its size on the line (base64; twice in hex, where the guest has no tools).
        if self._held <= 2 * self._limit + _STEP:
            self._held += len(payload) + _LINE_COST
            self._streams[stream.decode()].lines[int(index)] = payload

    def _take_message(self, body: str) -> None:
        if body.startswith("="):
            answer = inline_answer(body)
            if answer is not None:
                self._answer = answer
                return
        elif body.startswith("+"):
            parts = body[1:].split(":")
            if len(parts) == 5 and _is_status(parts[0]) and _is_count(parts[2]) and _is_count(parts[4]) and all(parts):
                self._bulk = (int(parts[0]), (parts[1], int(parts[2])), (parts[3], int(parts[4])))
                return
        if len(self._messages) < _MESSAGES_KEPT:
            self._messages.append(body)

    # -- out ---------------------------------------------------------------------------------------------------

    def messages(self) -> list[str]:
        """Bodies that are no answer (acknowledgements, refusals, states), each handed out once."""
        out, self._messages = self._messages, []
        return out

    def lines_seen(self) -> int:
        """Data lines had so far, of both streams; for progress."""
        return sum(len(s.lines) for s in self._streams.values())

    def resolve(self) -> Answer | list[Missing] | None:
        """The answer; or the lines to read again; or None while the guest has not said how it ended. Raises
        AnswerTooLongError."""
        if self._answer is not None:
            return self._answer
        if self._held > 2 * self._limit + _STEP:
            raise AnswerTooLongError(f"more than {self._limit} bytes came")
        if self._bulk is None:
            return None
        status, *kinds = self._bulk
        missing: list[Missing] = []
        decoded: list[bytes] = []
        for name, (kind, count) in zip("pq", kinds, strict=True):
            lines = self._streams[name].lines
            if count > self._limit:
                raise AnswerTooLongError(f"{count} lines are announced")
            absent = tuple(islice((i for i in range(1, count + 1) if i not in lines), _MOST_MISSING))
            if absent:
                missing.append(Missing(name, absent))
                continue
            payloads = [lines[i] for i in range(1, count + 1)]
            data = _decode(kind, payloads, self._limit)
            if data is None:
                suspects = _suspects(kind, payloads)
                self.damaged += len(suspects)
                for index in suspects:
                    del lines[index]
                missing.append(Missing(name, suspects))
                continue
            decoded.append(data)
        if missing:
            return missing
        if sum(map(len, decoded)) > self._limit:
            raise AnswerTooLongError(f"it holds {sum(map(len, decoded))} bytes")
        self._answer = Answer(status, *decoded)
        for stream in self._streams.values():
            stream.lines.clear()  # twice what they carry, and nobody needs them any more
        return self._answer

    def noise(self, *, final: bool = False) -> list[bytes]:
        """Lines of others, each handed out once, in order; the pieces of our own broken lines are taken off where
        they can be told. `final` ends the line that is still open."""
        if final and self._rest:
            self._segment(self._rest)
            self._rest = b""
        out, self._noise = self._noise, []
        broken, self._broken = self._broken, []
        return _without_ours(out, broken, self._mark, self._tag)

    def unfinished(self) -> bytes:
        """The open line at the end of the stream (a prompt stands there, or the start of a line)."""
        return self._rest


def _decode(kind: str, payloads: list[bytes], limit: int = ANSWER_LIMIT) -> bytes | None:
    """The bytes that the payloads carry, or None where they do not hold. Raises AnswerTooLongError for what unpacks to
    more than `limit` bytes."""
    joined = b"".join(payloads)
    try:
        if kind == "-":
            return b""
        if kind == "z":
            return _unzipped(binascii.a2b_base64(joined, strict_mode=True), limit)
        if kind[0] == "b":
            data = binascii.a2b_base64(joined, strict_mode=True)
            return data if checksum_holds(kind[1:], data) else None
        if kind[0] == "x":
            data = bytes.fromhex(joined.decode("ascii"))
            return data if checksum_holds(kind[1:], data) else None
        if kind[0] in "dvw":
            if not all(b"|" in p for p in payloads):
                return None
            halves = [p[p.index(b"/") + 1 : len(p) // 2] for p in payloads]
            if kind == "w":
                return binascii.a2b_base64(b"".join(halves), strict_mode=True)
            if kind == "v":
                return bytes(int(value, 16) & 0xFF for half in halves for value in half.split())
            values = [v for half in halves for v in half.split(b",") if v]
            data = bytes(int(v, 16) & 0xFF for v in values)
            return data if kind[1:].isdigit() and len(data) == int(kind[1:]) else None
    except (ValueError, binascii.Error, zlib.error, UnicodeDecodeError):
        return None
    return None


def _unzipped(packed: bytes, limit: int) -> bytes | None:
    """What a gzip file holds, unpacked in steps: a thousand times its size may be in it (RFC 1951)."""
    unzip = zlib.decompressobj(wbits=31)
    pieces, size = [], 0
    while not unzip.eof:
        piece = unzip.decompress(packed, _STEP)
        packed = unzip.unconsumed_tail
        size += len(piece)
        if size > limit:
            raise AnswerTooLongError(f"it unpacks to more than {limit} bytes")
        if not piece and not packed and not unzip.eof:
            return None
        pieces.append(piece)
    return None if unzip.unused_data else b"".join(pieces)


def _suspects(kind: str, payloads: list[bytes]) -> tuple[int, ...]:
    """Which lines to read again when the whole does not hold: those of an odd length, else all."""
    if kind[0] in "zbx" and len(payloads) > 1:
        usual = Counter(map(len, payloads)).most_common(1)[0][0]
        odd = tuple(
            i for i, p in enumerate(payloads, 1) if len(p) != usual and not (i == len(payloads) and 0 < len(p) < usual)
        )
        if odd:
            return odd
    return tuple(range(1, len(payloads) + 1))


def _without_ours(noise: list[bytes], broken: list[tuple[int, bytes]], mark: bytes, tag: bytes) -> list[bytes]:
    """Takes the remains of broken lines of ours out of the noise, as far as they can be told.

    Before our mark stands somebody else's text; what follows it, up to a character that no line of ours ends with, is
    kept only from the first ``[`` (a kernel's time stamp) on. The rest of the line, after the noise, is ours as well.
    """
    spots = {at for at, _ in broken}
    out: list[bytes] = []
    tail_expected = False
    for at, text in enumerate(noise):
        if at in spots:
            start = text.find(mark)
            if start < 0:
                start = _begun(text, tag)
            if start >= 0:
                head, body = text[:start], text[start:]
                stamp = body.find(b"[")
                text = head + (body[stamp:] if stamp > 0 else b"")
            tail_expected = True
        elif tail_expected:
            tail_expected = False
            if text[-1:] in (b">", b".") and b" " not in text:
                continue
        if text:
            out.append(text)
    return out
