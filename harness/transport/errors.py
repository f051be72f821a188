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


class TransportError(HarnessError):
    """Base of the transport errors.

    `cause` classifies it, `transport` names which one it was, `seen` is the last that was read (at most a few
    kilobytes, as it came), and `may_have_run` tells whether the command may have been executed on the target.
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
    ) -> None:
        super().__init__(message, hint=hint)
        self.damage = Damage()
        """What was mended before the call failed; the link sets it."""
        self.cause = cause
        self.transport = transport
        self.seen = seen
        self.may_have_run = may_have_run


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
