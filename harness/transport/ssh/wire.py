"""The byte stream under an SSH connection: a socket that is quick, bounded, and knows when it last heard
a thing.

paramiko asks of its `sock` only send, recv, close and settimeout. A stream of our own closes its pitfalls:
no TCP_NODELAY, delayed acknowledgements, two system calls a packet, a wake-up every 0.1 s per connection,
and writes that wait for ever on a stopped peer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.deadline import SYSTEM_CLOCK, Deadline
from harness.errors import DeadlineExpired
from harness.shortage import shortage
from harness.transport.errors import Cause, Contact, Unavailable
from harness.transport.ssh.names import look_up

if TYPE_CHECKING:
    from paramiko import Channel

    from harness.transport.ssh.spec import SshSpec

_CHUNK = 65536
_BUSY_POLL = 0.1
_IDLE_POLL = 5.0
"""paramiko looks at its own flags only when a read times out (its handshake's bound, a key exchange of
our own making).
"""


class SocketWire:
    """A connected socket, as paramiko wants one. `heard` is the monotonic time at which bytes last came
    in.
    """

    def __init__(self, sock: socket.socket, process: ProxyProcess | None = None) -> None:
        self._sock = sock
        self._process = process
        self._pending = memoryview(b"")
        self._poll = _BUSY_POLL
        self._shut = False
        self._reader = select.poll()
        self._reader.register(sock, select.POLLIN)
        self._quick = getattr(socket, "TCP_QUICKACK", None) if sock.family != socket.AF_UNIX else None
        self._bounds = threading.local()
        self.heard = SYSTEM_CLOCK.monotonic()
        sock.setblocking(False)

    @property
    def _closed(self) -> bool:
        return self._shut

    def settimeout(self, seconds: float | None) -> None:
        """paramiko's own wish; we keep to ours."""
        del seconds

    def relax(self) -> None:
        """The handshake is over: wake the reading thread only when bytes come."""
        self._poll = _IDLE_POLL

    @contextlib.contextmanager
    def bounded(self, deadline: Deadline) -> Iterator[None]:
        """Writes of this thread end at `deadline`; a write that was cut short makes the connection
        useless.
        """
        before = getattr(self._bounds, "deadline", None)
        self._bounds.deadline = deadline
        try:
            yield
        finally:
            self._bounds.deadline = before

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end of the stream. Raises TimeoutError when nothing came for
        a while.
        """
        if self._pending:
            data = bytes(self._pending[:size])
            self._pending = self._pending[size:]
            return data
        if self._shut:
            return b""
        if self._quick is not None:
            # It does not stick: the kernel drops back to delayed acknowledgements, 40 ms each.
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, self._quick, 1)
        if not self._reader.poll(self._poll * 1000):
            raise TimeoutError("no bytes yet")
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            raise TimeoutError("no bytes yet") from None
        except OSError:
            if self._shut:
                return b""
            raise
        self.heard = SYSTEM_CLOCK.monotonic()
        if len(data) > size:
            self._pending = memoryview(data)[size:]
            return data[:size]
        return data

    def send(self, data: bytes) -> int:
        """Sends some of `data`. Raises TimeoutError to be asked again, BrokenPipeError when this
        thread's bound passed.
        """
        try:
            return self._sock.send(data)
        except BlockingIOError:
            pass
        deadline: Deadline | None = getattr(self._bounds, "deadline", None)
        if deadline is not None and (deadline.expired or deadline.cancellation.cancelled):
            raise BrokenPipeError("the peer took no bytes until the deadline")
        writer = select.poll()
        writer.register(self._sock, select.POLLOUT)
        writer.poll(_BUSY_POLL * 1000)
        raise TimeoutError("the peer takes no bytes")

    def close(self) -> None:
        """Ends both directions and wakes the reader. The descriptor is kept until :meth:`dispose`: it
        may be polled on.
        """
        if not self._shut:
            self._shut = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Gives the descriptor back; only once the reading thread has ended."""
        self.close()
        self._sock.close()
        if self._process is not None:
            self._process.end()

    def complaint(self) -> str:
        """What the proxy command wrote to stderr, if there is one."""
        return self._process.complaint() if self._process else ""


class ChannelWire:
    """A `direct-tcpip` channel of a jump host's connection, as paramiko wants a socket."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._shut = False
        self.heard = SYSTEM_CLOCK.monotonic()
        channel.settimeout(_BUSY_POLL)

    @property
    def _closed(self) -> bool:
        return self._shut

    def settimeout(self, seconds: float | None) -> None:
        del seconds

    def relax(self) -> None:
        self._channel.settimeout(_IDLE_POLL)

    @contextlib.contextmanager
    def bounded(self, deadline: Deadline) -> Iterator[None]:
        """The jump host's own wire bounds the writes."""
        del deadline
        yield

    def recv(self, size: int) -> bytes:
        data = self._channel.recv(size)
        self.heard = SYSTEM_CLOCK.monotonic()
        return data

    def send(self, data: bytes) -> int:
        return self._channel.send(data)

    def close(self) -> None:
        if not self._shut:
            self._shut = True
            self._channel.close()

    def dispose(self) -> None:
        self.close()

    def complaint(self) -> str:
        return ""


Wire = SocketWire | ChannelWire


class ProxyProcess:
    """A ProxyCommand's process, on a socket pair: a real descriptor, so that waits on it are bounded
    like any other.
    """

    def __init__(self, command: str) -> None:
        ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self.sock = ours
        try:
            # ssh_config(5): "executed using the user's shell exec directive to avoid a lingering shell
            # process".
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError:
            ours.close()
            self._errors.close()
            raise
        finally:
            theirs.close()
        self._text = ""

    def complaint(self) -> str:
        if not self._errors.closed:
            self._errors.seek(0)
            self._text = self._errors.read(2000).decode("utf-8", "backslashreplace").strip()
        return self._text

    def end(self) -> None:
        """Ends and reaps the process."""
        self.complaint()
        self._process.terminate()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def tune(sock: socket.socket, *, dead_after: float) -> None:
    """No Nagle delay; unacknowledged bytes end the connection after `dead_after` seconds (tcp(7),
    TCP_USER_TIMEOUT).
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(dead_after * 1000)))


def tcp_connect(spec: SshSpec, deadline: Deadline) -> socket.socket:
    """A TCP connection to the spec's address, tried over all addresses that its name has.

    Raises Unavailable (refused, timeout, unresolved) or Cancelled.
    """
    family = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}[spec.address_family]
    try:
        addresses = look_up(spec.host, spec.port, family, deadline)
    except DeadlineExpired as error:
        raise Unavailable(
            f"{spec.name}: {error.message}",
            cause=Cause.UNRESOLVED,
            transport="ssh",
            hint="The name servers do not answer. Set ansible_host to an address, or mend the name service.",
        ) from None
    except (OSError, UnicodeError) as error:
        if shortage(error):
            raise
        raise Unavailable(
            f"{spec.name}: the name {spec.host!r} has no address: {error}",
            cause=Cause.UNRESOLVED,
            transport="ssh",
            hint="Set ansible_host to an address, or mend the name service.",
        ) from None
    failures: list[tuple[str, Cause, Contact]] = []
    for index, (kind, _, _, _, place) in enumerate(addresses):
        share = deadline.remaining() / (len(addresses) - index)
        sock = socket.socket(kind, socket.SOCK_STREAM)
        try:
            _connect_one(sock, place, deadline.clamp(share))
        except OSError as error:
            sock.close()
            if shortage(error):
                raise  # that is our own: the address may be well
            cause = Cause.TIMEOUT if isinstance(error, TimeoutError) else Cause.REFUSED
            failures.append((_failure(place, error), cause, _contact(error)))
        except BaseException:
            sock.close()
            raise
        else:
            tune(sock, dead_after=spec.alive_interval + spec.alive_bound)
            return sock
        if deadline.expired:
            break
    cause = Cause.REFUSED if any(cause is Cause.REFUSED for _, cause, _ in failures) else Cause.TIMEOUT
    raise Unavailable(
        f"{spec.name}: no TCP connection to {spec.address}: " + "; ".join(text for text, _, _ in failures),
        cause=cause,
        transport="ssh",
        contact=min((contact for _, _, contact in failures), key=_TELLS_MOST.index, default=Contact.TIMED_OUT),
        hint="Is the machine up, is sshd running, is the port right?"
        if cause is Cause.REFUSED
        else "Nothing answers at that address: is the machine up and its network reachable?",
    )


_TELLS_MOST = (Contact.RESET, Contact.REFUSED, Contact.TIMED_OUT, Contact.NO_ROUTE)
"""Of several addresses of one name, the result that says most about the machine comes first."""
_NO_ROUTE = frozenset(
    (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EACCES, errno.EPERM)
)


def _contact(error: OSError) -> Contact:
    """Return how far a connection came that failed with `error` (connect(2), tcp(7))."""
    if error.errno == errno.ECONNRESET:
        return Contact.RESET
    if error.errno in _NO_ROUTE:
        return Contact.NO_ROUTE
    return Contact.TIMED_OUT if isinstance(error, TimeoutError) else Contact.REFUSED


def _failure(place: tuple[object, ...], error: OSError) -> str:
    return f"{place[0]} port {place[1]}: {error.strerror or error}"


def _connect_one(sock: socket.socket, place: tuple[object, ...], deadline: Deadline) -> None:
    sock.setblocking(False)
    try:
        sock.connect(place)
        return
    except BlockingIOError:
        pass
    waker, wakee = socket.socketpair()
    forget = deadline.cancellation.on_cancel(lambda: _poke(waker))
    try:
        waiter = select.poll()
        waiter.register(sock, select.POLLOUT)
        waiter.register(wakee, select.POLLIN)
        ready = waiter.poll(deadline.remaining() * 1000)
        try:
            deadline.check(f"connecting to {place[0]}")
        except DeadlineExpired:
            ready = []
        if not ready:
            raise TimeoutError("no answer in time")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    finally:
        forget()
        waker.close()
        wakee.close()


def _poke(waker: socket.socket) -> None:
    with contextlib.suppress(OSError):
        waker.send(b"!")
