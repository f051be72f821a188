"""What an SSH server shows to anybody: looked at from outside, with no login, or with one that is only tried.

Each call makes connections of its own and leaves none behind. All raise
:class:`~harness.transport.errors.Unavailable` with a classified cause when the server does not serve, and
:class:`~harness.errors.Cancelled`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.deadline import Deadline
from harness.events.emitter import NullEmitter
from harness.transport.errors import Cause, Contact, Unavailable
from harness.transport.ssh.connection import Connection, LibraryLog
from harness.transport.ssh.hostkeys import HostKey
from harness.transport.ssh.library import load_paramiko
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.wire import SocketWire
from harness.transport.ssh.wire import tcp_connect as _tcp_connect

if TYPE_CHECKING:
    import paramiko

__all__ = [
    "Banner",
    "HostKey",
    "KexInit",
    "auth_methods",
    "first_words",
    "host_keys",
    "parse_banner",
    "parse_kexinit",
    "read_banner",
    "read_kexinit",
    "tcp_connect",
    "try_key",
    "try_password",
]

_CLIENT_BANNER = b"SSH-2.0-harness\r\n"
_MSG_DISCONNECT, _MSG_KEXINIT = 1, 20
_MOST_BANNER = 8192
_MOST_PACKET = 262144


@dataclass(frozen=True, slots=True)
class Banner:
    """A server's identification (RFC 4253, 4.2): `SSH-protocol-software comment`. `preamble` holds the
    lines before it.
    """

    raw: str
    protocol: str
    software: str
    comment: str = ""
    preamble: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KexInit:
    """What a server offers (RFC 4253, 7.1), each list in the server's order of preference."""

    kex: tuple[str, ...]
    host_key: tuple[str, ...]
    cipher_in: tuple[str, ...]
    cipher_out: tuple[str, ...]
    mac_in: tuple[str, ...]
    mac_out: tuple[str, ...]
    compression_in: tuple[str, ...]
    compression_out: tuple[str, ...]

    @property
    def ciphers(self) -> tuple[str, ...]:
        """All ciphers offered in either direction."""
        return tuple(dict.fromkeys(self.cipher_in + self.cipher_out))

    @property
    def macs(self) -> tuple[str, ...]:
        """All message authentication codes offered in either direction."""
        return tuple(dict.fromkeys(self.mac_in + self.mac_out))


def parse_banner(data: bytes) -> Banner | None:
    """The identification in what a server sent so far; None while its line is not whole. Raises
    ValueError for what is none.
    """
    preamble: list[str] = []
    while True:
        line, found, data = data.partition(b"\n")
        if not found:
            return None
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        if not text.startswith("SSH-"):
            preamble.append(text)
            continue
        match = re.fullmatch(r"SSH-([^-\s]+)-(\S*)(?: (.*))?", text)
        if match is None:
            raise ValueError(f"malformed identification {text!r}")
        return Banner(text, match[1], match[2], match[3] or "", tuple(preamble))


def parse_kexinit(payload: bytes) -> KexInit:
    """Reads an SSH_MSG_KEXINIT payload (RFC 4253, 7.1). Raises ValueError when it is none."""
    if len(payload) < 17 or payload[0] != _MSG_KEXINIT:
        raise ValueError("this is no SSH_MSG_KEXINIT")
    lists: list[tuple[str, ...]] = []
    at = 17
    for _ in range(10):
        if at + 4 > len(payload):
            raise ValueError("the SSH_MSG_KEXINIT ends early")
        size = int.from_bytes(payload[at : at + 4], "big")
        at += 4
        if at + size > len(payload):
            raise ValueError("the SSH_MSG_KEXINIT ends early")
        names = payload[at : at + size].decode("ascii", "backslashreplace")
        lists.append(tuple(names.split(",")) if names else ())
        at += size
    return KexInit(*lists[:8])


def tcp_connect(host: str, port: int, deadline: Deadline) -> float:
    """Opens a TCP connection and closes it; the seconds that it took."""
    began = time.monotonic()
    _tcp_connect(_spec(host, port), deadline).close()
    return time.monotonic() - began


def first_words(host: str, port: int, deadline: Deadline) -> tuple[Banner, float, float]:
    """Return the server's identification, the seconds until the TCP connection was accepted, and those from then until
    the server had identified itself. Both are measured on one connection.

    Raises as `read_banner` does; the error's `contact` and `seen` tell how far it came and what was received.
    """
    began = time.monotonic()
    sock = _tcp_connect(_spec(host, port), deadline)
    accepted = time.monotonic()
    try:
        banner = _Stream(sock, f"{host} port {port}", deadline).banner()
    finally:
        sock.close()
    return banner, accepted - began, time.monotonic() - accepted


def read_banner(host: str, port: int, deadline: Deadline) -> Banner:
    """The server's identification. A port that is open but mute raises Unavailable(cause=BANNER)."""
    with _stream(host, port, deadline) as stream:
        return stream.banner()


def read_kexinit(host: str, port: int, deadline: Deadline) -> KexInit:
    """The algorithms that the server offers; parsed here, so that what paramiko does not speak is seen
    as well.
    """
    with _stream(host, port, deadline) as stream:
        stream.banner()
        stream.send(_CLIENT_BANNER)
        payload = stream.packet()
        if payload[:1] == bytes((_MSG_DISCONNECT,)):
            reason = payload[9:].decode("utf-8", "backslashreplace")
            raise stream.failure(f"hung up instead of offering algorithms: {reason.strip()}", Cause.KEX)
        try:
            return parse_kexinit(payload)
        except ValueError as error:
            raise stream.failure(f"offered no algorithms: {error}", Cause.KEX) from None


def host_keys(host: str, port: int, deadline: Deadline) -> dict[str, HostKey]:
    """The server's host keys by type, each proved by a key exchange of its own.

    Types that paramiko does not speak (ssh-dss, sk- and certificate types) are left out.
    """
    offered = read_kexinit(host, port, deadline).host_key
    found: dict[str, HostKey] = {}
    for algorithm in offered:
        key_type = "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm
        if key_type in found or algorithm == "ssh-rsa":
            continue
        key = _host_key(host, port, algorithm, deadline)
        if key is not None:
            found[key.type] = key
    return found


def auth_methods(host: str, port: int, user: str, deadline: Deadline) -> tuple[str, ...]:
    """The authentication methods that the server offers to `user`; ("none",) when it asks for nothing at
    all.
    """
    import paramiko

    with _session(host, port, deadline) as connection:
        try:
            connection.transport.auth_none(user)
        except paramiko.BadAuthenticationType as error:
            return tuple(error.allowed_types)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _no_answer(connection, user, error, deadline) from None
        return ("none",)


def try_key(host: str, port: int, user: str, key: paramiko.PKey, deadline: Deadline) -> bool:
    """Whether a login with this key is accepted (in part, where the server wants more than one proof)."""
    with _session(host, port, deadline) as connection:
        return _accepted(connection, user, deadline, key=key)


def try_password(host: str, port: int, user: str, password: str, deadline: Deadline) -> bool:
    """Whether a login with this password is accepted, by either of the methods `password` and
    `keyboard-interactive`.
    """
    with _session(host, port, deadline) as connection:
        return _accepted(connection, user, deadline, password=password)


def _accepted(
    connection: Connection,
    user: str,
    deadline: Deadline,
    *,
    key: paramiko.PKey | None = None,
    password: str = "",
) -> bool:
    import paramiko

    transport = connection.transport
    try:
        if key is not None:
            transport.auth_publickey(user, key)
        else:
            transport.auth_password(user, password)
    except paramiko.AuthenticationException as error:
        # A server that hung up or was slow has refused nothing.
        if "timeout" in str(error).lower() or not transport.is_active():
            raise _no_answer(connection, user, error, deadline) from None
        return False
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _no_answer(connection, user, error, deadline) from None
    return True


def _no_answer(connection: Connection, user: str, error: BaseException, deadline: Deadline) -> Unavailable:
    spec = connection.spec
    late = deadline.expired
    return Unavailable(
        f"{spec.host} port {spec.port} gave no answer to a login as {user}: "
        + ("the deadline passed" if late else str(error) or type(error).__name__),
        cause=Cause.TIMEOUT if late else Cause.LOST,
        transport="ssh",
        hint="sshd hangs up on too many tries (MaxAuthTries) and after LoginGraceTime.",
    )


def _spec(host: str, port: int) -> SshSpec:
    return SshSpec(name=host, host=host, port=port, use_config=False)


@contextlib.contextmanager
def _session(host: str, port: int, deadline: Deadline, *, algorithms: tuple[str, ...] = ()) -> Iterator[Connection]:
    """A connection after its key exchange, not logged in."""
    from harness.transport.ssh.connect import handshake, new_connection

    load_paramiko()
    spec = _spec(host, port)
    connection = new_connection(spec, SocketWire(_tcp_connect(spec, deadline)), LibraryLog(NullEmitter()), below=None)
    forget = deadline.cancellation.on_cancel(connection.wire.close)
    try:
        handshake(connection, deadline, algorithms=algorithms)
        with connection.wire.bounded(deadline):
            yield connection
    except BaseException:
        _raise_if_cancelled(deadline)
        raise
    finally:
        forget()
        connection.close()


def _raise_if_cancelled(deadline: Deadline) -> None:
    """Raises Cancelled when that is why a connection broke."""
    if deadline.cancellation.cancelled:
        deadline.check("looking at an SSH server")


def _host_key(host: str, port: int, algorithm: str, deadline: Deadline) -> HostKey | None:
    import paramiko

    if algorithm not in paramiko.Transport._key_info:  # type: ignore[attr-defined]
        return None
    if algorithm.endswith("-cert-v01@openssh.com"):
        return None
    with _session(host, port, deadline, algorithms=(algorithm,)) as connection:
        return HostKey.from_blob(connection.transport.get_remote_server_key().asbytes())


_SHOWN = 200
"""Bytes of what a server sent that an error's message quotes; `seen` has more."""
_CONTACT = {
    (Cause.BANNER, False, False): Contact.CLOSED,
    (Cause.BANNER, True, False): Contact.CLOSED_AFTER_TEXT,
    (Cause.BANNER, False, True): Contact.SILENT,
    (Cause.BANNER, True, True): Contact.NOT_SSH,
}
"""How far a connection came: by what was waited for, whether anything was received, and whether the time ran out."""


class _Stream:
    """A server's bytes before any encryption."""

    def __init__(self, sock: socket.socket, where: str, deadline: Deadline) -> None:
        self._sock = sock
        self._where = where
        self._deadline = deadline
        self._data = b""

    def failure(self, what: str, cause: Cause, contact: Contact | None = None) -> Unavailable:
        """Return the error that says what the server did, with what it sent."""
        return Unavailable(
            f"{self._where} {what}",
            cause=cause,
            transport="ssh",
            seen=self._data[:2048],
            contact=contact,
            hint="An open port alone proves nothing: sshd may still be starting, or be at its MaxStartups.",
        )

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(data)

    def banner(self) -> Banner:
        while True:
            try:
                banner = parse_banner(self._data)
            except ValueError as error:
                raise self.failure(f"is no SSH server: {error}", Cause.BANNER) from None
            if banner is not None:
                end = 0
                for _ in range(len(banner.preamble) + 1):
                    end = self._data.index(b"\n", end) + 1
                self._data = self._data[end:]
                return banner
            if len(self._data) > _MOST_BANNER:
                raise self.failure("is no SSH server: it talks, but names no protocol", Cause.BANNER)
            self._more("an SSH banner", Cause.BANNER)

    def packet(self) -> bytes:
        """The next unencrypted packet's payload (RFC 4253, 6)."""
        while len(self._data) < 5 or len(self._data) < 4 + int.from_bytes(self._data[:4], "big"):
            if len(self._data) >= 4 and int.from_bytes(self._data[:4], "big") > _MOST_PACKET:
                raise self.failure("sent a malformed packet", Cause.KEX)
            self._more("an offer of algorithms", Cause.KEX)
        size, padding = int.from_bytes(self._data[:4], "big"), self._data[4]
        payload, self._data = self._data[5 : 4 + size - padding], self._data[4 + size :]
        return payload

    def _more(self, wanted: str, cause: Cause) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while True:
            _raise_if_cancelled(self._deadline)
            if self._deadline.expired:
                contact = _CONTACT.get((cause, bool(self._data), True))
                raise self.failure(
                    f"took the connection, but sent no {wanted.partition(' ')[2]} in time{self._sent()}", cause, contact
                )
            if poll.poll(min(50.0, self._deadline.remaining() * 1000)):
                break
        try:
            data = self._sock.recv(65536)
        except OSError as error:
            what = "reset the connection" if error.errno == errno.ECONNRESET else "broke the connection"
            contact = _CONTACT.get((cause, bool(self._data), False))
            raise self.failure(
                f"{what} instead of sending {wanted} ({os.strerror(error.errno or 0)}){self._sent()}",
                cause,
                Contact.RESET if contact is Contact.CLOSED else contact,
            ) from None
        if not data:
            contact = _CONTACT.get((cause, bool(self._data), False))
            raise self.failure(f"closed the connection instead of sending {wanted}{self._sent()}", cause, contact)
        self._data += data

    def _sent(self) -> str:
        """Return the text that the server sent instead, for a message."""
        text = self._data[:_SHOWN].decode("utf-8", "backslashreplace").strip()
        return f"; it sent {text!r}" if text else ""


@contextlib.contextmanager
def _stream(host: str, port: int, deadline: Deadline) -> Iterator[_Stream]:
    sock = _tcp_connect(_spec(host, port), deadline)
    try:
        yield _Stream(sock, f"{host} port {port}", deadline)
    finally:
        sock.close()
