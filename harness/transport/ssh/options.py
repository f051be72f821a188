"""ssh's own command-line arguments and options, applied to a spec (ssh(1), ssh_config(5))."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from harness.errors import UsageError
from harness.transport.ssh.spec import KNOWN_HOSTS, HostKeyPolicy, SshSpec, port_of

# Options of a multiplexing or chatty client that mean nothing to us; Ansible's users have them by habit.
_FLAGS_WITHOUT_MEANING = frozenset("AaCfgKkMNnqTtVvXxYy")
_FLAGS_WITH_VALUE = frozenset("BbcDEeIiJLlmOopQRSWwF")
_TIME = re.compile(r"(?:[0-9]+[smhdw]?)+", re.IGNORECASE | re.ASCII)
_TIME_PART = re.compile(r"([0-9]+)([smhdw]?)", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

HONOURED_OPTIONS = frozenset((
    "addressfamily", "canonicalizehostname", "certificatefile", "connecttimeout", "globalknownhostsfile",
    "hostkeyalias", "hostname", "identitiesonly", "identityagent", "identityfile", "port", "proxycommand", "proxyjump",
    "serveralivecountmax", "serveraliveinterval", "stricthostkeychecking", "user", "userknownhostsfile",
))  # fmt: skip
"""The options, in lower case, that change how a target is reached. `apply_options` applies them, but for
`CanonicalizeHostname`, which `ssh -G` does."""


def apply_arguments(spec: SshSpec, arguments: str) -> SshSpec:
    """Applies ssh's own command-line arguments (`-o Option=value -J jump -F file -i key -p port -l user
    -4 -6`).

    Raises :class:`~harness.errors.UsageError` for an argument that is not understood: passing over it could
    mean to reach the wrong machine.
    """
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise UsageError(f"{spec.name}: the ssh arguments {arguments.strip()!r} do not parse: {error}") from None
    options = list(spec.options)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("-") or len(word) < 2:
            raise UsageError(f"{spec.name}: {word!r} in the ssh arguments is no option", hint="See docs/ssh.md.")
        flag, value = word[1], word[2:]
        if flag in "46":
            spec = replace(spec, address_family="inet" if flag == "4" else "inet6")
            continue
        if flag in _FLAGS_WITHOUT_MEANING:
            continue
        if flag not in _FLAGS_WITH_VALUE:
            raise UsageError(f"{spec.name}: the ssh argument {word!r} is not known", hint="See docs/ssh.md.")
        if not value:
            if at >= len(words):
                raise UsageError(f"{spec.name}: the ssh argument {word!r} lacks its value")
            value = words[at]
            at += 1
        if flag == "o":
            options.append(_option(spec.name, value))
        elif flag == "J":
            options.append(("proxyjump", value))
        elif flag == "F":
            spec = replace(spec, config_file=os.path.expanduser(value))
        elif flag == "i":
            spec = replace(spec, key_files=(*spec.key_files, os.path.expanduser(value)))
        elif flag == "p":
            options.append(("port", value))
        elif flag == "l":
            options.append(("user", value))
    spec = replace(spec, options=tuple(options))
    return apply_options(spec, first_of(options))


def _option(host: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or " " in name.strip():
        name, separator, value = text.strip().partition(" ")
    if not separator or not name.strip():
        raise UsageError(f"{host}: the ssh option {text!r} lacks its value", hint="Write -o Name=value.")
    return name.strip().lower(), value.strip().strip('"')


def _time_of(host: str, option: str, text: str) -> float:
    """Return the seconds of a time (sshd_config(5), TIME FORMATS): `90`, `1m30s`. 0 is ssh's word for none. Raises
    UsageError."""
    if text and not _TIME.fullmatch(text):
        raise UsageError(f"{host}: invalid {option} {text!r}: it is no time", hint="Write seconds, or 1h30m.")
    return float(sum(int(number) * _UNITS[unit.lower()] for number, unit in _TIME_PART.findall(text)))


def first_of(options: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """ssh's rule: the first value counts, except for the options that add up."""
    found: dict[str, list[str]] = {}
    for name, value in options:
        if name not in found or name in ("identityfile", "certificatefile"):
            found.setdefault(name, []).append(value)
    return found


def apply_options(spec: SshSpec, found: Mapping[str, Sequence[str]]) -> SshSpec:
    """Applies OpenSSH's options (names in lower case, as `ssh -G` prints them) to a spec."""

    def one(name: str) -> str:
        values = found.get(name)
        return values[0] if values and values[0].lower() != "none" else ""

    if value := one("hostname"):
        spec = replace(spec, host=value.removeprefix("[").removesuffix("]"))
    if value := one("port"):
        spec = replace(spec, port=port_of(spec.name, "Port", value))
    if value := one("user"):
        spec = replace(spec, user=value)
    if seconds := _time_of(spec.name, "ConnectTimeout", one("connecttimeout")):
        spec = replace(spec, connect_timeout=seconds)
    if value := one("hostkeyalias"):
        spec = replace(spec, host_key_alias=value)
    if value := one("proxycommand"):
        spec = replace(spec, proxy_command=value)
    if value := one("proxyjump"):
        spec = replace(spec, proxy_jump=value)
    if one("identitiesonly").lower() in ("yes", "true"):
        spec = replace(spec, use_agent=False)
    if value := one("identityagent"):
        spec = replace(spec, agent_socket=None if value == "SSH_AUTH_SOCK" else os.path.expanduser(value))
    if value := one("addressfamily"):
        families: dict[str, Literal["any", "inet", "inet6"]] = {"inet": "inet", "inet6": "inet6"}
        spec = replace(spec, address_family=families.get(value, "any"))
    users, globals_ = one("userknownhostsfile").split(), one("globalknownhostsfile").split()
    if users:
        spec = replace(spec, learned_hosts=users[0])
    if users or globals_:
        spec = replace(spec, known_hosts=(*(users or KNOWN_HOSTS[:1]), *globals_))
    if value := one("hashknownhosts"):
        spec = replace(spec, hash_known_hosts=value.lower() in ("yes", "true"))
    if value := one("stricthostkeychecking").lower():
        policy: HostKeyPolicy = (
            "off" if value in ("no", "off", "false") else "accept-new" if value == "accept-new" else "strict"
        )
        if spec.host_key_policy == "strict":
            spec = replace(spec, host_key_policy=policy)
    if interval := _time_of(spec.name, "ServerAliveInterval", one("serveraliveinterval")):
        count = one("serveralivecountmax")
        # A count of 0 turns the probes' verdict off with ssh; here, where a lost target must be noticed, it is one.
        bound = interval * (max(1, int(count)) if count.isdecimal() else 3)
        spec = replace(spec, alive_interval=interval, alive_bound=bound)
    if found.get("identityfile"):
        files = tuple(os.path.expanduser(name) for name in found["identityfile"] if name.lower() != "none")
        spec = replace(spec, key_files=tuple(dict.fromkeys((*spec.key_files, *files))))
    if found.get("certificatefile"):
        files = tuple(os.path.expanduser(name) for name in found["certificatefile"] if name.lower() != "none")
        spec = replace(spec, certificate_files=tuple(dict.fromkeys((*spec.certificate_files, *files))))
    return spec
