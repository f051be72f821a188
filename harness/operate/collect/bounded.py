"""A command that takes no longer and writes no more than it may: it is ended and cut on the target, so that what is not
wanted is not carried either. Pure.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum

SBIN = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin"
"""Where sshd, ip and dmesg may be, which a login over SSH need not have in its PATH."""
KILL_AFTER = 2
"""Seconds after which a command that was asked to end is ended."""
TIMED_OUT = frozenset({124, 137, 143})
"""What `timeout` ends with when it has ended a command (GNU coreutils, busybox)."""
_STDERR = 16 << 10
_PIECE = 512
"""Bytes: secrets that are longer are not looked for in pieces either."""

# Descriptor 3 carries the exit status past the two pipes, 6 leads stdout past the one of stderr; 4 and 5 are what the
# two have to come to. Where the target lacks the tool, the whole is carried, and cut here.
_SCRIPT = """\
@SBIN@; export PATH LC_ALL=C
command -v @TOOL@ >/dev/null || { @COMMAND@; exit; }
exec 4>&1 5>&2
s=$({ { { @COMMAND@ 3>&- 4>&- 5>&- 6>&-; echo $? >&3; } 2>&1 >&6 6>&- | @TOOL@ -c @STDERR@ >&5; } 6>&1 |
@TOOL@ -c @STDOUT@ >&4; } 3>&1)
exit ${s:-141}"""


class Keep(StrEnum):
    """Which part of an output that is too long is kept."""

    BEGINNING = "beginning"
    END = "end"


class Timer(StrEnum):
    """What the target has to end a command with. Where it has nothing the transport ends it, and what the command wrote
    last may be lost in a pipe."""

    NONE = ""
    PLAIN = "timeout"
    KILLS = "timeout -k"


TIMER_FACT = "timer:"
TIMERS = (
    f"if timeout -k 1 1 true 2>/dev/null; then echo '{TIMER_FACT}kills'; "
    f"elif timeout 1 true 2>/dev/null; then echo '{TIMER_FACT}plain'; fi"
)
"""Finds out which: prints at most one word."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a stream; `cut`: there was more, and the bytes say so where it was."""

    data: bytes
    cut: bool


def bounded(command: str, *, seconds: float, limit: int, keep: Keep, timer: Timer) -> str:
    """The command as it is put to the target: its stdout, stderr and exit status are its own, but at most a byte more
    than is kept (by which it is seen that there was more). A command that goes on writing ends by SIGPIPE."""
    whole = max(1, round(seconds))
    prefix = {
        Timer.NONE: "",
        Timer.PLAIN: f"timeout {whole} ",
        Timer.KILLS: f"timeout -k {KILL_AFTER} {whole} ",
    }[timer]
    script = _SCRIPT.replace("@SBIN@", SBIN).replace("@TOOL@", "head" if keep is Keep.BEGINNING else "tail")
    script = script.replace("@STDOUT@", str(limit + 1)).replace("@STDERR@", str(min(limit, _STDERR) + 1))
    return script.replace("@COMMAND@", f"{prefix}sh -c {shlex.quote(command)}")


def kept(data: bytes, limit: int, keep: Keep = Keep.BEGINNING) -> Kept:
    """So much of a stdout as is kept, with a mark where it was cut. It is cut between two lines: half a line may hold
    half a secret, which nobody would know any more. Of one endless line a piece is left out."""
    if len(data) <= limit:
        return Kept(data, cut=False)
    if keep is Keep.END:
        rest = data[-limit:]
        line = rest.find(b"\n") + 1
        rest = rest[line:] if line else rest[_PIECE:]
        return Kept(f"[harness: cut here; these are the last {len(rest)} bytes]\n".encode() + rest, cut=True)
    rest = data[:limit]
    line = rest.rfind(b"\n") + 1
    rest = rest[:line] if line else rest[: max(0, limit - _PIECE)] + b"\n"
    return Kept(rest + f"[harness: cut here after {len(rest)} bytes; there was more]\n".encode(), cut=True)


def kept_stderr(data: bytes, limit: int, keep: Keep = Keep.BEGINNING) -> Kept:
    """The same for a stderr."""
    return kept(data, min(limit, _STDERR), keep)
