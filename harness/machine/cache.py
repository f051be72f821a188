"""The cache folder: built things that are whole or absent, and built once when two runs want them at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, MachineError
from harness.file_locks import is_locked
from harness.user import home

_POLL = 0.25


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/harness``, or ``~/.cache/harness``. Not created here."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    return (Path(base) if base.startswith("/") else home() / ".cache") / "harness"


@contextlib.contextmanager
def locked(
    path: Path, *, deadline: Deadline, doing: str, waiting: Callable[[str], None] = lambda holder: None
) -> Iterator[None]:
    """Holds the lock file `path` (the kernel frees it when its holder dies). `waiting` is called once, with the
    holder's process id as it wrote it, when someone else has it. Raises :class:`MachineError` when `deadline`
    passes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise MachineError(
            f"the cache folder {path.parent} cannot be used: {error.strerror}",
            hint="set XDG_CACHE_HOME to a folder that you may write to",
        ) from error
    try:
        told = False
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "?"
                if not told:
                    waiting(holder)
                    told = True
            deadline_hint = f"see what it does: ps -fp {holder}"
            try:
                deadline.check(doing)
            except DeadlineExpired as error:
                raise MachineError(
                    f"waited {time.monotonic() - started:.0f} s while process {holder} was {doing}",
                    hint=deadline_hint,
                ) from error
            deadline.sleep(_POLL)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def remove_leftovers(folder: Path, name: str) -> int:
    """Removes what killed builds left in `folder`: those of `name`, whose lock the caller holds, and those of other
    names that nobody builds now. A build works in ``.<name>.<anything>``; its lock is ``<name>.lock``. Returns how
    many."""
    count = 0
    for path in folder.glob(".*.*"):
        owner = path.name[1:].rsplit(".", 1)[0]
        if path.is_dir() and (owner == name or not is_locked(folder / f"{owner}.lock")):
            count += remove_tree(path)
    return count


def remove_tree(path: Path) -> bool:
    """Removes a folder and what is in it, unless something is mounted below: a build that was killed as root may
    leave the host's own /proc, /sys or /dev there, and those must never be emptied. True when it is gone."""
    inside = f"{os.path.realpath(path)}/"
    # proc(5): the fifth field is the mount point, with blanks and backslashes as octal escapes.
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4])
        if point.startswith(inside):
            return False
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()
