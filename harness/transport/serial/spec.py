"""What a host's variables say about its console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import UsageError
from harness.transport.serial.become import Become, become_from_vars


@dataclass(frozen=True, slots=True)
class SerialSpec:
    """How to get a shell on a host's console. `login_timeout` in seconds."""

    address: str
    user: str = "root"
    password: str | None = None
    baudrate: int = 115200
    login_timeout: float = 60.0
    become: Become | None = None

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
            login_timeout=_number(host_name, variables, "serial_login_timeout", 60.0),
            become=become_from_vars(host_name, variables),
        )


def _first(variables: Mapping[str, object], *names: str) -> object | None:
    return next((variables[n] for n in names if variables.get(n) not in (None, "")), None)


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
