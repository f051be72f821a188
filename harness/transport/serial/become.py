"""Becoming root on a console whose login is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial.console import Console, strip_ansi
from harness.transport.serial.reader import Reader
from harness.transport.serial.requests import Nonce

_REFUSED = re.compile(
    rb"sorry, try again|incorrect password|authentication failure|not in the sudoers|may not run|not allowed"
    rb"|permission denied|not found|must be suid|unknown command|password is required",
    re.IGNORECASE,
)
_PASSWORD = re.compile(rb"password[^\n]*: *$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Become:
    """How to become root: by `sudo` or `su`, with a password where one is asked for."""

    method: Literal["sudo", "su"] = "sudo"
    password: str | None = None

    def __repr__(self) -> str:
        return f"Become({self.method!r})"  # never the password


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


def become_root(console: Console, reader: Reader, become: Become, deadline: Deadline) -> None:
    """Starts a root shell in the shell that stands on the console, and returns when it answers.

    Raises Unavailable(cause=BECOME) that says what sudo or su answered; Eof; Cancelled; DeadlineExpired.
    """
    prompt = Nonce.fresh()
    place = reader.total
    # `-p` gives a prompt that nothing else prints; its halves are typed apart.
    sudo = f' sudo -k; sudo -p {prompt.first}""{prompt.second} sh\n'
    line = sudo if become.method == "sudo" else " su root\n"
    console.write(line.encode(), deadline=deadline)
    typed = False
    answered = reader.total
    while True:
        deadline.check(f"becoming root by {become.method}")
        reader.settle(answered, deadline, quiet=0.2, at_most=2.0)
        seen = strip_ansi(reader.since(place).replace(b"\r", b""))
        asks = prompt.whole.encode() in reader.since(answered) or (
            become.method == "su" and _PASSWORD.search(strip_ansi(reader.since(answered).replace(b"\r", b"")))
        )
        refused = _REFUSED.search(seen)
        if refused or (asks and (typed or become.password is None)):
            console.write(b"\x03", deadline=deadline)
            why = refused[0].decode("ascii", "replace") if refused else "it asks for a password and none is given"
            raise Unavailable(
                f"{become.method} did not give a root shell on the console {console.name}: {why}",
                cause=Cause.BECOME,
                transport="serial",
                seen=seen[-2048:],
                hint="check ansible_become_method and ansible_become_password in the inventory",
            )
        if asks and become.password is not None:
            answered, typed = reader.total, True
            console.write(f"{become.password}\n".encode(), deadline=deadline, secret=True)
            reader.settle(answered + 2, deadline, quiet=0.2, at_most=6.0)
            continue
        probe = Nonce.fresh()
        before = reader.total
        console.write(f' echo {probe.first}""{probe.second}\n'.encode(), deadline=deadline)
        if reader.wait_until(probe.whole.encode(), before, deadline, at_most=2.0):
            return
