"""Stands between us and one QEMU, so that QEMU ends when we do, however we end.

Run as a program of its own, isolated (`python -I -S supervisor.py`), standard library only. It leads its own
session, ignores Ctrl-C and hang-ups, and holds two pipes: its stdin comes from the harness (lines `stop`, `keep`, which
may say for how many seconds, and `again`, which ends QEMU and starts a new one with the same disks; end of file means
the harness is gone), to its stdout it writes (`pid N`, `ending CAUSE` where it ends QEMU, `exit STATUS`,
`error WORDS`).
The kernel kills QEMU when the supervisor itself dies.

Arguments: LOG-OF-QEMU'S-OUTPUT GRACE-SECONDS FOLDER-TO-REMOVE… -- QEMU-ARGV…
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
LOCK = "supervisor.lock"
_LONGEST_WAIT = 86400.0
"""Seconds between two looks at the time while nothing happens."""


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    log, grace, *folders = arguments[:split]
    for sign in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(sign, signal.SIG_IGN)
    # Held as long as this process lives: whoever finds the folder unlocked may remove it.
    lock = os.open(Path(folders[0], LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    try:
        return _supervise(arguments[split + 1 :], log, float(grace), wake_read, stopping)
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _supervise(argv: list[str], log: str, grace: float, wake: int, stopping: list[int]) -> int:
    """Until it is to be ended, with as many QEMUs, one after the other, as are asked for."""
    keep = False
    while True:
        again, keep = _supervise_one(argv, log, grace, wake, stopping, keep)
        if not again:
            return 0


def _supervise_one(
    argv: list[str], log: str, grace: float, wake: int, stopping: list[int], keep: bool
) -> tuple[bool, bool]:
    """One QEMU to its end: whether another one is to follow it, and whether that is to be kept."""
    libc = ctypes.CDLL(None, use_errno=True)
    us = os.getpid()

    def bind_to_us() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for sign in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(sign, signal.SIG_DFL)
        if os.getppid() != us:  # the supervisor died between fork and prctl
            os._exit(1)

    try:
        with open(log, "ab", opener=_private) as output:
            qemu = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=bind_to_us,  # safe: this process has one thread
            )
    except OSError as error:
        _say(f"error {error.strerror}")
        return False, keep
    _say(f"pid {qemu.pid}")
    again = False
    pending = b""
    watched = [0, wake]
    until: float | None = None
    cause = ""
    while qemu.poll() is None and not stopping:
        rest = None if until is None else min(max(0.0, until - time.monotonic()), _LONGEST_WAIT)
        ready, _, _ = select.select(watched, [], [], rest)
        if rest == 0.0:
            cause = "the time that it was to be kept for is over"
            break
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 512)
        if 0 in ready:
            data = os.read(0, 512)
            pending += data
            *lines, pending = pending.split(b"\n")
            for words in (line.split() for line in lines if line.startswith(b"keep")):
                keep = True
                until = time.monotonic() + float(words[1]) if len(words) > 1 else None
            again = b"again" in lines and b"stop" not in lines
            if again or b"stop" in lines or (not data and not keep):
                cause = "its run has ended" if not (again or b"stop" in lines) else "it was asked for"
                break
            if not data:
                watched.remove(0)
    if qemu.poll() is None:
        _say(f"ending {cause or f'its supervisor got signal {stopping[0]}'}")
        qemu.terminate()  # QEMU flushes its disks and leaves
        try:
            qemu.wait(grace)
        except subprocess.TimeoutExpired:
            qemu.kill()
    _say(f"exit {qemu.wait()}")
    return again and not stopping, keep


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _say(line: str) -> None:
    # The harness may be gone; its QEMU must be ended all the same.
    with contextlib.suppress(OSError):
        os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
