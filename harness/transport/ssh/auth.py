"""Logging in: keys, certificates, the agent, passwords; each attempt bounded, each refusal kept for the
error.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from harness.deadline import Deadline
from harness.printing import typed_path
from harness.shortage import raise_shortage
from harness.transport.errors import Cause, Contact, Unavailable
from harness.transport.ssh.keyring import Keyring, LockedKeyError, UnusableKeyError, WrongPassphraseError
from harness.user import expanded, home

if TYPE_CHECKING:
    import paramiko

    from harness.transport.ssh.connection import Connection
    from harness.transport.ssh.spec import SshSpec

_LONGEST_BANNER = 2048
"""Bytes kept of what the server says beside its refusal (SSH_MSG_USERAUTH_BANNER), PAM's messages among it."""
_AGENT_PATIENCE = 10.0
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way in: what to call it, which method it is, and how to try it. `go` returns the methods still
    asked for.
    """

    label: str
    method: str
    go: Callable[[paramiko.Transport], list[str]]


def authenticate(connection: Connection, keyring: Keyring, deadline: Deadline) -> None:
    """Logs in. Raises Unavailable(cause=AUTH) that says what was tried and what the server would take, and
    LockedKeyError when the person must be asked for a passphrase first.
    """
    import paramiko

    transport, spec = connection.transport, connection.spec
    tried: list[str] = []
    allowed: tuple[str, ...] = ()
    problems: list[str] = []
    with connection.wire.bounded(deadline), contextlib.closing(_Agent(spec, deadline)) as agent:
        for attempt in attempts(spec, problems, agent.keys, keyring):
            if allowed and attempt.method not in allowed and "keyboard-interactive" not in allowed:
                continue
            transport.auth_timeout = max(0.1, deadline.remaining())
            try:
                more = attempt.go(transport)
            except paramiko.BadAuthenticationType as error:
                allowed = tuple(error.allowed_types)
                tried.append(f"{attempt.label} (not allowed)")
            except paramiko.AuthenticationException as error:
                tried.append(f"{attempt.label} ({_short(error)})")
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise_shortage(error)
                tried.append(f"{attempt.label} ({_short(error)})")
                if not transport.is_active():
                    break
            else:
                if transport.is_authenticated():
                    return
                allowed = tuple(more)
                tried.append(f"{attempt.label} (accepted, but {', '.join(more)} is wanted as well)")
            if not transport.is_active() or deadline.expired:
                break
        if not allowed and transport.is_active() and not deadline.expired:
            allowed = _ask_methods(transport, spec.login, deadline)
    # paramiko's own get_banner() has none once the server has hung up, and then it is wanted most.
    banner = bytes(getattr(transport.auth_handler, "banner", None) or b"")[:_LONGEST_BANNER]
    said = banner.decode("utf-8", "backslashreplace").strip()
    timed_out = deadline.expired or (bool(tried) and tried[-1].endswith("(Authentication timeout.)"))
    raise Unavailable(
        f"{spec.name}: {spec.address} "
        + ("neither accepted nor refused the login in time. " if timed_out else "refused the login. ")
        + f"Tried: {', '.join(tried) or 'nothing, there is no key and no password'}."
        + (f" It takes: {', '.join(allowed)}." if allowed else "")
        + (f" It said {said!r}." if said else "")
        + (" The server hung up." if not transport.is_active() else "")
        + "".join(f" {problem}." for problem in problems),
        cause=Cause.AUTH,
        transport="ssh",
        seen=banner,
        contact=Contact.LOGIN_TIMED_OUT if timed_out else Contact.LOGIN_REFUSED,
        hint=f"Try `ssh -v -p {spec.port} {shlex.quote(f'{spec.login}@{spec.host}')}`; "
        "ansible_user, ansible_ssh_private_key_file, ansible_password and the agent decide how we log in.",
    )


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return {"Authentication failed.": "refused"}.get(text, text)


def _ask_methods(transport: paramiko.Transport, user: str, deadline: Deadline) -> tuple[str, ...]:
    import paramiko

    transport.auth_timeout = max(0.1, min(5.0, deadline.remaining()))
    try:
        transport.auth_none(user)
    except paramiko.BadAuthenticationType as error:
        return tuple(error.allowed_types)
    except (paramiko.SSHException, EOFError, OSError):
        return ()
    return ()


def attempts(
    spec: SshSpec, problems: list[str], agent_keys: list[paramiko.AgentKey], keyring: Keyring
) -> Iterator[Attempt]:
    """The ways in, in order: the keys that were named, the password that was given, the agent, the
    user's own keys.

    What was given for this host comes first, since a server hangs up after a few refusals
    (MaxAuthTries). Keys that cannot be
    used are described in `problems`.
    """

    def by_key(label: str, key: paramiko.PKey) -> Attempt:
        return Attempt(label, "publickey", lambda transport: list(transport.auth_publickey(spec.login, key)))

    used: set[bytes] = set()
    if spec.key is not None:
        yield by_key("the key given", parse_key(spec, spec.key))
    for name in spec.key_files:
        key = _load_key(name, spec, problems, agent_keys, keyring)
        if key is not None:
            used.add(key.asbytes())
            yield by_key(f"key {name}", key)
    if spec.password is not None:
        password = spec.password
        yield Attempt("password", "password", lambda transport: list(transport.auth_password(spec.login, password)))
    if spec.use_agent:
        for agent_key in agent_keys:
            if agent_key.asbytes() not in used:
                used.add(agent_key.asbytes())
                yield by_key(f"agent key {agent_key.comment or agent_key.get_name()}", agent_key)
    if spec.default_keys and not spec.key_files:
        for short in _DEFAULT_KEYS:
            path = home() / ".ssh" / short
            if path.is_file():
                key = _load_key(str(path), spec, problems, agent_keys, keyring)
                if key is not None and key.asbytes() not in used:
                    yield by_key(f"key {path}", key)


class _Agent:
    """The agent's socket for as long as one login takes; signing goes through it. Without an agent it holds no keys."""

    def __init__(self, spec: SshSpec, deadline: Deadline) -> None:
        self._connection: socket.socket | None = None
        self._forget: Callable[[], None] = lambda: None
        self.keys: list[paramiko.AgentKey] = []
        path = spec.agent_socket or os.environ.get("SSH_AUTH_SOCK")
        if path and (spec.use_agent or spec.key_files):
            self._ask(path, deadline)

    def _ask(self, path: str, deadline: Deadline) -> None:
        import paramiko
        from paramiko.agent import AgentSSH

        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._forget = deadline.cancellation.on_cancel(self._hang_up)
        try:
            self._connection.settimeout(max(0.01, min(_AGENT_PATIENCE, deadline.remaining() / 2)))
            self._connection.connect(path)
            agent = AgentSSH()
            agent._connect(self._connection)  # type: ignore[attr-defined]
            self.keys = list(agent.get_keys())
        except (paramiko.SSHException, OSError):
            # ssh, too, goes on without an agent that does not answer.
            self.close()

    def _hang_up(self) -> None:
        if self._connection is not None:
            # Closing alone would not wake a thread that waits for a signature.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._forget()
        self._hang_up()
        if self._connection is not None:
            self._connection.close()


def parse_key(spec: SshSpec, text: str) -> paramiko.PKey:
    """Return the key that a text holds. Raises Unavailable where it holds none, or a passphrase does not open it."""
    import paramiko

    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(StringIO(text), spec.passphrase)
        except (paramiko.SSHException, ValueError, TypeError):
            continue
    raise Unavailable(
        f"{spec.name}: the private key that was given cannot be used",
        cause=Cause.AUTH,
        transport="ssh",
        hint="It must be an ed25519, ecdsa or rsa key, and ansible_ssh_private_key_passphrase must open it.",
    )


def _load_key(
    name: str, spec: SshSpec, problems: list[str], agent_keys: list[paramiko.AgentKey], keyring: Keyring
) -> paramiko.PKey | None:
    """A key file's key, with its certificate. One under a passphrase is taken from the agent, if it has it, or opened
    with what the inventory gives, or else with what the person gives: LockedKeyError says that they are to be asked.
    """
    import paramiko

    path = expanded(name)
    if not path.is_file():
        problems.append(f"The key file {path} is not there")
        return None
    try:
        key = keyring.key(path, None)
    except UnusableKeyError as error:
        problems.append(f"The key file {path} {error}")
        return None
    except LockedKeyError:
        held = _from_agent(path, agent_keys)
        if held is not None:
            return held
        found = _unlock(path, spec, problems, keyring)
        if found is None:
            return None
        key = found
    for certificate in spec.certificate_files:
        try:
            key.load_certificate(certificate)
        except (ValueError, OSError, paramiko.SSHException) as error:
            problems.append(f"The certificate {certificate} does not go with {path}: {error}")
    return key


def _unlock(path: Path, spec: SshSpec, problems: list[str], keyring: Keyring) -> paramiko.PKey | None:
    try:
        return keyring.key(path, spec.passphrase)
    except WrongPassphraseError:
        problems.append(f"The key {path} is under a passphrase, and ansible_ssh_private_key_passphrase is another one")
        return None
    except LockedKeyError:
        refusal = keyring.refusal(path)
        if not refusal:
            raise LockedKeyError(path) from None
    problems.append(
        f"The key {path} is under a passphrase, the agent does not hold it, and {refusal}: "
        f"run `ssh-add {shlex.quote(typed_path(path))}`, or set ansible_ssh_private_key_passphrase"
    )
    return None


def _from_agent(path: Path, agent_keys: list[paramiko.AgentKey]) -> paramiko.PKey | None:
    from harness.transport.ssh.hostkeys import parse_public_keys

    public = Path(f"{path}.pub")
    if public.is_file():
        wanted = {key.blob for key in parse_public_keys(public.read_text("utf-8", "backslashreplace"))}
        for agent_key in agent_keys:
            if agent_key.asbytes() in wanted:
                return agent_key
    return None
