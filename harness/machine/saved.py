"""Saved machines: each was booted once, and lies in the cache with its memory, devices and disks as a QEMU snapshot.

A machine whose inventory says `qemu_start=snapshot` is restored from there in seconds. The folder's name is a hash of
everything that the machine was made of, so that one that would be another machine is never restored in its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import MachineError
from harness.machine.argv import qemu_argv
from harness.machine.cache import cache_folder, remove_tree
from harness.machine.image import MANIFEST, Image
from harness.machine.layout import machine_layout
from harness.machine.runtime import Folders
from harness.machine.spec import MachineSpec

VERSION = 1
"""Raised when what is saved, or how, changes."""
UNUSED = 14 * 86400.0
"""Seconds after which a saved machine that nobody has used is removed, when another one is saved."""
_STATE = "saved.json"
_NAMED = Folders(Path("/sockets"), Path("/scratch"))


@dataclass(frozen=True, slots=True)
class SavedMachine:
    """A saved machine: its folder, its disks (the first holds memory and devices), the id of its boot, the lines that
    its console had written until then, and the time at which it was saved, in seconds since the epoch. The folder holds
    the console's log too, under its own name."""

    path: Path
    disks: tuple[Path, ...]
    boot_id: str
    lines: tuple[str, ...]
    at: float


def saved_folder() -> Path:
    """Return the folder of all saved machines."""
    return cache_folder() / "saved"


def machine_key(spec: MachineSpec, *, name: str, accel: Literal["kvm", "tcg"], image: Image | None) -> str:
    """Return 16 hex digits that change with anything that the machine is made of: QEMU's command line and program, the
    image and every other file that it reads, and under KVM the host's CPU. Raises MachineError."""
    layout = machine_layout(spec, name=name, accel=accel, image=image, logs=Path("/logs"), folders=_NAMED)
    files = [Path(shutil.which(spec.binary) or spec.binary)]
    files += [each for each in (spec.image, spec.iso, layout.kernel, layout.initrd) if each is not None]
    files += [disk.path for disk in spec.disks if disk.path is not None]
    if image is not None:
        files += [image.disk, image.path / MANIFEST]
    made_of: dict[str, Any] = {"version": VERSION, "argv": qemu_argv(layout), "files": [_identity(f) for f in files]}
    if spec.seed is not None:
        made_of["seed"] = _tree(spec.seed)
    if accel == "kvm":
        # The CPU that the guest has found is in its memory.
        made_of["cpu"] = _host_cpu()
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()[:16]


def load_saved(folder: Path) -> SavedMachine | None:
    """Return the saved machine in `folder`, and note that it was used; None where there is none."""
    try:
        raw = json.loads((folder / _STATE).read_text())
        saved = SavedMachine(
            folder, tuple(folder / name for name in raw["disks"]), raw["boot_id"], tuple(raw["lines"]), raw["at"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all(disk.is_file() for disk in saved.disks):
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)
    return saved


def keep_saved(work: Path, folder: Path, *, disks: Iterable[Path], logs: Iterable[Path], boot_id: str,
               lines: tuple[str, ...]) -> SavedMachine:  # fmt: skip
    """Copy a machine that stands still, with its snapshot in its disks, to `folder`; `work` is a name beside it.

    Raises OSError.
    """
    work.mkdir(mode=0o700)
    saved = SavedMachine(folder, tuple(folder / disk.name for disk in disks), boot_id, lines, time.time())
    for disk in disks:
        copy_disk(disk, work / disk.name)
    for log in logs:
        copy_disk(log, work / log.name)
    state = {**asdict(saved), "disks": [disk.name for disk in saved.disks]}
    state.pop("path")
    with open(work / _STATE, "x", opener=_private) as stream:
        json.dump(state, stream)
    remove_tree(folder)
    work.rename(folder)
    return saved


def remove_unused(now: float) -> None:
    """Remove saved machines that nobody has used for a long time. Those that run keep the files of their own."""
    for path in saved_folder().glob("[a-z0-9]*"):
        with contextlib.suppress(OSError):
            if path.is_dir() and now - path.stat().st_mtime > UNUSED:
                remove_tree(path)


def copy_disk(source: Path, target: Path) -> None:
    """Copy a file that only we may read, sharing its blocks where the file system can. Raises MachineError."""
    try:
        with source.open("rb") as data, open(target, "xb", opener=_private) as copy:
            _copy_blocks(data.fileno(), copy.fileno())
    except OSError as error:
        raise MachineError(f"{source} cannot be copied to {target}: {error.strerror}") from error


def _copy_blocks(source: int, target: int) -> None:
    size = os.fstat(source).st_size
    done = 0
    while done < size:
        try:
            # copy_file_range(2): shares blocks on btrfs and XFS, and copies within the kernel elsewhere.
            count = os.copy_file_range(source, target, size - done)
        except OSError:
            count = os.sendfile(target, source, done, size - done)
            os.lseek(source, done + count, os.SEEK_SET)
        if not count:
            raise OSError(5, f"it ended after {done} of {size} bytes")
        done += count


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _identity(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}") from error
    return (os.path.realpath(path), status.st_size, status.st_mtime_ns)


def _tree(folder: Path) -> list[tuple[str, int, str]]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            content = os.readlink(path)
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found.append((path.relative_to(folder).as_posix(), path.lstat().st_mode, content))
    return found


def _host_cpu() -> list[str]:
    wanted = ("vendor_id", "model name", "flags", "microcode")
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith(wanted)]
