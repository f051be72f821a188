"""What the user's ssh configuration has to say about a host.

`ssh -G` gives the exact truth about OpenSSH's configuration (Include, Match, tokens); where there is no OpenSSH
client, paramiko's parser is used, which knows no Include and no `Match exec`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, UsageError
from harness.transport.ssh.config_files import (
    SYSTEM_CONFIG,
    config_arguments,
    has_client,
    system_has_settings,
    user_config,
)
from harness.transport.ssh.options import apply_options, first_of
from harness.transport.ssh.spec import KNOWN_HOSTS, SshSpec, port_of
from harness.transport.ssh.valid_names import check_host_name, check_user_name
from harness.user import home as user_home
from harness.user import user_name

__all__ = ["SshSpec", "expand_tokens", "jumps", "parse_dash_g", "replace_jump", "resolve"]


MOST_JUMPS = 8
"""Jump hosts on the way to one target, those of their own configurations included."""
_ONE_PATH = frozenset(("identityfile", "certificatefile", "identityagent", "controlpath"))
"""Options whose value is one path, which must be quoted where it has blanks (ssh_config(5))."""


def parse_dash_g(text: str) -> dict[str, list[str]]:
    """Reads what `ssh -G` prints: a name and a value a line."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value:
            found.setdefault(name.lower(), []).append(value)
    return found


def resolve(spec: SshSpec, *, deadline: Deadline, home: Path | None = None) -> SshSpec:
    """Applies the user's ssh configuration, where there is one. Raises UsageError when it cannot be read,
    DeadlineExpired and Cancelled where what it runs (`Match exec`) does not end.

    What the inventory says wins over the configuration, as with `ssh -o`.
    """
    check_names(spec)
    if not _is_configured(spec, home):
        return spec
    found = _ask_ssh(spec, deadline) if has_client() else _ask_paramiko(spec, home)
    explicit = first_of(spec.options)
    merged = {name: values for name, values in found.items() if name not in explicit}
    if spec.key_files:
        merged.pop("identityfile", None)
    if spec.user:
        merged.pop("user", None)
    if spec.known_hosts != KNOWN_HOSTS:
        merged.pop("userknownhostsfile", None)
        merged.pop("globalknownhostsfile", None)
    if spec.port != 22:
        merged.pop("port", None)
    # `ssh -G` prints defaults as well; they must not undo what we chose.
    for name, default in (
        ("port", "22"),
        ("connecttimeout", "none"),
        ("serveraliveinterval", "0"),
        ("addressfamily", "any"),
    ):
        if merged.get(name) == [default]:
            merged.pop(name)
    resolved = apply_options(spec, merged)
    check_names(resolved)
    return replace(
        resolved,
        key_files=tuple(_expand_path(name, resolved) for name in resolved.key_files),
        certificate_files=tuple(_expand_path(name, resolved) for name in resolved.certificate_files),
    )


def _is_configured(spec: SshSpec, home: Path | None) -> bool:
    """Whether there is a configuration that holds for it."""
    if not spec.use_config or spec.config_file in ("none", os.devnull):
        return False
    return bool(spec.config_file) or user_config(home).is_file() or system_has_settings()


def check_names(spec: SshSpec) -> None:
    """Raise UsageError for a host or user name that ssh refuses, wherever it stands: no shell and no expansion ever
    meets one."""
    check_host_name(spec.name, "ansible_host", spec.host)
    check_user_name(spec.name, "ansible_user", spec.user)
    check_host_name(spec.name, "HostKeyAlias", spec.host_key_alias or "")
    for option, value in spec.options:
        if option in ("hostname", "hostkeyalias"):
            check_host_name(spec.name, option, value.removeprefix("[").removesuffix("]"))
        elif option == "user":
            check_user_name(spec.name, option, value)
        elif option == "proxyjump" and value.lower() != "none":
            jumps(replace(spec, proxy_jump=value))


def _expand_path(text: str, spec: SshSpec) -> str:
    """Expands a key file's tokens (ssh_config(5), TOKENS), which `ssh -G` leaves as they are; unknown ones stay."""
    local = socket.gethostname()
    tokens = {
        **_tokens(spec),
        "d": str(user_home()),
        "u": user_name(),
        "i": str(os.getuid()),
        "l": local,
        "L": local.partition(".")[0],
        "k": spec.host_key_alias or spec.host,
    }
    return re.sub(r"%(.)", lambda match: tokens.get(match[1], match[0]), text)


def _tokens(spec: SshSpec) -> dict[str, str]:
    return {"%": "%", "h": spec.host, "p": str(spec.port), "r": spec.login, "n": spec.name}


def _ask_ssh(spec: SshSpec, deadline: Deadline) -> dict[str, list[str]]:
    with config_arguments(spec.config_file) as config:
        argv = ["ssh", "-G", *config.arguments]
        if spec.user:
            argv += ["-l", spec.user]
        for name, value in spec.options:
            quoted = f'"{value}"' if name in _ONE_PATH and len(value.split()) > 1 else value
            argv += ["-o", f"{name}={quoted}"]
        argv += ["--", spec.host]
        status, out, err = _run(argv, deadline)
    if status:
        why = config.readable(err).strip() or f"ssh ends with status {status}"
        raise UsageError(
            f"{spec.name}: the ssh configuration cannot be used: {why}",
            hint=f"Run `{config.readable(shlex.join(argv))}` to see it.",
        )
    return parse_dash_g(out)


def check_options(spec: SshSpec, *, deadline: Deadline) -> None:
    """Raise UsageError for `-o` options that ssh itself would refuse. Where there is a configuration, `resolve` shows
    it; and without the OpenSSH client nobody knows them all."""
    own = tuple(option for option in spec.options if option[0] != "port")  # a number, and looked at already
    if own and not _is_configured(spec, None) and has_client():
        _ask_ssh(replace(spec, config_file=os.devnull, options=own), deadline)


def _run(argv: list[str], deadline: Deadline) -> tuple[int, str, str]:
    """A program's exit status and output. At the deadline it is ended with all that it started."""
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
    ) as process:
        forget = deadline.cancellation.on_cancel(lambda: _end(process))
        try:
            out, err = process.communicate(timeout=deadline.remaining())
        except subprocess.TimeoutExpired:
            _end(process)
            raise DeadlineExpired(
                f"`{shlex.join(argv)}` ran; does a `Match exec` of the ssh configuration hang?"
            ) from None
        finally:
            forget()
    deadline.cancellation.check()
    return process.returncode, out, err


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _ask_paramiko(spec: SshSpec, home: Path | None) -> dict[str, list[str]]:
    from paramiko import ConfigParseError, SSHConfig

    paths = (spec.config_file,) if spec.config_file else (str(user_config(home)), str(SYSTEM_CONFIG))
    config, path = SSHConfig(), ""
    # paramiko asks for the user's name, whether a token needs it or not, and fails where the system knows none.
    os.environ.setdefault("LOGNAME", user_name())
    try:
        for path in paths:
            if path == spec.config_file or os.path.isfile(path):
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    config.parse(file)
        found = config.lookup(spec.host)
    except ImportError:
        raise UsageError(
            f"{spec.name}: {' or '.join(paths)} has a `Match exec`, which only OpenSSH's client can answer",
            hint="Install the OpenSSH client, or name another file with -F.",
        ) from None
    except (OSError, ConfigParseError) as error:
        raise UsageError(f"{spec.name}: the ssh configuration {path} cannot be read: {error}") from None
    return {name: value if isinstance(value, list) else [value] for name, value in found.items()}


def expand_tokens(text: str, spec: SshSpec) -> str:
    """Expands the tokens of ProxyCommand (ssh_config(5), TOKENS): %h %p %r %n %%."""
    check_names(spec)
    tokens = _tokens(spec)
    out, at = [], 0
    while at < len(text):
        if text[at] == "%" and at + 1 < len(text):
            letter = text[at + 1]
            if letter not in tokens:
                raise UsageError(
                    f"{spec.name}: %{letter} in ProxyCommand {text!r} is not supported",
                    hint="Known: %h %p %r %n %%.",
                )
            if letter == "n":
                check_host_name(spec.name, "the name in the inventory (%n)", spec.name)
            elif letter == "r" and not {"$", "\\"}.isdisjoint(spec.login):
                raise UsageError(
                    f"{spec.name}: the user {spec.login!r} cannot stand for %r in a ProxyCommand: a shell runs it",
                    hint="Write the user into the ProxyCommand, quoted for the shell.",
                )
            out.append(tokens[letter])
            at += 2
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def replace_jump(spec: SshSpec, before: Sequence[SshSpec]) -> SshSpec:
    """The spec of a jump host that is itself reached over the hosts `before` it."""
    if not before:
        return spec
    return replace(spec, proxy_command=None, proxy_jump=",".join(_hop_text(hop) for hop in before))


def _hop_text(hop: SshSpec) -> str:
    host = f"[{hop.host}]" if ":" in hop.host else hop.host
    return (f"{hop.user}@" if hop.user else "") + host + (f":{hop.port}" if hop.port != 22 else "")


def check_jumps(spec: SshSpec, count: int) -> None:
    """Raise UsageError where so many jump hosts are more than there can be."""
    if count > MOST_JUMPS:
        raise UsageError(f"{spec.name}: more than {MOST_JUMPS} jump hosts", hint="Does a jump host name itself?")


def jumps(spec: SshSpec) -> tuple[SshSpec, ...]:
    """The hosts to jump over, the first one first. Each is looked up in the user's ssh configuration by
    itself.
    """
    if not spec.proxy_jump:
        return ()
    found = []
    for text in spec.proxy_jump.split(","):
        hop = text.strip().removeprefix("ssh://")
        user, _, place = hop.rpartition("@")
        host, port = place, ""
        if place.startswith("["):
            host, _, rest = place[1:].partition("]")
            port = rest.removeprefix(":")
        elif place.count(":") == 1:
            host, _, port = place.partition(":")
        if not host:
            raise UsageError(f"{spec.name}: the jump host {text!r} has no name", hint="Write [user@]host[:port].")
        check_host_name(spec.name, "the jump host", host)
        check_user_name(spec.name, "the jump host's user", user)
        found.append(
            SshSpec(
                name=host,
                host=host,
                port=port_of(spec.name, "the jump host's port", port) if port else 22,
                user=user,
                options=(("port", port),) if port else (),
                passphrase=spec.passphrase,
                use_agent=spec.use_agent,
                agent_socket=spec.agent_socket,
                connect_timeout=spec.connect_timeout,
                config_file=spec.config_file,
                # As with ssh's -J: what is said of the target's keys says nothing of the jump host's. Its own
                # configuration does, and a file that knows it may be one that was named for the target.
                known_hosts=tuple(dict.fromkeys((*KNOWN_HOSTS, *spec.known_hosts))),
            )
        )
    return tuple(found)
