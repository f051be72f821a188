"""Where and how to reach a host by SSH, as a value; and what `~/.ssh/config` has to say about it.

Names and meanings of the variables are Ansible's (its `ssh` connection plugin and its become settings).
`ssh -G` gives the
exact truth about OpenSSH's configuration (Include, Match, tokens); where there is no OpenSSH client,
paramiko's parser is used, which knows neither Include nor `Match exec` results of OpenSSH.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from harness.errors import UsageError
from harness.transport.hostkeys import HostKey

HostKeyPolicy = Literal["strict", "accept-new", "off"]

_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")

# Options of a multiplexing or chatty client that mean nothing to us; Ansible's users have them by habit.
_FLAGS_WITHOUT_MEANING = frozenset("AaCfgKkMNnqTtVvXxYy")
_FLAGS_WITH_VALUE = frozenset("BbcDEeIiJLlmOopQRSWwF")


@dataclass(frozen=True, slots=True)
class Become:
    """How to become another user on the target. `password` is asked for only when the method prompts."""

    method: Literal["sudo", "su", "doas"] = "sudo"
    user: str = "root"
    password: str | None = field(default=None, repr=False)


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
    known_hosts: tuple[str, ...] = _KNOWN_HOSTS
    address_family: Literal["any", "inet", "inet6"] = "any"
    connect_timeout: float = 10.0
    alive_interval: float = 5.0
    alive_bound: float = 10.0
    max_channels: int = 8
    become: Become | None = None
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
        return self.user or getpass.getuser()

    def with_endpoint(self, host: str, port: int) -> SshSpec:
        """The same at another address (a forwarded port); the user's ssh configuration no longer applies."""
        return replace(self, host=host, port=port, use_config=False, proxy_command=None, proxy_jump=None)

    def with_host_keys(self, keys: Sequence[HostKey]) -> SshSpec:
        """The same with the machine's own host keys pinned: no other key will do."""
        return replace(self, host_keys=tuple(keys))

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
            host=_text(vars, "ansible_host", "ansible_ssh_host") or host_name,
            user=_text(vars, "ansible_user", "ansible_ssh_user"),
            password=_text(vars, "ansible_password", "ansible_ssh_pass", "ansible_ssh_password") or None,
            become=_become(host_name, vars),
        )
        port = _text(vars, "ansible_port", "ansible_ssh_port")
        if port:
            spec = replace(spec, port=_port(host_name, "ansible_port", port), options=(("port", port),))
        if timeout := _text(vars, "ansible_timeout", "ansible_ssh_timeout"):
            spec = replace(spec, connect_timeout=_seconds(host_name, "ansible_timeout", timeout))
        if key_file := _text(vars, "ansible_private_key_file", "ansible_ssh_private_key_file"):
            spec = replace(spec, key_files=(os.path.expanduser(key_file),))
        for name in ("ansible_host_key_checking", "ansible_ssh_host_key_checking"):
            if name in vars and not _truth(host_name, name, vars[name]):
                spec = replace(spec, host_key_policy="off")
        args = ""
        for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
            args += " " + _text(vars, name)
        return apply_arguments(spec, args)


def _text(vars: Mapping[str, object], *names: str) -> str:  # noqa: A002
    for name in names:
        value = vars.get(name)
        if value is not None and value != "":
            return str(value)
    return ""


def _port(host: str, name: str, text: str) -> int:
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise UsageError(f"{host}: {name} is {text!r}, which is no port", hint="Give a number from 1 to 65535.")


def _seconds(host: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise UsageError(f"{host}: {name} is {text!r}, which is no time in seconds", hint="Give a number above 0.")
    return value


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
    methods: dict[str, Literal["sudo", "su", "doas"]] = {"sudo": "sudo", "su": "su", "doas": "doas"}
    if method in methods:
        return Become(methods[method], user, password)
    raise UsageError(f"{host}: become method {method!r} is not supported", hint="Use sudo, su or doas.")


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
    return apply_options(spec, _first_of(options))


def _option(host: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or " " in name.strip():
        name, separator, value = text.strip().partition(" ")
    if not separator or not name.strip():
        raise UsageError(f"{host}: the ssh option {text!r} lacks its value", hint="Write -o Name=value.")
    return name.strip().lower(), value.strip().strip('"')


def _first_of(options: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
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
        spec = replace(spec, host=value)
    if value := one("port"):
        spec = replace(spec, port=_port(spec.name, "Port", value))
    if value := one("user"):
        spec = replace(spec, user=value)
    if value := one("connecttimeout"):
        spec = replace(spec, connect_timeout=_seconds(spec.name, "ConnectTimeout", value))
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
    known: list[str] = []
    for name in ("userknownhostsfile", "globalknownhostsfile"):
        if value := one(name):
            known += value.split()
    if known:
        spec = replace(spec, known_hosts=tuple(known))
    if value := one("stricthostkeychecking").lower():
        policy: HostKeyPolicy = (
            "off" if value in ("no", "off", "false") else "accept-new" if value == "accept-new" else "strict"
        )
        if spec.host_key_policy == "strict":
            spec = replace(spec, host_key_policy=policy)
    if value := one("serveraliveinterval"):
        interval = float(value) if value.isdigit() else 0.0
        count = one("serveralivecountmax")
        if interval > 0:
            bound = interval * (int(count) if count.isdigit() else 3)
            spec = replace(spec, alive_interval=interval, alive_bound=bound)
    if found.get("identityfile"):
        files = tuple(os.path.expanduser(name) for name in found["identityfile"] if name.lower() != "none")
        spec = replace(spec, key_files=tuple(dict.fromkeys((*spec.key_files, *files))))
    if found.get("certificatefile"):
        files = tuple(os.path.expanduser(name) for name in found["certificatefile"] if name.lower() != "none")
        spec = replace(spec, certificate_files=tuple(dict.fromkeys((*spec.certificate_files, *files))))
    return spec


def parse_dash_g(text: str) -> dict[str, list[str]]:
    """Reads what `ssh -G` prints: a name and a value a line."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value:
            found.setdefault(name.lower(), []).append(value)
    return found


def resolve(spec: SshSpec, *, home: Path | None = None) -> SshSpec:
    """Applies the user's ssh configuration, where there is one. Raises UsageError when it cannot be read.

    What the inventory says wins over the configuration, as with `ssh -o`.
    """
    user_config = (home or Path.home()) / ".ssh" / "config"
    has_file = bool(spec.config_file) or user_config.is_file()
    if not spec.use_config or spec.config_file == "none" or not has_file:
        return spec
    found = _ask_ssh(spec) if shutil.which("ssh") else _ask_paramiko(spec, user_config)
    explicit = _first_of(spec.options)
    merged = {name: values for name, values in found.items() if name not in explicit}
    if spec.key_files:
        merged.pop("identityfile", None)
    if spec.user:
        merged.pop("user", None)
    if spec.known_hosts != _KNOWN_HOSTS:
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
    return apply_options(spec, merged)


def _ask_ssh(spec: SshSpec) -> dict[str, list[str]]:
    argv = ["ssh", "-G"]
    if spec.config_file:
        argv += ["-F", spec.config_file]
    if spec.user:
        argv += ["-l", spec.user]
    for name, value in spec.options:
        argv += ["-o", f"{name}={value}"]
    argv += ["--", spec.host]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{spec.name}: `{shlex.join(argv)}` gave no answer in 10 s",
            hint="A `Match exec` in the ssh configuration may hang.",
        ) from None
    if done.returncode:
        raise UsageError(
            f"{spec.name}: the ssh configuration cannot be used: {done.stderr.strip()}",
            hint=f"Run `{shlex.join(argv)}` to see it.",
        )
    return parse_dash_g(done.stdout)


def _ask_paramiko(spec: SshSpec, user_config: Path) -> dict[str, list[str]]:
    from paramiko import ConfigParseError, SSHConfig

    path = spec.config_file or str(user_config)
    try:
        found = SSHConfig.from_path(path).lookup(spec.host)
    except ImportError:
        raise UsageError(
            f"{spec.name}: {path} has a `Match exec`, which only OpenSSH's client can answer",
            hint="Install the OpenSSH client, or name another file with -F.",
        ) from None
    except (OSError, ConfigParseError) as error:
        raise UsageError(f"{spec.name}: the ssh configuration {path} cannot be read: {error}") from None
    return {name: value if isinstance(value, list) else [value] for name, value in found.items()}


def expand_tokens(text: str, spec: SshSpec) -> str:
    """Expands the tokens of ProxyCommand (ssh_config(5), TOKENS): %h %p %r %n %%."""
    tokens = {"%": "%", "h": spec.host, "p": str(spec.port), "r": spec.login, "n": spec.name}
    out, at = [], 0
    while at < len(text):
        if text[at] == "%" and at + 1 < len(text):
            token = text[at + 1]
            if token not in tokens:
                raise UsageError(
                    f"{spec.name}: %{token} in ProxyCommand {text!r} is not supported",
                    hint="Known: %h %p %r %n %%.",
                )
            out.append(tokens[token])
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
        found.append(
            SshSpec(
                name=host,
                host=host,
                port=_port(spec.name, "the jump host's port", port) if port else 22,
                user=user,
                options=(("port", port),) if port else (),
                use_agent=spec.use_agent,
                agent_socket=spec.agent_socket,
                connect_timeout=spec.connect_timeout,
                config_file=spec.config_file,
                known_hosts=spec.known_hosts,
                host_key_policy=spec.host_key_policy,
            )
        )
    return tuple(found)
