"""Answers of the guest: bytes in, one verified answer or a list of what to read again out. No I/O and no clock.

Two kinds of line come from the guest, at any place in the stream and between any noise:

- a *message*, ``NONCE<BODY|CHECK>``, whose check (:func:`~harness.transport.serial.guest.digest`) covers all before it;
- a *data line*, ``TAGsINDEX:PAYLOAD|CHECK.``: `s` is ``p`` for stdout and ``q`` for stderr, indices count from 1, and
  the check covers all before it. On a line that has done no damage so far it is ``TAGsINDEX:PAYLOAD.``: one checksum
  over the decoded bytes (that of gzip, or sha256, md5, POSIX cksum) covers all payloads of a stream then. A line that
  is read again always has its check.

The first letter of a body says what it answers: ``=`` and ``+`` are a command's own answer, ``!`` its failure to give
one, else it is the verb of the request. `!` alone, under the nonce that the guest said hello with, says that a line
came which was no request: it names none, so it refuses none.

What is neither is *noise*: the console's own lines, handed on for the record.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice

from harness.transport.limits import ANSWER_LIMIT
from harness.transport.serial.guest import digest
from harness.transport.serial.requests import Nonce

_LONGEST_SEGMENT = 1 << 17
_LINE_COST = 128
"""Bytes that this machine spends on a data line besides what it carries."""
_STEP = 1 << 20
_MOST_MISSING = 5000
"""Lines that are asked for again at a time."""
_MESSAGES_KEPT = 1000


class AnswerTooLongError(Exception):
    """Inside this package: the answer is, or claims to be, longer than what is kept of one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One command's verified answer."""

    status: int
    stdout: bytes
    stderr: bytes
    ended: bool = False
    """Whether we ended the command, before it had ended by itself."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Lines of one stream (``p`` or ``q``), which has `count`, to be read again; `indices` ascend and count from 1."""

    stream: str
    indices: tuple[int, ...]
    count: int


@dataclass(slots=True)
class _Stream:
    """The payloads of one stream by their index, and the indices of those whose own check has held."""

    lines: dict[int, bytes] = field(default_factory=dict)
    verified: set[int] = field(default_factory=set)


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


# What is not ours must not cost much: a frame's greatest length, the places in it that may be its end, and the frames
# in one line of the stream.
_LONGEST_FRAME = 2048
_CHECKS = 8
_FRAMES = 256


def parse_message(text: bytes, mark: int) -> tuple[bytes, int] | None:
    """Read ``NONCE<BODY|CHECK>``, whose body begins at `mark` and whose nonce stands before it.

    Returns the body and where the message ends in `text`, or None where the check does not hold.
    """
    begin = mark - _NONCE_LENGTH - 1
    for count, end in enumerate(_MESSAGE_END.finditer(text, mark, mark + _LONGEST_FRAME)):
        if count == _CHECKS:
            return None
        if check_holds(text[begin : end.start()], end[1]):
            return text[mark : end.start()], end.end()
    return None


def check_holds(text: bytes, said: bytes) -> bool:
    """Return whether the check `said` (decimal digits) is that of the text."""
    try:
        return digest(text) == int(said)
    except ValueError:
        return False


def _is_damaged_frame(text: bytes) -> bool:
    """Whether it ends as a frame of the guest's does, and none of anybody's is in it: its nonce was hit, say."""
    if _FRAME_END.search(text, max(0, len(text) - _LONGEST_FRAME)) is None:
        return False
    whole = _ANY_FRAME.search(text, max(0, len(text) - _LONGEST_FRAME))
    return whole is None or not check_holds(whole[1], whole[2])


def _is_count(text: str) -> bool:
    """Whether it is a number that can count what one answer holds."""
    return len(text) <= 12 and text.isdigit()


def inline_answer(body: str) -> Answer | None:
    """Read ``=STATUS:LENGTH:LENGTH:STDOUTSTDERR`` (newlines as ``~``); None where the lengths do not hold."""
    parts = body[1:].split(":", 3)
    status = _STATUS.fullmatch(parts[0])
    if len(parts) != 4 or status is None or not all(_is_count(p) for p in parts[1:3]):
        return None
    out, err = int(parts[1]), int(parts[2])
    text = parts[3]
    if len(text) != out + err or not text.isascii():
        return None
    raw = text.replace("~", "\n").encode("ascii")
    return Answer(int(status[1]), raw[:out], raw[out:], status[2] == "k")


_NONCE_LENGTH = 8
_STATUS = re.compile(r"(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(k?)")
_MESSAGE_END = re.compile(rb"\|([0-9]{1,19})>")
_LINE_END = re.compile(rb"\|([0-9]{1,19})\.")
_FRAME_END = re.compile(rb"\|[0-9]{6,19}[>.]\s*$")
_ANY_FRAME = re.compile(rb"([a-z2-9]{8}<.*|[a-z2-9]{4}[pq][0-9]{1,9}:.*)\|([0-9]{1,19})[>.]\s*$")
_LINE_BEGIN = re.compile(rb"([pq])([0-9]{1,9}):")
_DATA = re.compile(rb"([pq])([0-9]{1,9}):([A-Za-z0-9+/= ]*)\.")
_CLEAN = re.compile(rb"([pq])([0-9]{1,9}):([^.]*)\.\r*")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BEGUN = re.compile(rb"[pq][0-9]")


def _begun(text: bytes, tag: bytes, start: int = 0) -> int:
    """Where a data line begins in `text`, whole or not; -1 where none does."""
    at = start - 1
    while (at := text.find(tag, at + 1)) >= 0:
        if _BEGUN.match(text, at + len(tag)):
            return at
    return -1


class Exchange:
    """One attempt's side of the stream: feed it any chunks, ask it for the answer.

    `damaged` counts lines that began as ours and did not hold; `refused` how often the guest said that it got a line
    which is no request; `noise_bytes` what belonged to others.
    """

    def __init__(
        self, nonce: Nonce, *, guest: Nonce | None = None, checked: bool = False, limit: int = ANSWER_LIMIT
    ) -> None:
        """`guest` is the nonce that the guest said hello with. `checked`: only data lines with a check are believed.
        `limit` bounds the answer, stdout and stderr together, in bytes."""
        self.nonce = nonce
        self._limit = limit
        self._held = 0
        self.checked = checked
        self.refused = 0
        self.taken = 0
        """Data lines had so far, those that came again among them; for progress."""
        self.undecodable = 0
        """How often all lines of a stream were there, and did not hold as a whole."""
        self._guest_mark = b"" if guest is None else guest.whole.encode() + b"<"
        self.damaged = 0
        self.noise_bytes = 0
        self._mark = nonce.whole.encode() + b"<"
        tag = nonce.tag.encode()
        self._tag = tag
        self._rest = b""
        self._cut = False
        self._news = False
        self._messages: list[str] = []
        self._noise: list[bytes] = []
        self._broken: list[tuple[int, bytes]] = []
        self._streams = {"p": _Stream(), "q": _Stream()}
        self._bulk: tuple[int, bool, tuple[tuple[str, int], tuple[str, int]]] | None = None
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
        if not self.checked and segment.startswith(self._tag):
            clean = _CLEAN.fullmatch(segment, len(self._tag))
            if clean is not None and not clean[3].translate(None, _BASE64):
                self._take_line(clean[1], clean[2], clean[3], verified=False)
                return
        self._news = True
        segment = segment.strip(b"\r")
        if not segment:
            return
        left: list[bytes] = []
        at = 0
        broken = False
        for _ in range(_FRAMES):
            found = self._next_frame(segment, at)
            if found is None:
                break
            start, end, holds = found
            left.append(segment[at:start])
            at = end
            if not holds:
                broken = True
                left.append(segment[start:end])
        left.append(segment[at:])
        remains = b"".join(left).strip(b"\r")
        broken |= self._mark in remains or _begun(remains, self._tag) >= 0
        # The rest of a line that somebody else's cut in two is no second one.
        rest_expected, self._cut = self._cut, broken
        broken |= not rest_expected and _is_damaged_frame(remains)
        if broken:
            self.damaged += 1
            self._broken.append((len(self._noise), segment))
        if remains:
            self.noise_bytes += len(remains)
            self._noise.append(remains)

    def _next_frame(self, segment: bytes, at: int) -> tuple[int, int, bool] | None:
        """Find the next message or data line, and take it where it holds: where it begins and ends, and whether."""
        places = []
        for mark in (self._mark, self._guest_mark):
            if mark and (place := segment.find(mark, at)) >= 0:
                places.append((place, len(mark)))
        if (place := _begun(segment, self._tag, at)) >= 0:
            places.append((place, 0))
        if not places:
            return None
        start, length = min(places)
        if length == 0:
            end = self._read_line(segment, start)
            return (start, start + len(self._tag), False) if end is None else (start, end, True)
        message = parse_message(segment, start + length)
        if message is None:
            return start, start + length, False
        body = message[0].decode("ascii", "replace")
        if segment.startswith(self._mark, start):
            self._take_message(body)
        elif body == "!":
            self.refused += 1
        return start, message[1], True

    def _read_line(self, segment: bytes, start: int) -> int | None:
        """Take the data line that begins there: where it ends, or None where it does not hold."""
        begin = _LINE_BEGIN.match(segment, start + len(self._tag))
        if begin is None:
            return None
        for count, end in enumerate(_LINE_END.finditer(segment, begin.end(), begin.end() + _LONGEST_FRAME)):
            if count == _CHECKS:
                break
            if check_holds(segment[start : end.start()], end[1]):
                self._take_line(begin[1], begin[2], segment[begin.end() : end.start()], verified=True)
                return end.end()
        plain = None if self.checked else _DATA.match(segment, start + len(self._tag))
        if plain is None:
            return None
        self._take_line(plain[1], plain[2], plain[3], verified=False)
        return plain.end()

    def _take_line(self, name: bytes, number: bytes, payload: bytes, *, verified: bool) -> None:
        stream, index = self._streams[name.decode()], int(number)
        self.taken += 1
        if verified:
            stream.verified.add(index)
        elif index in stream.verified:
            return
        # What it carries takes up to twice its size on the line (base64; twice in hex, where the guest has no tools).
        if self._held <= 2 * self._limit + _STEP:
            before = stream.lines.get(index)
            self._held += len(payload) + _LINE_COST if before is None else len(payload) - len(before)
            stream.lines[index] = payload

    def _take_message(self, body: str) -> None:
        if body.startswith("="):
            answer = inline_answer(body)
            if answer is not None:
                self._answer = answer
                return
        elif body.startswith("+"):
            parts = body[1:].split(":")
            status = _STATUS.fullmatch(parts[0])
            if len(parts) == 5 and status is not None and all(parts) and _is_count(parts[2]) and _is_count(parts[4]):
                streams = ((parts[1], int(parts[2])), (parts[3], int(parts[4])))
                self._bulk = (int(status[1]), status[2] == "k", streams)
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

    @property
    def has_ended(self) -> bool:
        """Whether the guest has said how the command ended."""
        return self._answer is not None or self._bulk is not None

    def resolve(self) -> Answer | list[Missing] | None:
        """The answer; or the lines to read again; or None while the guest has not said how it ended."""
        if self._answer is not None:
            return self._answer
        if self._held > 2 * self._limit + _STEP:
            raise AnswerTooLongError(f"more than {self._limit} bytes came")
        if self._bulk is None:
            return None
        status, ended, kinds = self._bulk
        missing: list[Missing] = []
        decoded: list[bytes] = []
        for name, (kind, count) in zip("pq", kinds, strict=True):
            stream = self._streams[name]
            if count > self._limit:
                raise AnswerTooLongError(f"{count} lines are announced")
            if kind[0] in "wvt":
                have: Collection[int] = stream.verified
            else:
                have = stream.lines
            absent = tuple(islice((i for i in range(1, count + 1) if i not in have), _MOST_MISSING))
            if absent:
                missing.append(Missing(name, absent, count))
                continue
            data = _decode(kind, [stream.lines[i] for i in range(1, count + 1)], self._limit)
            if data is None:
                missing.append(Missing(name, self._drop_suspects(kind, stream, count), count))
                continue
            decoded.append(data)
        if missing:
            # What is read again has a check of its own.
            self.checked = True
            return missing
        if sum(map(len, decoded)) > self._limit:
            raise AnswerTooLongError(f"it holds {sum(map(len, decoded))} bytes")
        self._answer = Answer(status, decoded[0], decoded[1], ended)
        for stream in self._streams.values():
            stream.lines.clear()  # twice what they carry, and nobody needs them any more
        return self._answer

    def _drop_suspects(self, kind: str, stream: _Stream, count: int) -> tuple[int, ...]:
        """Forget which lines are to be read again, where the whole does not hold: of those without a check of their
        own the ones of an odd length, else all."""
        doubtful = [i for i in range(1, count + 1) if i not in stream.verified] or list(range(1, count + 1))
        odd = set(_odd_lengths([stream.lines[i] for i in range(1, count + 1)])) if kind[0] in "zbx" else set()
        suspects = tuple(i for i in doubtful if i in odd) or tuple(doubtful)
        self.damaged += len(suspects)
        self.undecodable += 1
        for index in suspects:
            del stream.lines[index]
            stream.verified.discard(index)
        return suspects

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
        if kind == "w":
            return binascii.a2b_base64(joined, strict_mode=True)
        if kind == "v":
            return bytes(int(value, 16) & 0xFF for value in b" ".join(payloads).split())
        if kind == "t":
            return joined.replace(b"~", b"\n")
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


def _odd_lengths(payloads: list[bytes]) -> list[int]:
    """Return the indices, from 1, of lines that are not as long as most; the last one may be shorter."""
    if len(payloads) < 2:
        return []
    usual = Counter(map(len, payloads)).most_common(1)[0][0]
    return [i for i, p in enumerate(payloads, 1) if len(p) != usual and not (i == len(payloads) and 0 < len(p) < usual)]


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
