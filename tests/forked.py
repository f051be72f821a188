"""`python -m MODULE …` in tests, as a fork of a process that has imported the modules already.

Most of the CPU time of a short `harness …` is Python's start and its imports. :class:`Forked` is a
:class:`subprocess.Popen` that does without both. What tests start-up itself, closed streams, Python's own options, or
limits of a process starts `python -m harness` as usual.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

IMPORTED = {
    "harness": ("harness.cli.*", "harness.engine.*", "harness.events.*", "harness.inventory.*", "harness.report.*",
                "harness.soak.*", "harness.ship.*", "harness.target.*", "harness.transport.*", "harness.machine.*"),
    # Neither pytest's plugins nor harness itself: pytest rewrites their assertions as it imports them.
    "pytest": ("pytest", "paramiko", "structlog", "tenacity", "jinja2", "yaml", "orjson", "serial"),
}  # fmt: skip
"""What is imported before a module is run; `.*` is all modules of a package."""

_SERVER = Path(__file__).with_name("fork_server.py")
_AT_START = ("PYTHON", "LC_", "LD_", "LANG", "TZ", "MALLOC_")
"""Beginnings of the names of environment variables that count when a process starts, and not later."""
_LENGTH = struct.Struct("!I")


class Forked(subprocess.Popen[Any]):
    """A process that runs `[sys.executable, "-m", MODULE, *ARGUMENTS]`, with MODULE one of `IMPORTED`.

    Takes the options of Popen for streams, `cwd`, `env`, `text`, and `start_new_session`; with `controlling_terminal`,
    the process leads a session of its own whose terminal is its stdin. Raises ValueError for other options.
    """

    def __init__(self, args: Sequence[str], *, controlling_terminal: bool = False, **options: Any) -> None:
        self._status: socket.socket | None = None
        self._controlling_terminal = controlling_terminal
        super().__init__(args, **options)

    def _execute_child(
        self, args: Sequence[str], executable: object, preexec_fn: object, close_fds: bool, pass_fds: Sequence[int],
        cwd: str | os.PathLike[str] | None, env: dict[str, str] | None, startupinfo: object, creationflags: object,
        shell: bool, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int,
        restore_signals: bool, gid: object, gids: object, uid: object, umask: int, start_new_session: bool,
        process_group: int = -1,
    ) -> None:  # fmt: skip
        if executable or preexec_fn or pass_fds or shell or process_group != -1 or not restore_signals or not close_fds:
            raise ValueError("an option that a forked process cannot have: start a process as usual")
        if list(args[:2]) != [sys.executable, "-m"] or args[2] not in IMPORTED:
            raise ValueError(f"not `python -m MODULE` with one of {', '.join(IMPORTED)}: {args}")
        environment = dict(os.environ if env is None else env)
        request = {
            "module": args[2],
            "arguments": list(args[3:]),
            "cwd": os.path.abspath(cwd or "."),
            "umask": _umask() if umask < 0 else umask,
            "environment": environment,
            "new_session": start_new_session,
            "controlling_terminal": self._controlling_terminal,
        }
        at_start = tuple(sorted((name, value) for name, value in environment.items() if name.startswith(_AT_START)))
        streams = [theirs if theirs >= 0 else mine for theirs, mine in ((p2cread, 0), (c2pwrite, 1), (errwrite, 2))]
        self._status, theirs = socket.socketpair()
        body = json.dumps(request).encode()
        with theirs:
            server = _server(args[2], at_start)
            socket.send_fds(server, [_LENGTH.pack(len(body))], [*streams, theirs.fileno()])
            server.sendall(body)
        null = getattr(self, "_devnull", -1)
        for mine, others in ((p2cread, p2cwrite), (c2pwrite, c2pread), (errwrite, errread)):
            if mine != -1 and others != -1 and mine != null:  # a pipe's end; other descriptors are the caller's
                os.close(mine)
        if null != -1:
            os.close(null)
        self._closed_child_pipe_fds = True
        self._child_created = True
        self.pid = self._next()

    def _next(self) -> int:
        """Return the next number from the server: the process ID, then the status as `os.waitpid` has it."""
        assert self._status is not None
        received = self._status.recv(_LENGTH.size, socket.MSG_WAITALL)
        if len(received) != _LENGTH.size:
            raise RuntimeError(f"the fork server ended: {_SERVER}")
        number: int = _LENGTH.unpack(received)[0]
        return number

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        assert self._status is not None
        if wait_flags & os.WNOHANG:
            try:
                if not self._status.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise RuntimeError(f"the fork server ended: {_SERVER}")
            except BlockingIOError:
                return 0, 0
        status = self._next()
        self._status.close()
        return self.pid, status

    def _internal_poll(self, _deadstate: int | None = None, **_: object) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                pid, status = (0, 0) if self.returncode is not None else self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(
    args: Sequence[str], *, input: str | bytes | None = None,  # noqa: A002 - as subprocess.run has it
    timeout: float | None = None, check: bool = False, capture_output: bool = False, **options: Any,
) -> subprocess.CompletedProcess[Any]:  # fmt: skip
    """Run a :class:`Forked` process to its end, as `subprocess.run` does."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Forked(args, **options) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _umask() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))


@cache
def _server(module: str, at_start: tuple[tuple[str, str], ...]) -> socket.socket:
    """Return the socket of the server for a module and the variables that count at its start. It ends with us."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(_SERVER), str(theirs.fileno()), *IMPORTED[module]],
            pass_fds=[theirs.fileno()],
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **dict(at_start)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(_end, ours, process)
    return ours


def _end(server: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """End a server, which does so when nobody holds its socket."""
    server.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:  # a process that we forked holds it too
        process.kill()
        process.wait()
