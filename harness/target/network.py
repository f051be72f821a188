"""The target's sshd as seen from outside, without logging in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.deadline import Deadline
from harness.events import Emitter

if TYPE_CHECKING:
    import paramiko

    from harness.transport.contract import CommandResult
    from harness.transport.ssh.keyring import Keyring
    from harness.transport.ssh.probe import Banner, HostKey, KexInit
    from harness.transport.ssh.spec import SshSpec


FIRST_WORDS, FIRST_WORDS_SHARE = 5.0, 0.6
"""How long a server has to identify itself: so many seconds, or that part of the time that is left, where it is more. A
healthy sshd under load takes its time."""


@dataclass(frozen=True, slots=True)
class FirstWords:
    """A server's identification line, and the seconds until the connection was accepted, and from then until it
    came."""

    banner: str
    accepted: float
    greeted: float


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    """Where sshd should answer. Each method makes connections of its own and raises
    :class:`~harness.transport.errors.Unavailable` with a classified cause when the endpoint does not serve."""

    spec: SshSpec
    deadline: Deadline
    events: Emitter
    keyring: Keyring | None = None
    inner_port: int | None = None
    """The port on the target's own side, where it is known to be another one (a forwarded port)."""

    @property
    def host(self) -> str:
        return self.spec.host

    @property
    def port(self) -> int:
        return self.spec.port

    @property
    def user(self) -> str:
        """Whom the inventory logs in as."""
        return self.spec.login

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self) -> FirstWords:
        """Open one connection, wait until the server identifies itself, and return the times that this took.

        A forwarded port accepts connections for a machine where nobody listens, so an accepted connection alone proves
        nothing. Raises Unavailable whose `contact` says how far it came (refused, no route, timed out, reset, silent,
        closed, closed after text) and whose `seen` is what was received.
        """
        from harness.transport.ssh import probe as ssh_probe

        # What is left is for asking the machine itself why.
        bound = self.deadline.clamp(max(FIRST_WORDS, FIRST_WORDS_SHARE * self.deadline.remaining()))
        banner, accepted, greeted = ssh_probe.first_words(self.host, self.port, bound)
        return FirstWords(banner.raw, accepted, greeted)

    def banner(self) -> Banner:
        """The identification string that the server sends (RFC 4253, section 4.2)."""
        from harness.transport.ssh import probe as ssh_probe

        return ssh_probe.read_banner(self.host, self.port, self.deadline)

    def kexinit(self) -> KexInit:
        """The algorithms that the server offers (RFC 4253, section 7.1)."""
        from harness.transport.ssh import probe as ssh_probe

        return ssh_probe.read_kexinit(self.host, self.port, self.deadline)

    def host_keys(self) -> Mapping[str, HostKey]:
        """The server's host keys by type, each proved in a key exchange."""
        from harness.transport.ssh import probe as ssh_probe

        return ssh_probe.host_keys(self.host, self.port, self.deadline)

    def auth_methods(self) -> tuple[str, ...]:
        """The authentication methods that the server offers to the user."""
        from harness.transport.ssh import probe as ssh_probe

        return tuple(ssh_probe.auth_methods(self.host, self.port, self.user, self.deadline))

    def log_in(self, command: str) -> CommandResult:
        """Runs a command over a connection made for it alone, with the inventory's credentials.

        Raises :class:`~harness.transport.errors.Unavailable` where the login is refused, and the other typed errors.
        """
        from harness.transport.ssh.transport import SshTransport

        transport = SshTransport(self.spec, events=self.events, keyring=self.keyring)
        try:
            return transport.run(command, deadline=self.deadline)
        finally:
            transport.close()

    def accepts_key(self, key: paramiko.PKey) -> bool:
        """Whether a login with this key succeeds."""
        from harness.transport.ssh import probe as ssh_probe

        return ssh_probe.try_key(self.host, self.port, self.user, key, self.deadline)

    def accepts_password(self, password: str) -> bool:
        """Whether a login with this password succeeds."""
        from harness.transport.ssh import probe as ssh_probe

        return ssh_probe.try_password(self.host, self.port, self.user, password, self.deadline)
