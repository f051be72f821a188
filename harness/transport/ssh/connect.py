"""From a spec to an authenticated SSH connection, every step bounded by one deadline and every failure
classified.
"""

from __future__ import annotations

import random
import shlex
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.events.emitter import Emitter
from harness.printing import typed_path
from harness.shortage import raise_shortage
from harness.transport.errors import Cause, Contact, Unavailable
from harness.transport.ssh import config as ssh_config
from harness.transport.ssh.certificates import SUFFIX
from harness.transport.ssh.connection import Connection, LibraryLog
from harness.transport.ssh.hostcheck import UnknownHostKeyError, check_host_key, known_keys
from harness.transport.ssh.hostkeys import HostKey
from harness.transport.ssh.keyring import Keyring, LockedKeyError
from harness.transport.ssh.library import load_paramiko
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.wire import ChannelWire, ProxyProcess, SocketWire, Wire, tcp_connect

_FULL = b"Exceeded MaxStartups"
"""What sshd says instead of its banner to a connection too many (sshd_config(5), MaxStartups; OpenSSH
8.2 and later).
"""

_FULL_RETRIES = 12
_SILENT_RETRIES = 1
"""For a server that hangs up without a word: an older sshd at its MaxStartups, or a forwarded port with
nobody behind it yet.
"""

_PASSING = (Cause.REFUSED, Cause.TIMEOUT, Cause.UNRESOLVED, Cause.BANNER, Cause.KEX)
"""What may be otherwise a moment later, where `ansible_ssh_retries` asks for more tries."""

_RETRY_PAUSE = 0.1
_HUNG_UP = b"(it hung up)"


def connect(
    spec: SshSpec,
    *,
    deadline: Deadline,
    events: Emitter,
    keyring: Keyring,
    pinned: tuple[HostKey, ...] = (),
    hops: int = 0,
) -> Connection:
    """Connects and logs in.

    Raises Unavailable with its cause, :class:`UnknownHostKeyError`, Cancelled, UsageError. A server that has no
    room for one more login (MaxStartups) is asked again, with pauses that grow: that is a bound and no fault. For a
    passphrase the person is waited for until `deadline`, with no connection open meanwhile.
    """
    load_paramiko()
    bound = deadline.clamp(spec.connect_timeout)
    attempt = again = 0
    while True:
        try:
            return _connect_once(spec, bound, events, keyring, pinned, hops)
        except LockedKeyError as locked:
            _ask_passphrase(spec, locked.path, keyring, events, deadline)
            bound = deadline.clamp(spec.connect_timeout)
        except Unavailable as error:
            attempt += 1
            full, silent = error.seen.startswith(_FULL), error.seen == _HUNG_UP
            pause = _RETRY_PAUSE * min(16, 2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            most = _FULL_RETRIES if full else _SILENT_RETRIES if silent else 0
            if error.cause is Cause.BANNER and attempt <= most and pause < bound.remaining():
                bound.sleep(pause)
            elif error.cause in _PASSING and again < spec.retries and pause < deadline.remaining():
                again, attempt = again + 1, 0
                deadline.sleep(pause)
                bound = deadline.clamp(spec.connect_timeout)
            else:
                raise


def _ask_passphrase(spec: SshSpec, path: Path, keyring: Keyring, events: Emitter, deadline: Deadline) -> None:
    try:
        keyring.ask(path, events=events, deadline=deadline)
    except DeadlineExpired:
        raise Unavailable(
            f"{spec.name}: the key {path} is under a passphrase, which was not given at the terminal in time",
            cause=Cause.AUTH,
            transport="ssh",
            hint=f"The question stands. Else run `ssh-add {shlex.quote(typed_path(path))}`, "
            "or set ansible_ssh_private_key_passphrase.",
        ) from None


def _connect_once(
    spec: SshSpec, deadline: Deadline, events: Emitter, keyring: Keyring, pinned: tuple[HostKey, ...], hops: int
) -> Connection:
    below: Connection | None = None
    wire: Wire
    ssh_config.check_names(spec)
    hosts = ssh_config.jumps(spec)
    if hosts:
        ssh_config.check_jumps(spec, hops + len(hosts))
        below, wire = _through(spec, hosts, deadline, events, keyring, hops)
    elif spec.proxy_command:
        command = ssh_config.expand_tokens(spec.proxy_command, spec)
        process = ProxyProcess(command)
        wire = SocketWire(process.sock, process)
    else:
        wire = SocketWire(tcp_connect(spec, deadline))
    connection = new_connection(spec, wire, LibraryLog(events), below)
    forget: Callable[[], None] | None = None
    try:
        forget = deadline.cancellation.on_cancel(wire.close)
        known = known_keys(spec, pinned)
        key = handshake(connection, deadline, types=known.types, certified=bool(known.authorities))
        if not check_host_key(spec, key, connection.certificate, known, events):
            connection.spec = spec.without_passwords()
        from harness.transport.ssh.auth import authenticate

        authenticate(connection, keyring, deadline)
    except BaseException:
        connection.close()
        if deadline.cancellation.cancelled:
            raise Cancelled(deadline.cancellation.reason) from None
        raise
    finally:
        if forget is not None:
            forget()
    wire.relax()
    return connection


def new_connection(spec: SshSpec, wire: Wire, log: LibraryLog, below: Connection | None) -> Connection:
    """A connection over `wire` on which nothing was said yet; it owns the wire and the connection
    `below` it.
    """
    from harness.transport.ssh.client import Client

    try:
        # Anything with send, recv, close and settimeout will do, says its documentation; its types do not.
        transport = Client(cast(socket.socket, wire))
    except BaseException:
        wire.dispose()
        if below is not None:
            below.close()
        raise
    transport.logger = log
    transport.packetizer.set_log(log)
    return Connection(transport, wire, spec, log, below)


def _through(
    spec: SshSpec, hosts: tuple[SshSpec, ...], deadline: Deadline, events: Emitter, keyring: Keyring, hops: int
) -> tuple[Connection, Wire]:
    """A connection to the last jump host, and a stream through it to the target."""
    import paramiko

    *before, last = hosts
    last = ssh_config.replace_jump(ssh_config.resolve(last, deadline=deadline), before)
    try:
        hop_events = events.bind(jump_host=last.name)
        below = connect(last, deadline=deadline, events=hop_events, keyring=keyring, hops=hops + 1)
    except UnknownHostKeyError as error:
        raise error.error from None
    try:
        channel = below.transport.open_channel(
            "direct-tcpip", (spec.host, spec.port), ("127.0.0.1", 0), timeout=max(0.05, deadline.remaining())
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        below.close()
        raise_shortage(error)
        hop = f"{last.login}@{last.host}:{last.port}"
        raise Unavailable(
            f"{spec.name}: the jump host {last.address} gives no way to {spec.host} port {spec.port}: {error}",
            cause=Cause.REFUSED,
            transport="ssh",
            hint=f"Try `ssh -J {shlex.quote(hop)} {shlex.quote(spec.host)}`; does its sshd allow forwarding?",
        ) from None
    channel.logger = LibraryLog(events)
    return below, ChannelWire(channel)


def handshake(
    connection: Connection,
    deadline: Deadline,
    *,
    types: tuple[str, ...] = (),
    certified: bool = False,
    algorithms: tuple[str, ...] = (),
) -> HostKey:
    """Banner and key exchange; the key that the server proved to hold.

    Host keys of the `types` are asked for first, before them certificates if `certified`; with `algorithms`, only
    those. Raises Unavailable (banner, kex).
    """
    import paramiko

    transport, spec = connection.transport, connection.spec
    transport.banner_timeout = transport.handshake_timeout = max(0.1, deadline.remaining())
    transport.auth_timeout = transport.channel_timeout = max(0.1, deadline.remaining())
    options = transport.get_security_options()
    # Authenticated encryption first: paramiko compares a separate MAC byte by byte in Python.
    options.ciphers = tuple(sorted(options.ciphers, key=lambda name: "gcm" not in name))
    options.key_types = algorithms or _ordered(tuple(options.key_types), types, certified)
    done = threading.Event()
    with connection.wire.bounded(deadline):
        transport.start_client(event=done)
        done.wait(deadline.remaining())
    if done.is_set() and transport.is_active():
        shown = transport.get_remote_server_key()
        return HostKey.from_blob(shown.asbytes())
    deadline_passed = not done.is_set()
    error = transport.get_exception()
    raise_shortage(error)
    banner = transport.remote_version
    complaint = connection.wire.complaint()
    where = f"{spec.name}: {spec.address}"
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        raise Unavailable(
            f"{where}: no common algorithm with {banner!r}: {error}",
            cause=Cause.KEX,
            transport="ssh",
            seen=banner.encode(),
            hint="paramiko 5 speaks no SHA-1 key exchange and no ssh-rsa signatures, as old boards need. "
            "Use the serial console (transport=serial), or update the machine's sshd.",
        )
    if not banner:
        closed = not deadline_passed
        if closed and _is_reset(error):
            contact, what = Contact.RESET, "reset the connection before its banner"
        elif closed:
            contact, what = Contact.CLOSED, "closed the connection before its banner"
        else:
            contact, what = Contact.SILENT, "sent no SSH banner in time"
        if connection.log.preamble:
            contact = Contact.CLOSED_AFTER_TEXT if closed else Contact.NOT_SSH
            what += f"; it said {connection.log.preamble!r}"
        if closed and error is not None and "Indecipherable" in str(error):
            contact, what = Contact.NOT_SSH, f"is no SSH server: {error}"
        raise Unavailable(
            f"{where} {what}" + (f"; the proxy command says: {complaint}" if complaint else ""),
            cause=Cause.BANNER,
            transport="ssh",
            seen=connection.log.preamble.encode() or (_HUNG_UP if closed else b""),
            contact=contact,
            hint="sshd may still be starting, or be at its MaxStartups; an open port alone proves nothing.",
        )
    raise Unavailable(
        f"{where}: the key exchange with {banner!r} "
        + ("did not end in time" if deadline_passed else f"failed: {error or 'the server hung up'}"),
        cause=Cause.KEX,
        transport="ssh",
        seen=banner.encode(),
        hint="A machine short of entropy or CPU may need longer: see ansible_timeout.",
    )


def _is_reset(error: BaseException | None) -> bool:
    """Return whether an error of the library comes from a connection that was reset."""
    while error is not None:
        if isinstance(error, ConnectionResetError) or "Connection reset" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ordered(ours: tuple[str, ...], types: tuple[str, ...], certified: bool) -> tuple[str, ...]:
    """Our signature algorithms, those of known key types first, as ssh does: else the server may show a
    key that we do not know.
    """

    def rank(name: str) -> int:
        kind = "ssh-rsa" if name.startswith("rsa-sha2-") else name
        return types.index(kind) if kind in types else len(types)

    plain = tuple(sorted(ours, key=rank))
    certificates = tuple(name + SUFFIX for name in plain)
    return certificates + plain if certified else plain + certificates
