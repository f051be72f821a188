"""What a host's variables say about its console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError
from harness.transport.limits import ANSWER_LIMIT, answer_limit

HANDS_OFF = "console_hands_off is set"
LOGIN_TIMEOUT = 60.0
"""Seconds that a login may take, where the inventory gives no `serial_login_timeout`."""


@dataclass(frozen=True, slots=True)
class Become:
    """How to become root: by `sudo` or `su`, with a password where one is asked for."""

    method: Literal["sudo", "su"] = "sudo"
    password: str | None = None

    def __repr__(self) -> str:
        return f"Become({self.method!r})"  # never the password


@dataclass(frozen=True, slots=True)
class SerialSpec:
    """How to get a shell on a host's console. `login_timeout` in seconds."""

    address: str
    user: str = "root"
    password: str | None = None
    baudrate: int = 115200
    login_timeout: float = LOGIN_TIMEOUT
    become: Become | None = None
    answer_limit: int = ANSWER_LIMIT
    """Bytes of one answer, stdout and stderr together."""
    trusted: bool = False
    """The network between here and the console can be trusted: nobody else answers there."""
    hands_off: bool = False
    """Nothing is typed on the console but by a person."""

    @property
    def authenticated(self) -> bool:
        """Whether what answers on the console is the machine: devices and Unix sockets are this machine's, a network
        (`socket://`, `rfc2217://`) authenticates nobody unless the inventory says that it is trusted."""
        return self.trusted or not self.address.lower().startswith(("socket://", "rfc2217://"))

    def __repr__(self) -> str:
        return f"SerialSpec({self.address!r}, user={self.user!r})"  # never the password

    @classmethod
    def from_vars(cls, host_name: str, variables: Mapping[str, object]) -> SerialSpec | None:
        """Reads a host's variables; None where it has no console (no `serial_socket`).

        serial_socket, serial_baudrate, serial_user, serial_password, serial_login_timeout, and Ansible's ansible_user,
        ansible_password, ansible_become, ansible_become_method (sudo or su), ansible_become_password.
        Raises UsageError for a value that cannot be used.
        """
        address = variables.get("serial_socket")
        if address is None or address == "":
            return None
        user = _first(variables, "serial_user", "ansible_user", "ansible_ssh_user")
        password = _first(variables, "serial_password", "ansible_password", "ansible_ssh_pass")
        return cls(
            address=str(address),
            user="root" if user is None else str(user),
            password=None if password is None else str(password),
            baudrate=int(_number(host_name, variables, "serial_baudrate", 115200)),
            login_timeout=_number(host_name, variables, "serial_login_timeout", LOGIN_TIMEOUT),
            become=become_from_vars(host_name, variables),
            answer_limit=answer_limit(host_name, variables),
            trusted=_truth(host_name, variables, "serial_trusted"),
            hands_off=_truth(host_name, variables, "console_hands_off"),
        )


def _first(variables: Mapping[str, object], *names: str) -> object | None:
    return next((variables[n] for n in names if variables.get(n) not in (None, "")), None)


def _truth(host_name: str, variables: Mapping[str, object], name: str) -> bool:
    text = str(variables.get(name, "")).strip().lower()
    if text in ("true", "yes", "on", "1", "y", "t"):
        return True
    if text in ("", "none", "false", "no", "off", "0", "n", "f"):
        return False
    raise UsageError(f"host {host_name}: {name} must be true or false, not {variables[name]!r}")


def _number(host_name: str, variables: Mapping[str, object], name: str, default: float) -> float:
    value = variables.get(name)
    if value is None or value == "":
        return default
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if number <= 0:
        raise UsageError(f"host {host_name}: {name} must be a number above 0, not {value!r}")
    return number


def become_from_vars(host_name: str, variables: Mapping[str, object]) -> Become | None:
    """Reads ansible_become, ansible_become_method and ansible_become_password. Raises UsageError for another method."""
    wanted = variables.get("ansible_become", False)
    if str(wanted).strip().lower() not in ("true", "yes", "on", "1", "y", "t"):
        return None
    user = str(variables.get("ansible_become_user") or "root")
    if user != "root":
        raise UsageError(
            f"host {host_name}: ansible_become_user is {user!r}; on a console only root can be become",
            hint="leave the console out with harness_transports=ssh, or run the command with `su` itself",
        )
    method = str(variables.get("ansible_become_method") or "sudo")
    password = variables.get("ansible_become_password") or variables.get("ansible_become_pass")
    text = None if password in (None, "") else str(password)
    if method == "sudo":
        return Become("sudo", text if text is not None else _login_password(variables))
    if method == "su":
        return Become("su", text)
    raise UsageError(
        f"host {host_name}: ansible_become_method is {method!r}; on a console it can be sudo or su",
    )


def _login_password(variables: Mapping[str, object]) -> str | None:
    """sudo asks for the user's own password."""
    for name in ("serial_password", "ansible_password", "ansible_ssh_pass"):
        value = variables.get(name)
        if value not in (None, ""):
            return str(value)
    return None
