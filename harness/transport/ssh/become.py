"""Becoming another user on a channel without a terminal: sudo, su, doas; a password is given only to its
own prompt.
"""

from __future__ import annotations

import re

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh.channel import ChannelClosedError, ChannelIO
from harness.transport.ssh.shell import encode, quote
from harness.transport.ssh.spec import Become

_GATE = b"harness-become-done"
_KEPT = 8192
"""Bytes that are kept of what is said before the gate: what is refused in, and the gate itself, is short."""
_MOST = 1 << 20
"""Bytes after which nothing more is waited for."""
_PASSED = re.compile(_GATE + rb"\r?\n")  # on a terminal a line ends with both


def wrap(become: Become, program: str) -> str:
    """`program`, for the login shell, run as the other user. It first says on stdout that it is through
    the gate.
    """
    inner = quote(f"echo {_GATE.decode()}; {program}")
    user = quote(become.user)
    # Whether to ask is our business: what a person gave with it for Ansible's sake is left out.
    given = become.flags or (("-H",) if become.method == "sudo" else ())
    flags = [flag for flag in given if flag not in ("-n", "-S")]
    head = " ".join(map(quote, [become.program or become.method, *flags]))
    if become.method == "sudo":
        # -S reads the password from stdin, -p makes the prompt one that we know.
        way = "-S -p 'harness-become-password:'" if become.password is not None else "-n"
        return f"exec {head} {way} -u {user} sh -c {inner}"
    if become.method == "doas":
        return f"exec {head} -n -u {user} sh -c {inner}"
    # -s: the account may have no login shell at all (a service's has not).
    return f"exec {head} -s /bin/sh -c {inner} {user}"


def pass_gate(io: ChannelIO, become: Become, *, name: str, deadline: Deadline) -> bytes:
    """Waits until the program runs as the other user, answering one password prompt; what it wrote by then.

    Raises Unavailable(cause=BECOME), DeadlineExpired, Cancelled, PeerSilentError, ChannelClosedError.
    Nothing is sent before the prompt is
    there: what the program itself is to read must not be taken for a password, nor the other way round.
    """
    out = err = b""
    answered = False
    came = 0
    while True:
        try:
            deadline.check("becoming another user")  # what floods us must not keep us from looking at the time
            more_out, more_err = io.read(deadline)
        except ChannelClosedError:
            raise _refused(name, become, err or out) from None
        except DeadlineExpired:
            if err or out:
                raise _refused(name, become, err or out) from None
            raise
        came += len(more_out) + len(more_err)
        # The gate is looked for where it may stand: in what came now, and the end of what came before.
        out = out[-_KEPT:] + more_out
        err = err[-_KEPT:] + more_err
        if match := _PASSED.search(out):
            return out[match.end() :]
        if came > _MOST:
            raise _refused(name, become, b"it prints without end: " + (err or out)[-200:])
        prompted = b"assword" in err or b"assword" in out
        if prompted and not answered:
            if become.password is None:
                raise _refused(name, become, b"it asks for a password")
            answered = True
            err = out = b""
            io.write_all(encode(become.password) + b"\n", deadline)
        elif prompted:
            raise _refused(name, become, b"the password was refused")


def _refused(name: str, become: Become, seen: bytes) -> Unavailable:
    said = seen[-2048:].decode("utf-8", "backslashreplace").strip()
    if become.password:
        said = said.replace(become.password, "********")
    if become.method == "doas" and become.password is not None:
        # doas.conf(5): it reads one from /dev/tty, and a channel that carries every byte as it is has no terminal.
        said += "; it takes a password at a terminal only, so doas.conf must say `permit nopass`"
    return Unavailable(
        f"{name}: {become.method} does not let us become {become.user}" + (f": {said}" if said else ""),
        cause=Cause.BECOME,
        transport="ssh",
        seen=said.encode()[-2048:],
        hint="See ansible_become_method, ansible_become_user and ansible_become_password.",
    )
