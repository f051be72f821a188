"""The folders that live as long as one QEMU: a short-named one for sockets, a roomy one for throw-away disks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.file_locks import is_locked
from harness.machine.supervisor import LOCK

_PREFIX = "harness-"
# A name must leave room for "/console" in the 107 bytes that a socket's path may have.
_LONGEST = 80
STARTING = "starting.lock"
"""Held by the process that made the folders, from before the sweep can see them: preparing an image's disk may take any
time before the supervisor takes its own lock."""


@dataclass(frozen=True, slots=True)
class Folders:
    """`sockets` comes first: its lock tells whether the machine's supervisor lives. Both are 0700."""

    sockets: Path
    scratch: Path
    lock: int = -1
    """The descriptor that holds STARTING; the kernel releases it when the process dies."""

    def remove(self) -> None:
        if self.lock >= 0:
            with contextlib.suppress(OSError):
                os.close(self.lock)
        for folder in (self.sockets, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)


def make_folders() -> Folders:
    """Makes both, and removes those that a killed supervisor left. Raises :class:`MachineError`."""
    base, roomy = _short_base(), _roomy_base()
    _sweep(base)
    try:
        sockets = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    except OSError as error:
        raise MachineError(f"no folder for sockets can be made in {base}: {error.strerror}") from error
    scratch = roomy / f"{sockets.name}-disks"
    held = -1
    try:
        held = os.open(sockets / STARTING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        scratch.mkdir(mode=0o700)
        # For the sweep: which disks go with these sockets. Without it, the folder is not looked at.
        (sockets / "scratch").write_text(str(scratch))
    except OSError as error:
        if held >= 0:
            os.close(held)
        shutil.rmtree(sockets, ignore_errors=True)
        raise MachineError(
            f"no folder for throw-away disks can be made in {roomy}: {error.strerror}", hint="TMPDIR names another one"
        ) from error
    return Folders(sockets, scratch, held)


def _short_base() -> Path:
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108 - only a mkdtemp of 0700 is made in it
    usable = base.is_absolute() and len(str(base).encode()) <= _LONGEST and os.access(base, os.W_OK)
    return base if usable else Path("/tmp")  # noqa: S108


def _roomy_base() -> Path:
    # /tmp is often memory; disks belong on a disk.
    base = Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - only a folder of 0700 is made in it
    return base if base.is_dir() else Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid() or not (folder / "scratch").is_file():
                continue
            # The maker's lock first: the supervisor takes its own while that one is still held.
            if is_locked(folder / STARTING) or is_locked(folder / LOCK):
                continue
            scratch = Path((folder / "scratch").read_text())
            if scratch.name == f"{folder.name}-disks":
                shutil.rmtree(scratch, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
