"""One owner a console: a lock file in a private folder, held for as long as the console is open.

The kernel's `flock` decides, so a killed owner leaves nothing behind that has to be cleaned up; what stands in the
file only says who it is. Two owners in one process exclude each other as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from harness.inventory.patterns import pattern_for
from harness.printing import typed_path
from harness.transport.errors import Cause, Unavailable


def runtime_dir() -> Path:
    """The user's private folder for locks: below XDG_RUNTIME_DIR, else below the folder for temporary files.

    Raises Unavailable where somebody else owns a folder of that name.
    """
    import tempfile

    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base, "harness") if base else Path(tempfile.gettempdir(), f"harness-{os.getuid()}")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Unavailable(
            f"{path} is not a private folder of ours, so console locks cannot be kept in it",
            cause=Cause.CONFIG,
            transport="serial",
            hint=f"remove it, or `chmod 700 {shlex.quote(typed_path(path))}` if it is yours, or set XDG_RUNTIME_DIR",
        )
    return path


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a console: a process, its run where it is one's, since when, and where all that is said is logged."""

    pid: int
    run: str
    since: str
    log: Path | None

    @property
    def alive(self) -> bool:
        """Its process is there."""
        return os.path.exists(f"/proc/{self.pid}")

    def __str__(self) -> str:
        text = f"process {self.pid}" + (f" (run {self.run})" if self.run else "") + f" since {self.since}"
        return text + (", which is this very process" if self.pid == os.getpid() else "")


def holder(address: str) -> Holder | None:
    """Who holds the console at this (normalised) address, or held it last without giving it back; None for nobody."""
    try:
        return _holder(_lock_file(address).read_bytes())
    except OSError:
        return None


def _lock_file(address: str) -> Path:
    key = hashlib.sha256(os.path.realpath(address.removeprefix("unix://")).encode()).hexdigest()[:24]
    return runtime_dir() / f"console-{key}.lock"


class Ownership:
    """The right to use one console, until `release`."""

    def __init__(self, address: str, *, name: str, owner: str = "", log: Path | None = None) -> None:
        """Takes it. Raises Unavailable: BUSY (says who has it), CONFIG (no lock file can be made)."""
        try:
            path = _lock_file(address)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Unavailable(
                f"no lock can be taken for the console {name} ({address}): {error}",
                cause=Cause.CONFIG,
                transport="serial",
                hint="its folder is below XDG_RUNTIME_DIR, or the folder for temporary files: it must be writable",
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _holder(os.pread(self._fd, 4096, 0))
            os.close(self._fd)
            raise Unavailable(
                f"the console {name} ({address}) is in use by {found or 'another process'}",
                cause=Cause.BUSY,
                transport="serial",
                hint="a console has one owner at a time: wait for it to end (--wait-lock), or end it; "
                f"`harness console {shlex.quote(pattern_for(name))} --watch` shows meanwhile what the console says",
            ) from None
        about = {
            "pid": os.getpid(),
            "run": owner,
            "console": name,
            "address": address,
            "log": str(log.absolute()) if log is not None else None,
            "since": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        }
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(about).encode(), 0)

    def release(self) -> None:
        """Gives it back. Safe to call twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _holder(content: bytes) -> Holder | None:
    """Who stands in a lock file."""
    try:
        about = json.loads(content)
        log = about.get("log")
        return Holder(int(about["pid"]), str(about.get("run") or ""), str(about["since"]), Path(log) if log else None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
