"""The SFTP session against a server of our own that answers as badly as the protocol lets it."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from harness.transport.ssh import sftp as protocol
from harness.transport.ssh.sftp import Fields, PacketReader, Sftp, SftpProtocolError, SftpStatusError, string
from tests.patience import scaled


def soon() -> Deadline:
    return Deadline.after(scaled(30))


class Server:
    """Keeps one file. With a `seed` its pieces are short, its answers come in any order, and the stream in any chunks;
    it takes no writes behind `room`."""

    def __init__(self, content: bytes = b"", *, seed: int | None = None, room: int = 1 << 40) -> None:
        self.content = bytearray(content)
        self._chance = None if seed is None else random.Random(seed)
        self._room = room
        self._packets = PacketReader()
        self._answers: list[bytes] = []
        self._stream = b""

    def write(self, data: bytes | memoryview, deadline: Deadline) -> int:
        size = self._chance.randint(0, len(data)) if self._chance else len(data)
        self._packets.feed(bytes(data[:size]))
        while (packet := self._packets.packet()) is not None:
            self._answers.append(self._answer(packet))
        return size

    def pause(self, *, more: bool) -> float:
        return 0.0

    def read(self, deadline: Deadline, *, longest: float = 0.0) -> tuple[bytes, bytes]:
        if self._chance:
            self._chance.shuffle(self._answers)
        self._stream += b"".join(self._answers)
        self._answers = []
        cut = self._chance.randint(min(1, len(self._stream)), len(self._stream)) if self._chance else None
        data, self._stream = self._stream[:cut], self._stream[len(self._stream) if cut is None else cut :]
        return data, b""

    def _answer(self, packet: bytes) -> bytes:
        fields = Fields(packet)
        kind, number = fields.byte(), fields.number()
        if kind == protocol.INIT:
            body = struct.pack(">BI", protocol.VERSION, number) + string(protocol.POSIX_RENAME) + string(b"1")
            return string(body)
        fields.string()
        at = fields.long()
        if kind == protocol.WRITE:
            data = fields.string()
            if at + len(data) > self._room:
                return self._status(number, protocol.FAILURE)
            self.content[at : at + len(data)] = data
            return self._status(number, protocol.OK)
        size = fields.number()
        data = bytes(self.content[at : at + size])
        if not data:
            return self._status(number, protocol.END_OF_FILE)
        if self._chance:
            data = data[: self._chance.randint(1, len(data))]
        return string(struct.pack(">BI", protocol.DATA, number) + string(data))

    @staticmethod
    def _status(number: int, code: int) -> bytes:
        return string(struct.pack(">BII", protocol.STATUS, number, code) + string(b"words") + string(b""))


SEEDS = st.none() | st.integers(0, 1 << 32)


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "PIECE", 16)
        yield


@given(content=st.binary(max_size=400), start=st.integers(0, 400), rest=st.integers(0, 500), seed=SEEDS)
def test_what_is_read_is_what_is_there_however_it_comes(
    content: bytes, start: int, rest: int, seed: int | None
) -> None:
    for stop in (start + rest, None):
        got = bytearray()
        Sftp(Server(content, seed=seed)).read(b"handle", start, stop, soon(), got.extend)
        assert got == content[start:stop]


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=200), start=st.integers(0, 20), seed=SEEDS)
def test_what_is_written_is_there_and_acknowledged(pieces: list[bytes], start: int, seed: int | None) -> None:
    server, acked = Server(bytes(start), seed=seed), list[int]()
    Sftp(server).write(b"handle", start, pieces, soon(), acked.append)
    assert server.content == bytes(start) + b"".join(pieces)
    assert sorted(acked) == sorted(map(len, pieces))


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=200), seed=SEEDS, part=st.floats(0, 0.99)
)
def test_a_refused_write_is_told_and_the_session_goes_on(pieces: list[bytes], seed: int | None, part: float) -> None:
    room = int(sum(map(len, pieces)) * part)
    server, acked = Server(seed=seed, room=room), list[int]()
    sftp = Sftp(server)
    with pytest.raises(SftpStatusError) as caught:
        sftp.write(b"handle", 0, pieces, soon(), acked.append)
    assert (caught.value.code, caught.value.text) == (protocol.FAILURE, "words")
    assert sum(acked) <= room
    # What was under way is answered still, and is no answer to what comes next.
    got = bytearray()
    server.content[:] = b"after"
    sftp.read(b"handle", 0, 5, soon(), got.extend)
    assert got == b"after"


@given(chunks=st.lists(st.binary(max_size=60), max_size=20))
def test_no_bytes_break_the_reader(chunks: list[bytes]) -> None:
    reader = PacketReader()
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (packet := reader.packet()) is not None:
                fields = Fields(packet)
                fields.byte()
                fields.number()
                fields.attributes()
    except SftpProtocolError:
        pass


@given(packets=st.lists(st.binary(min_size=1, max_size=50)), data=st.data())
def test_packets_come_out_as_they_went_in(packets: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(string, packets))
    reader, found = PacketReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:cut])
        stream = stream[cut:]
        while (packet := reader.packet()) is not None:
            found.append(packet)
    assert found == packets


def test_a_session_begins_with_the_version() -> None:
    sftp = Sftp(Server())
    sftp.begin(soon())
    assert sftp.extensions == {protocol.POSIX_RENAME}


@pytest.mark.parametrize("said", [b"Welcome to box\r\n", b"\x00\x00\x00\x05\x65aaaa", string(b"\x02\x00\x00\x00\x02")])
def test_what_is_no_sftp_is_told_as_such(said: bytes) -> None:
    server = Server()
    server._answers = [said]
    server.write = lambda data, deadline: len(data)  # type: ignore[method-assign]
    with pytest.raises(SftpProtocolError):
        Sftp(server).begin(soon())


def test_a_server_that_says_nothing_is_left_at_the_deadline() -> None:
    with pytest.raises(DeadlineExpired):
        Sftp(Server()).read(b"handle", 0, 1, Deadline.after(-1), lambda data: None)
