"""Where and how to reach a host by SSH, as a value; read from Ansible's variables.

Names and meanings of the variables are Ansible's: those of its `ssh` connection plugin and of its become settings.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.errors import UsageError
from harness.transport.limits import ANSWER_LIMIT, answer_limit
from harness.transport.ssh.hostkeys import HostKey
from harness.transport.ssh.valid_names import check_host_name, check_user_name
from harness.user import user_name

HostKeyPolicy = Literal["strict", "accept-new", "off"]

_PASSPHRASES = ("ansible_ssh_private_key_passphrase", "ansible_private_key_passphrase", "ansible_ssh_passphrase")

KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True, slots=True)
class Become:
    """How to become another user on the target. `password` is given only when the method asks for one; doas cannot be
    given any. `program` stands in for the method's own."""

    method: Literal["sudo", "su", "doas"] = "sudo"
    user: str = "root"
    password: str | None = field(default=None, repr=False)
    program: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SshSpec:
    """Where and how to reach a host. Times are in seconds; an empty `user` means this machine's user.

    `alive_interval` of silence leads to a probe, `alive_bound` more without an answer to a dead peer.
    """

    name: str
    host: str
    port: int = 22
    user: str = ""
    key_files: tuple[str, ...] = ()
    key: str | None = field(default=None, repr=False)
    """A private key's text (OpenSSH or PEM), for machines that we started ourselves."""
    passphrase: str | None = field(default=None, repr=False)
    """What opens the private key, or the key files."""
    certificate_files: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)
    use_agent: bool = True
    agent_socket: str | None = None
    default_keys: bool = True
    """Also try `~/.ssh/id_*`, as ssh does."""
    proxy_command: str | None = None
    proxy_jump: str | None = None
    host_keys: tuple[HostKey, ...] = ()
    host_key_alias: str | None = None
    host_key_policy: HostKeyPolicy = "strict"
    known_hosts: tuple[str, ...] = KNOWN_HOSTS
    learned_hosts: str = KNOWN_HOSTS[0]
    """The file to which `accept-new` adds a host's key: the first one of UserKnownHostsFile."""
    hash_known_hosts: bool = False
    address_family: Literal["any", "inet", "inet6"] = "any"
    connect_timeout: float = 10.0
    alive_interval: float = 5.0
    alive_bound: float = 10.0
    max_channels: int = 8
    become: Become | None = None
    shell: str = "sh"
    """What runs commands: a POSIX shell on the target."""
    answer_limit: int = ANSWER_LIMIT
    """Bytes of one answer, stdout and stderr together, and of a file that is read."""
    retries: int = 0
    """How often a server that cannot be reached is tried again, within the deadline."""
    config_file: str | None = None
    use_config: bool = True
    options: tuple[tuple[str, str], ...] = ()
    """`-o` options as given, names in lower case; ssh's rule holds: the first one counts."""

    @property
    def address(self) -> str:
        """`user@host:port`, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.login}@{host}:{self.port}"

    @property
    def login(self) -> str:
        """The user to log in as."""
        return self.user or user_name()

    def with_endpoint(self, host: str, port: int) -> SshSpec:
        """The same at another address (a forwarded port); the user's ssh configuration no longer applies."""
        return replace(self, host=host, port=port, use_config=False, proxy_command=None, proxy_jump=None)

    def with_host_keys(self, keys: Sequence[HostKey]) -> SshSpec:
        """The same with the machine's own host keys pinned: no other key will do."""
        return replace(self, host_keys=tuple(keys))

    def without_passwords(self) -> SshSpec:
        """The same with no password to give away, neither for logging in nor for becoming another user."""
        become = None if self.become is None else replace(self.become, password=None)
        return replace(self, password=None, become=become)

    def with_key(self, *, path: str | None = None, text: str | None = None) -> SshSpec:
        """The same with one client key, and no other way in: no agent, no keys of the user."""
        return replace(
            self,
            key_files=(path,) if path else (),
            key=text,
            use_agent=False,
            default_keys=False,
            password=None,
        )

    @classmethod
    def from_vars(cls, host_name: str, vars: Mapping[str, object]) -> SshSpec | None:  # noqa: A002 - Ansible's word
        """Reads Ansible's connection variables.

        None when the host names only a serial console (a `serial_socket` or `serial_device`, and no
        `ansible_host`). Raises :class:`~harness.errors.UsageError` for values that cannot be used.
        """
        has_serial = any(vars.get(name) for name in ("serial_socket", "serial_device"))
        if has_serial and not _text(vars, "ansible_host", "ansible_ssh_host"):
            return None
        spec = cls(
            name=host_name,
            host=_without_brackets(_text(vars, "ansible_host", "ansible_ssh_host") or host_name),
            user=_text(vars, "ansible_user", "ansible_ssh_user"),
            password=_text(vars, "ansible_password", "ansible_ssh_pass", "ansible_ssh_password") or None,
            key=_text(vars, "ansible_ssh_private_key", "ansible_private_key") or None,
            passphrase=_text(vars, *_PASSPHRASES) or None,
            become=_become(host_name, vars),
            answer_limit=answer_limit(host_name, vars),
            shell=_text(vars, "ansible_shell_executable", "ansible_executable") or "sh",
        )
        if retries := _text(vars, "ansible_ssh_retries"):
            spec = replace(spec, retries=_count(host_name, "ansible_ssh_retries", retries))
        port = _text(vars, "ansible_port", "ansible_ssh_port")
        if port:
            spec = replace(spec, port=port_of(host_name, "ansible_port", port), options=(("port", port),))
        if timeout := _text(vars, "ansible_timeout", "ansible_ssh_timeout"):
            spec = replace(spec, connect_timeout=seconds_of(host_name, "ansible_timeout", timeout))
        if key_file := _text(vars, "ansible_private_key_file", "ansible_ssh_private_key_file"):
            spec = replace(spec, key_files=(os.path.expanduser(key_file),))
        for name in ("ansible_host_key_checking", "ansible_ssh_host_key_checking"):
            if name in vars and not _truth(host_name, name, vars[name]):
                spec = replace(spec, host_key_policy="off")
        args = ""
        for name in ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"):
            args += " " + _text(vars, name)
        from harness.transport.ssh.options import apply_arguments

        spec = apply_arguments(spec, args)
        check_host_name(host_name, "ansible_host", spec.host)
        check_user_name(host_name, "ansible_user", spec.user)
        return spec


def _text(vars: Mapping[str, object], *names: str) -> str:  # noqa: A002
    for name in names:
        value = vars.get(name)
        if value is not None and value != "":
            return str(value)
    return ""


def _without_brackets(host: str) -> str:
    """`[::1]` is how an IPv6 address is written where a port may follow."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def port_of(host: str, name: str, text: str) -> int:
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise UsageError(f"{host}: {name} is {text!r}, which is no port", hint="Give a number from 1 to 65535.")


def _count(host: str, name: str, text: str) -> int:
    if text.isdigit():
        return int(text)
    raise UsageError(f"{host}: {name} is {text!r}, which is no number", hint="Give a whole number from 0 up.")


def seconds_of(host: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise UsageError(f"{host}: {name} is {text!r}, which is no time in seconds", hint="Give a number above 0.")
    return value


def _words(host: str, name: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{host}: {name} is {text!r}, which does not split into words: {error}") from None


def _truth(host: str, name: str, value: object) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "true", "yes", "on", "y", "t"):
        return True
    if text in ("0", "false", "no", "off", "n", "f", "none", ""):
        return False
    raise UsageError(f"{host}: {name} is {value!r}, which is neither true nor false", hint="Write true or false.")


def _become(host: str, vars: Mapping[str, object]) -> Become | None:  # noqa: A002
    if "ansible_become" not in vars or not _truth(host, "ansible_become", vars["ansible_become"]):
        return None
    method = _text(vars, "ansible_become_method") or "sudo"
    method = method.rpartition(".")[2]  # community.general.doas and the like
    password = _text(vars, "ansible_become_password", "ansible_become_pass", f"ansible_{method}_pass") or None
    user = _text(vars, "ansible_become_user") or "root"
    flags = _words(host, "ansible_become_flags", _text(vars, "ansible_become_flags"))
    methods: dict[str, Literal["sudo", "su", "doas"]] = {"sudo": "sudo", "su": "su", "doas": "doas"}
    if method in methods:
        return Become(methods[method], user, password, _text(vars, "ansible_become_exe"), flags)
    raise UsageError(f"{host}: become method {method!r} is not supported", hint="Use sudo, su or doas.")
