"""Runs a helper program (mmdebstrap, qemu-img, ssh-keygen) against a deadline, and lets it speak when it fails."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, MachineError

_POLL = 0.2
_GRACE = 5.0
_KEPT_LINES = 15


def need(program: str, *, to: str) -> str:
    """The path of `program`. Raises :class:`MachineError` that says what it is needed for."""
    # Debian keeps mke2fs and debugfs out of an ordinary user's PATH.
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        raise MachineError(
            f"{program} is needed {to}, and is not installed", hint="`harness doctor` tells how to get it"
        )
    return path


def run_tool(
    argv: Sequence[str],
    *,
    doing: str,
    deadline: Deadline,
    on_line: Callable[[str], None] = lambda line: None,
    log: BinaryIO | None = None,
    env: Mapping[str, str] | None = None,
    contain: bool = False,
) -> list[str]:
    """Runs `argv` with stdin closed; returns the last lines of what it said.

    Its stdout and stderr go to `log` whole and to `on_line` line by line. It dies with us, whatever ends us;
    `contain` (as root only) does the same for everything that it started.
    Raises :class:`MachineError` with its own last words when its status is not 0 or the deadline passes, and
    :class:`Cancelled`.
    """
    full = [*_leash(contain), *argv]
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            full,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            start_new_session=True,
        )
    except OSError as error:
        raise MachineError(f"{doing}: {argv[0]} could not be started: {error.strerror}") from error
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        _read(process, deadline, doing, last, on_line, log)
        status = process.wait()
    except DeadlineExpired as error:
        raise MachineError(
            f"{doing} was given up after {time.monotonic() - started:.0f} s; its last words:\n{_quote(last)}",
            hint=f"it was: {shlex.join(argv)}",
        ) from error
    finally:
        _end(process)
    if status:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise MachineError(
            f"{doing} failed ({how}) after {time.monotonic() - started:.0f} s: {with_error_first(_quote(last))}",
            hint=f"it was: {shlex.join(argv)}",
        )
    return list(last)


_REMARK = re.compile(r"\b(?:warning|note|info|hint)\b\s*:", re.IGNORECASE)


def with_error_first(output: str) -> str:
    """Return a program's output for an error message whose first line is read alone: the line that gives the error,
    then the whole output where it has more lines. Programs print warnings before the error, and hints after it."""
    lines = [line.strip() for line in output.split("\n") if line.strip()]
    if not lines:
        return "it printed nothing"
    errors = [line for line in lines if not _REMARK.search(line)]
    first = next((line for line in errors if _ERROR.search(line)), (errors or lines)[-1])
    return first if len(lines) == 1 else f"{first}\nthe last lines of its output:\n{output}"


_ERROR = re.compile(
    r"\b(?:error|failed|failure|cannot|can't|could not|unable|denied|no such|not found|not a|invalid|unknown|E:)",
    re.IGNORECASE,
)
_NAMESPACE = ("--pid", "--fork", "--kill-child", "--mount-proc")


def can_contain() -> bool:
    """Whether a family of processes, with its mounts, can be ended as one; a container may forbid it even to root."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("setpriv") is None:
        return False
    trial = subprocess.run([unshare, *_NAMESPACE, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return trial.returncode == 0


def _leash(contain: bool) -> list[str]:
    """The words in front of a command that make the kernel end it when we are killed: no finally block of ours runs
    on SIGKILL. A process-id namespace takes the whole family along, and its mounts."""
    setpriv, unshare = shutil.which("setpriv"), shutil.which("unshare")
    if setpriv is None:
        return []
    if contain and can_contain() and unshare is not None:
        return [setpriv, "--pdeathsig", "KILL", "--", unshare, *_NAMESPACE, "--"]
    return [setpriv, "--pdeathsig", "TERM", "--"]


def _read(
    process: subprocess.Popen[bytes],
    deadline: Deadline,
    doing: str,
    last: deque[str],
    on_line: Callable[[str], None],
    log: BinaryIO | None,
) -> None:
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            deadline.check(doing)
            if not selector.select(min(_POLL, deadline.remaining())):
                # A grandchild may hold the pipe open after the program itself has ended.
                if process.poll() is not None:
                    break
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            if log is not None:
                log.write(chunk)
                log.flush()
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                _tell(line, last, on_line)
    _tell(rest, last, on_line)


def _tell(line: bytes, last: deque[str], on_line: Callable[[str], None]) -> None:
    text = line.decode("utf-8", "backslashreplace").rstrip()
    if text:
        last.append(text)
        on_line(text)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    if process.poll() is None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
                break


def _quote(lines: Sequence[str] | deque[str]) -> str:
    return "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"
