"""What can be known of an SSH connection to be wrong before anything is connected to.

A configuration error does not go away by waiting: it is told before anything is started, with exit code 2, and not as a
target that cannot be reached.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.deadline import Cancellation, Deadline
from harness.errors import DeadlineExpired, UsageError
from harness.shortage import shortage
from harness.transport.errors import Unavailable
from harness.transport.ssh import config as ssh_config
from harness.transport.ssh.auth import parse_key
from harness.transport.ssh.hostcheck import known_keys
from harness.transport.ssh.keyring import LockedKeyError, UnusableKeyError, WrongPassphraseError, open_key
from harness.transport.ssh.library import load_paramiko
from harness.transport.ssh.spec import SshSpec
from harness.user import expanded

_SECONDS = 60.0
"""Within which the ssh configuration tells about one host, whatever its `Match exec` runs."""
_SIDE_BY_SIDE = 8


def resolve_all(specs: Sequence[SshSpec]) -> list[SshSpec]:
    """Return each spec with the user's ssh configuration applied, so that it is not asked again; in their order.

    Raises UsageError for the first of them that cannot work, and ends the others.
    """
    if any(spec.key is not None or spec.key_files for spec in specs):
        load_paramiko()  # before there are threads, which all need it
    if len(specs) > 1:
        cancellation = Cancellation()
        try:
            with ThreadPoolExecutor(min(_SIDE_BY_SIDE, len(specs)), thread_name_prefix="ssh-config") as pool:
                try:
                    return list(pool.map(partial(resolve_checked, cancellation=cancellation), specs))
                except BaseException:
                    cancellation.cancel("another host's configuration cannot be used")
                    raise
        except Exception as error:
            if not shortage(error):
                raise
    # One host; or there are no more threads, or no memory for them: one after the other they take neither.
    return [resolve_checked(spec) for spec in specs]


def resolve_checked(spec: SshSpec, *, cancellation: Cancellation | None = None) -> SshSpec:
    """Return one spec with the user's ssh configuration applied; see :func:`resolve_all`."""
    deadline = Deadline.after(_SECONDS, cancellation=cancellation)
    try:
        ssh_config.check_options(spec, deadline=deadline)
        resolved = ssh_config.resolve(spec, deadline=deadline)
        _check_route(resolved, deadline, 0)
    except DeadlineExpired as error:
        raise UsageError(f"{spec.name}: the ssh configuration does not answer: {error.message}") from None
    if resolved.proxy_command and not resolved.proxy_jump:
        ssh_config.expand_tokens(resolved.proxy_command, resolved)
    known_keys(resolved, resolved.host_keys)
    _check_keys(spec, resolved)
    return replace(resolved, use_config=False)


def _check_route(spec: SshSpec, deadline: Deadline, before: int) -> None:
    """Go through the jump hosts as :mod:`harness.transport.ssh.connect` does. Raises UsageError."""
    hosts = ssh_config.jumps(spec)
    ssh_config.check_jumps(spec, before + len(hosts))
    if hosts:
        *others, last = hosts
        resolved = ssh_config.resolve(last, deadline=deadline)
        _check_route(ssh_config.replace_jump(resolved, others), deadline, before + 1)


def _check_keys(given: SshSpec, resolved: SshSpec) -> None:
    """Raise UsageError where the keys that the inventory names are of no use and there is no other way to log in."""
    if given.key is not None:
        try:
            parse_key(given, given.key)
        except Unavailable as error:
            raise UsageError(error.message, hint=error.hint) from None
    agent = resolved.use_agent and bool(resolved.agent_socket or os.environ.get("SSH_AUTH_SOCK"))
    if not given.key_files or given.key is not None or resolved.password is not None or agent:
        return
    problems = [_problem(expanded(name)) for name in given.key_files]
    if all(problems):
        raise UsageError(
            f"{given.name}: there is no way to log in: {'; '.join(problems)}, and there is neither a password nor an "
            "agent",
            hint="ansible_ssh_private_key_file must name a private key that you can read.",
        )


def _problem(path: Path) -> str:
    """Return why a key file is of no use; an empty string where it is of use, as far as that can be known."""
    if not path.exists():
        return f"the key file {path} is not there"
    if not path.is_file():
        return f"the key file {path} is no file"
    try:
        open_key(path, None)
    except UnusableKeyError as error:
        return f"the key file {path} {error}"
    except (LockedKeyError, WrongPassphraseError):
        return ""
    return ""
