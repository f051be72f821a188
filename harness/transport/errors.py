"""What can go wrong between a command and its answer. Each error is typed; none is an exit status.

The link leaves a transport on :class:`TransportLost` and :class:`Unavailable` only. A :class:`Timeout` is
the command's own (the transport answered, the command did not end); it is not cured by another transport.
"""

from __future__ import annotations

from enum import StrEnum

from harness.errors import ExitCode, HarnessError
from harness.transport.contract import Damage


class Cause(StrEnum):
    """Why a transport could not serve; the closed list that events and reports use."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNRESOLVED = "unresolved"
    BANNER = "banner"
    KEX = "kex"
    AUTH = "auth"
    HOST_KEY = "host_key"
    LOST = "lost"
    REBOOT = "reboot"
    PANIC = "panic"
    EOF = "eof"
    BUSY = "busy"
    DAMAGED = "damaged"
    NO_SHELL = "no_shell"
    LOGIN = "login"
    PASSWORD_EXPIRED = "password_expired"  # noqa: S105 - the name of a cause
    BECOME = "become"
    CONFIG = "config"


class Contact(StrEnum):
    """How far an attempt to use a transport came: what was heard, and not what it may mean."""

    ANSWERED = "answered"
    """A command was answered."""
    UNRESOLVED = "unresolved"
    """The name has no address."""
    NO_ROUTE = "no_route"
    """The network said that the address cannot be reached (ICMP, or this machine's own routes)."""
    TIMED_OUT = "timed_out"
    """Nothing answered the request for a TCP connection."""
    REFUSED = "refused"
    """The connection was refused (TCP RST to a SYN), or the console's socket does not exist."""
    RESET = "reset"
    """The connection was accepted, and reset before the server identified itself."""
    SILENT = "silent"
    """The connection was accepted, and stayed open without a byte."""
    CLOSED = "closed"
    """The connection was accepted, and closed without a byte."""
    CLOSED_AFTER_TEXT = "closed_after_text"
    """The connection was accepted, and closed after text that is no SSH identification."""
    NOT_SSH = "not_ssh"
    """What was received is no SSH identification."""
    KEX = "kex"
    """The server identified itself; the key exchange failed."""
    HOST_KEY = "host_key"
    """The server proved a host key that is not the expected one."""
    HOST_KEY_UNKNOWN = "host_key_unknown"
    """The server proved a host key, and none is known for it."""
    LOGIN_REFUSED = "login_refused"
    """The server refused the credentials, or the console's login did."""
    LOGIN_TIMED_OUT = "login_timed_out"
    """The login was neither accepted nor refused in time."""
    NO_SHELL = "no_shell"
    """The login was accepted, or the console opened, and no shell answers."""
    PANIC = "panic"
    """The kernel has panicked."""
    IN_USE = "in_use"
    """Somebody else uses the console, or the server has no channel left."""
    LOST = "lost"
    """An open connection went away."""
    MISCONFIGURED = "misconfigured"
    """What the inventory says of this transport cannot work."""
    NOT_TRIED = "not_tried"
    """The harness did not use this transport."""


class TransportError(HarnessError):
    """Base of the transport errors.

    `cause` classifies it, `transport` names which one it was, `seen` is the last that was read (at most a few
    kilobytes, as it came), and `may_have_run` tells whether the command may have been executed on the target.
    `contact` says how far the attempt came; where the caller does not give it, it follows from the cause.
    """

    exit_code = ExitCode.UNREACHABLE

    def __init__(
        self,
        message: str,
        *,
        cause: Cause,
        transport: str,
        seen: bytes = b"",
        may_have_run: bool = False,
        hint: str = "",
        contact: Contact | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.damage = Damage()
        """What was mended before the call failed; the link sets it."""
        self.contact = contact or _CONTACT_OF[cause]
        self.cause = cause
        self.transport = transport
        self.seen = seen
        self.may_have_run = may_have_run


_CONTACT_OF = {
    Cause.REFUSED: Contact.REFUSED,
    Cause.TIMEOUT: Contact.TIMED_OUT,
    Cause.UNRESOLVED: Contact.UNRESOLVED,
    Cause.BANNER: Contact.NOT_SSH,
    Cause.KEX: Contact.KEX,
    Cause.AUTH: Contact.LOGIN_REFUSED,
    Cause.HOST_KEY: Contact.HOST_KEY,
    Cause.LOST: Contact.LOST,
    Cause.REBOOT: Contact.LOST,
    Cause.PANIC: Contact.PANIC,
    Cause.EOF: Contact.LOST,
    Cause.BUSY: Contact.IN_USE,
    Cause.DAMAGED: Contact.LOST,
    Cause.NO_SHELL: Contact.NO_SHELL,
    Cause.LOGIN: Contact.LOGIN_REFUSED,
    Cause.PASSWORD_EXPIRED: Contact.LOGIN_REFUSED,
    Cause.BECOME: Contact.NO_SHELL,
    Cause.CONFIG: Contact.MISCONFIGURED,
}


class Unavailable(TransportError):
    """The transport could not be opened: refused, no banner, authentication, no login on the console, busy."""


class TransportLost(TransportError):
    """An open transport went away under a command: dead peer, reset, reboot, panic."""


class Eof(TransportLost):
    """The other end closed the stream."""


class Damaged(TransportLost):
    """No undamaged answer could be had, after all re-reads; the transport is of no use for this command."""


class Timeout(TransportError):
    """The deadline passed while the command ran. It was ended on the target; `stdout`/`stderr` hold what it wrote
    so far."""

    def __init__(
        self,
        message: str,
        *,
        transport: str,
        stdout: bytes = b"",
        stderr: bytes = b"",
        seen: bytes = b"",
        hint: str = "",
    ) -> None:
        super().__init__(message, cause=Cause.TIMEOUT, transport=transport, seen=seen, may_have_run=True, hint=hint)
        self.stdout = stdout
        self.stderr = stderr
