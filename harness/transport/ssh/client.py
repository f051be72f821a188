"""paramiko's client side, where it leaves something to be wished. Imported where it is used, as paramiko is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA
from paramiko.packet import Packetizer

LONGEST_PACKET = 1 << 18
"""Bytes in a packet: what OpenSSH takes at most (PACKET_MAX_SIZE of its packet.c)."""
MOST_BEFORE_KEYS = 1 << 16
"""Bytes that a peer may send before its version string has ended (RFC 4253, 4.2)."""
_SLACK = 1 << 16
"""Bytes beyond a channel's window that are let pass: a peer may count a packet late."""


class BoundedPacketizer(Packetizer):
    """Reads packets, none of which may be longer than OpenSSH would take."""

    before_keys = 0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Read `n` bytes. Raises SSHException where that is no packet's size."""
        if not 0 <= n <= LONGEST_PACKET + 1024:
            raise paramiko.SSHException(f"the peer announces a packet of {n} bytes")
        data: bytes = super().read_all(n, check_rekey)
        return data

    def _read_timeout(self, timeout: float) -> bytes:
        """paramiko reads the lines before the key exchange with this, however long they are."""
        data: bytes = super()._read_timeout(timeout)  # type: ignore[misc]
        self.before_keys += len(data)
        if self.before_keys > MOST_BEFORE_KEYS:
            raise paramiko.SSHException(f"the peer sent more than {MOST_BEFORE_KEYS} bytes and no version")
        return data


def _within_window(feed: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Data of a peer that pays no heed to the channel's window ends the connection, as with OpenSSH: paramiko would
    keep as much as comes."""

    def checked(channel: Any, message: Any) -> None:
        held = len(channel.in_buffer) + len(channel.in_stderr_buffer)
        if held > channel.in_window_size + _SLACK:
            raise paramiko.SSHException("the peer sends more than the channel's window allows")
        feed(channel, message)

    return checked


class Client(paramiko.Transport):
    """Asks for host keys in the order that it was given, certificates included; and bounds what a peer can make it
    keep."""

    _channel_handler_table: ClassVar[dict[int, Callable[[Any, Any], None]]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_DATA: _within_window(paramiko.Channel._feed),  # type: ignore[attr-defined]
        MSG_CHANNEL_EXTENDED_DATA: _within_window(paramiko.Channel._feed_extended),  # type: ignore[attr-defined]
    }

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.packetizer.__class__ = BoundedPacketizer

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """paramiko's own puts every certificate behind every plain key, so that no server would ever show one."""
        return tuple(self.get_security_options().key_types)
