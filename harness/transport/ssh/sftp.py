"""SFTP, version 3 (draft-ietf-secsh-filexfer-02), on one channel: as much of it as carrying files needs.

paramiko's own client knows no deadline, sees a write's refusal a hundred writes late, and reads ahead in a thread that
nobody can end. Here many requests are under way at once and each answer is waited for as any other byte is.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from harness.deadline import Deadline

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
SETSTAT, REMOVE, REALPATH, STAT = 9, 13, 16, 17
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

OK, END_OF_FILE, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = range(5)

FOR_READING = 0x01
ANEW = 0x02 | 0x08 | 0x20
"""For writing a file that must not be there yet; a link in its place does not count as one."""
FOR_WRITING = 0x02

POSIX_RENAME = b"posix-rename@openssh.com"
STATVFS = b"statvfs@openssh.com"
PIECE = 32768
"""Bytes in one request: what every server takes (3.: "all servers SHOULD support packets of at least 34000 bytes")."""
UNDER_WAY = 64
"""Requests that are sent before the first one's answer came: 2 MiB, which is OpenSSH's window."""
_LONGEST = 1 << 18
_HAS_SIZE, _HAS_OWNER, _HAS_MODE = 1, 2, 4


class SftpStatusError(Exception):
    """Inside this room: the server said no. `code` is its status, `text` its words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text or f"status {code}")
        self.code = code
        self.text = text


class SftpProtocolError(Exception):
    """Inside this room: what came is no SFTP, or no answer to what was asked."""


class Stream(Protocol):
    """A channel's streams; see :class:`~harness.transport.ssh.channel.ChannelIO`."""

    def write(self, data: bytes | memoryview, deadline: Deadline) -> int: ...
    def read(self, deadline: Deadline, *, longest: float = ...) -> tuple[bytes, bytes]: ...
    def pause(self, *, more: bool) -> float: ...


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a server tells of a file; 0 for what it does not tell."""

    size: int = 0
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Space:
    """What is left in a file system, in bytes; `full` says that it takes no more files."""

    left: int
    full: bool
    read_only: bool


class Fields:
    """A packet's fields, read one by one. Raises SftpProtocolError when it ends early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise SftpProtocolError("a packet ends early")
        self._at += size
        return piece

    def byte(self) -> int:
        return self._take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def long(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def string(self) -> bytes:
        return self._take(self.number())

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def attributes(self) -> Attributes:
        flags = self.number()
        size = self.long() if flags & _HAS_SIZE else 0
        if flags & _HAS_OWNER:
            self._take(8)
        return Attributes(size, self.number() if flags & _HAS_MODE else 0)


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _mode(mode: int) -> bytes:
    return struct.pack(">II", _HAS_MODE, mode)


def _path(path: str) -> bytes:
    return string(path.encode("utf-8", "surrogateescape"))


class PacketReader:
    """Takes a stream in any pieces and gives its packets. Raises SftpProtocolError for what cannot be one."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Takes more bytes."""
        self._data += data

    def packet(self) -> bytes | None:
        """The next packet, without its length; None while it is not whole."""
        if len(self._data) < 4:
            return None
        size = int.from_bytes(self._data[:4], "big")
        if not 0 < size <= _LONGEST:
            raise SftpProtocolError(f"this is no SFTP: {bytes(self._data[:80])!r}")
        if len(self._data) < 4 + size:
            return None
        packet = bytes(self._data[4 : 4 + size])
        del self._data[: 4 + size]
        return packet


class Sftp:
    """One session, for one thread. Every call waits until `deadline` and raises what the stream raises, SftpStatusError
    when the server says no, and SftpProtocolError."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._packets = PacketReader()
        self._to_send = bytearray()
        self._last = 0
        self._asked: set[int] = set()
        self.extensions: frozenset[bytes] = frozenset()

    def begin(self, deadline: Deadline) -> None:
        """Agrees on the version. Must come first."""
        self._to_send += struct.pack(">IBI", 5, INIT, 3)
        fields = Fields(self._packet(deadline))
        if fields.byte() != VERSION or fields.number() < 3:
            raise SftpProtocolError("the server speaks no SFTP of version 3")
        names = []
        while fields.left:
            names.append(fields.string())
            fields.string()
        self.extensions = frozenset(names)

    def real_path(self, path: str, deadline: Deadline) -> str:
        """The absolute path, links resolved."""
        fields = self._ask(REALPATH, _path(path), NAME, deadline)
        if fields.number() != 1:
            raise SftpProtocolError("one path has not one real path")
        return fields.string().decode("utf-8", "surrogateescape")

    def look(self, path: str, deadline: Deadline) -> Attributes:
        """A file's attributes; those of what a link names."""
        return self._ask(STAT, _path(path), ATTRS, deadline).attributes()

    def space(self, path: str, deadline: Deadline) -> Space:
        """What is left in the file system that holds `path`. OpenSSH's extension (its PROTOCOL, 4.3)."""
        fields = self._ask(EXTENDED, string(STATVFS) + _path(path), EXTENDED_REPLY, deadline)
        # f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, f_fsid, f_flag
        found = [fields.long() for _ in range(10)]
        # Where files are not counted, there are none of them and none left.
        return Space(found[1] * found[4], found[5] > 0 and found[7] == 0, bool(found[9] & 1))

    def open(self, path: str, how: int, deadline: Deadline) -> bytes:
        """A handle. A new file is its owner's alone."""
        body = _path(path) + struct.pack(">I", how) + _mode(0o600)
        return self._ask(OPEN, body, HANDLE, deadline).string()

    def close(self, handle: bytes, deadline: Deadline) -> None:
        """Gives a handle back. A file system may tell only now that a write failed."""
        self._do(CLOSE, string(handle), deadline)

    def set_mode(self, path: str, mode: int, deadline: Deadline) -> None:
        """chmod(2)."""
        self._do(SETSTAT, _path(path) + _mode(mode), deadline)

    def rename(self, old: str, new: str, deadline: Deadline) -> None:
        """rename(2): what has the new name is replaced. OpenSSH's extension (its PROTOCOL, 4.3)."""
        self._do(EXTENDED, string(POSIX_RENAME) + _path(old) + _path(new), deadline)

    def remove(self, path: str, deadline: Deadline) -> None:
        """unlink(2)."""
        self._do(REMOVE, _path(path), deadline)

    def write(
        self, handle: bytes, start: int, pieces: Iterable[bytes], deadline: Deadline, acked: Callable[[int], None]
    ) -> None:
        """Writes pieces of at most :data:`PIECE` bytes one behind the other; `acked` is told the size of each that was
        written."""
        under_way: dict[int, int] = {}
        head = string(handle)
        for piece in pieces:
            if len(under_way) >= UNDER_WAY:
                self._written(under_way, deadline, acked)
            number = self._request(WRITE, head + struct.pack(">Q", start) + string(piece))
            under_way[number] = len(piece)
            start += len(piece)
        while under_way:
            self._written(under_way, deadline, acked)

    def _written(self, under_way: dict[int, int], deadline: Deadline, acked: Callable[[int], None]) -> None:
        number, kind, fields = self._answer(deadline)
        if number not in under_way:
            raise SftpProtocolError("an answer came that belongs to no write")
        self._status(kind, fields)
        acked(under_way.pop(number))

    def read(
        self, handle: bytes, start: int, stop: int | None, deadline: Deadline, take: Callable[[bytes], None]
    ) -> None:
        """Gives `take` the bytes from `start` up to `stop`, or to the end of the file, in order.

        Without `stop` one request is under way at a time: files whose size is not known (proc(5)) give short pieces.
        """
        most = UNDER_WAY if stop is not None else 1
        under_way: deque[tuple[int, int]] = deque()
        came: dict[int, tuple[int, Fields]] = {}
        head, at = string(handle), start
        while True:
            while len(under_way) < most and (stop is None or start < stop):
                size = PIECE if stop is None else min(PIECE, stop - start)
                under_way.append((self._request(READ, head + struct.pack(">QI", start, size)), size))
                start += size
            if not under_way:
                return
            number, size = under_way.popleft()
            data = self._piece(number, came, deadline)
            if len(data) > size:
                raise SftpProtocolError("a read was answered with more than was asked for")
            at += len(data)
            if data:
                take(data)
            if len(data) < size:
                # What was asked for behind a short piece is asked for again; behind the end there is nothing.
                for late, _ in under_way:
                    self._piece(late, came, deadline)
                under_way.clear()
                if not data:
                    return
                start = at

    def _piece(self, number: int, came: dict[int, tuple[int, Fields]], deadline: Deadline) -> bytes:
        """The data of one read; empty at the end of the file."""
        while number not in came:
            found, kind, fields = self._answer(deadline)
            came[found] = (kind, fields)
        kind, fields = came.pop(number)
        if kind == DATA:
            return fields.string()
        try:
            self._status(kind, fields)
        except SftpStatusError as error:
            if error.code == END_OF_FILE:
                return b""
            raise
        raise SftpProtocolError("a read was answered with no data")

    def _ask(self, kind: int, body: bytes, wanted: int, deadline: Deadline) -> Fields:
        answer, fields = self._answer_to(self._request(kind, body), deadline)
        if answer != wanted:
            self._status(answer, fields)
            raise SftpProtocolError(f"a request of kind {kind} was answered with a plain yes")
        return fields

    def _do(self, kind: int, body: bytes, deadline: Deadline) -> None:
        self._status(*self._answer_to(self._request(kind, body), deadline))

    def _answer_to(self, number: int, deadline: Deadline) -> tuple[int, Fields]:
        """The answer to a request. Those to earlier ones, given up when a write was refused, are passed over."""
        while True:
            found, kind, fields = self._answer(deadline)
            if found == number:
                return kind, fields

    def _status(self, kind: int, fields: Fields) -> None:
        if kind != STATUS:
            raise SftpProtocolError(f"a packet of kind {kind} came where a status belongs")
        code = fields.number()
        if code != OK:
            raise SftpStatusError(code, fields.string().decode("utf-8", "backslashreplace") if fields.left else "")

    def _request(self, kind: int, body: bytes) -> int:
        self._last += 1
        self._asked.add(self._last)
        self._to_send += struct.pack(">IBI", len(body) + 5, kind, self._last) + body
        return self._last

    def _answer(self, deadline: Deadline) -> tuple[int, int, Fields]:
        fields = Fields(self._packet(deadline))
        kind, number = fields.byte(), fields.number()
        if number not in self._asked:
            raise SftpProtocolError("an answer came that nobody asked for")
        self._asked.discard(number)
        return number, kind, fields

    def _packet(self, deadline: Deadline) -> bytes:
        while True:
            self._send(deadline)
            packet = self._packets.packet()
            if packet is not None:
                return packet
            # What floods us must not keep us from looking at the time.
            deadline.check("reading an SFTP answer")
            self._packets.feed(self._stream.read(deadline, longest=self._stream.pause(more=bool(self._to_send)))[0])

    def _send(self, deadline: Deadline) -> None:
        """Sends what the server takes now."""
        while self._to_send:
            with memoryview(self._to_send) as view:
                sent = self._stream.write(view, deadline)
            del self._to_send[:sent]
            if not sent:
                return
