"""A channel's streams, over a channel that only looks like one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from paramiko.buffered_pipe import BufferedPipe

from harness.deadline import Deadline
from harness.transport.ssh import channel as channel_module
from harness.transport.ssh.channel import ChannelClosedError, ChannelIO
from harness.transport.ssh.shell import AnswerReader
from tests.patience import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator


class OpenWindow:
    """A channel whose peer takes whatever it is sent, and answers once it has had `wants` bytes."""

    closed = eof_received = False

    def __init__(self, wants: int) -> None:
        self.left = wants
        self.in_buffer = self.in_stderr_buffer = SimpleNamespace(set_event=lambda event: None)

    def settimeout(self, seconds: float) -> None:
        del seconds

    def send_ready(self) -> bool:
        return True

    def send(self, data: bytes) -> int:
        self.left -= len(data)
        return len(data)

    def recv_ready(self) -> bool:
        return self.left <= 0

    recv_stderr_ready = recv_ready

    def recv(self, size: int) -> bytes:
        return b"nonce 0 0\n"

    recv_stderr = recv


def over(channel: OpenWindow | Full) -> ChannelIO:
    @contextmanager
    def bounded(deadline: Deadline) -> Iterator[None]:
        yield

    wire = SimpleNamespace(bounded=bounded, heard=0.0)
    spec = SimpleNamespace(alive_interval=60.0, alive_bound=60.0)
    connection: Any = SimpleNamespace(alive=True, wire=wire, spec=spec, silence=lambda: 0.0)
    return ChannelIO(channel, connection)  # type: ignore[arg-type]


def test_sending_never_waits_while_the_peer_takes_more(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    channel = OpenWindow(5_000_000)

    def wait(bell: channel_module.Bell, seconds: float) -> bool:
        if seconds and channel.left > 0:
            waits.append(seconds)
        return False

    monkeypatch.setattr(channel_module.Bell, "wait", wait)
    io = over(channel)
    answer = io.exchange(AnswerReader("nonce"), deadline=Deadline.after(scaled(60)), stdin=b"x" * 5_000_000)
    assert answer.number == 0
    assert waits == []


def test_a_ring_is_kept_until_somebody_took_it() -> None:
    bell = channel_module.Bell()
    assert not bell.wait(0)
    for _ in range(3):
        bell.set()
    bell.clear()
    assert bell.wait(0), "clearing is not for others"
    assert not bell.wait(0.01), "it is one, however often it was rung"
    threading.Timer(0.05, bell.set).start()
    assert bell.wait(float("inf"))


class Full:
    """A channel in which much came in while nobody read, and nothing more comes. The buffers are paramiko's."""

    closed = eof_received = False

    def __init__(self, out: int, err: int) -> None:
        self.in_buffer: Any = BufferedPipe()
        self.in_stderr_buffer: Any = BufferedPipe()
        self.recv_ready, self.recv_stderr_ready = self.in_buffer.read_ready, self.in_stderr_buffer.read_ready
        self.recv, self.recv_stderr = self.in_buffer.read, self.in_stderr_buffer.read
        self.came = (b"o" * out, b"e" * err)

    def settimeout(self, seconds: float) -> None:
        del seconds

    def come(self) -> None:
        for pipe, data in zip((self.in_buffer, self.in_stderr_buffer), self.came, strict=True):
            if data:
                pipe.feed(data)


@pytest.mark.parametrize(("out", "err"), [(1_000_000, 0), (0, 1_000_000), (262_144, 524_289), (524_288, 262_144)])
def test_what_is_there_is_read_to_its_end_without_waiting_for_more(
    monkeypatch: pytest.MonkeyPatch, out: int, err: int
) -> None:
    channel = Full(out, err)
    io = over(channel)
    channel.come()
    rung = channel_module.Bell.wait
    monkeypatch.setattr(channel_module.Bell, "wait", lambda bell, seconds: rung(bell, 0) or pytest.fail("it waits"))
    read = errors = b""
    while len(read) < out or len(errors) < err:
        more, wrong = io.read(Deadline.after(scaled(60)))
        read, errors = read + more, errors + wrong
    assert (read, errors) == channel.came


@pytest.mark.parametrize(("out", "err"), [(1, 0), (0, 1), (1, 1), (262_144, 0), (262_143, 262_145)])
def test_an_end_that_came_with_the_last_output_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, out: int, err: int
) -> None:
    """The end rings once, together with what is read then; the next read must not wait until the peer is probed."""
    channel = Full(out, err)
    io = over(channel)
    channel.come()
    channel.closed = True
    channel.in_buffer.close()
    channel.in_stderr_buffer.close()
    rung = channel_module.Bell.wait
    monkeypatch.setattr(channel_module.Bell, "wait", lambda bell, seconds: rung(bell, 0) or pytest.fail("it waits"))
    read = errors = b""
    while len(read) < out or len(errors) < err:
        more, wrong = io.read(Deadline.after(scaled(60)))
        read, errors = read + more, errors + wrong
    assert (read, errors) == channel.came
    with pytest.raises(ChannelClosedError):
        io.read(Deadline.after(scaled(60)))
