"""A machine's command line from its spec: which files QEMU gets, and where they lie. Nothing is made here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import MachineError
from harness.machine.argv import (
    SEED_SERIAL,
    SSH_PORT,
    TCG_APPEND,
    VIRTIO_APPEND,
    Drive,
    Layout,
    joined_append,
)
from harness.machine.image import Image
from harness.machine.runtime import Folders
from harness.machine.spec import MachineSpec, PortForward

_QCOW2_MAGIC = b"QFI\xfb"


def machine_layout(
    spec: MachineSpec,
    *,
    name: str,
    accel: Literal["kvm", "tcg"],
    image: Image | None,
    logs: Path,
    folders: Folders,
) -> Layout:
    """Return what QEMU's command line is made of. `image` is the built image of the spec's recipe; None where it has no
    recipe. `logs` is the folder of the console's log. Raises MachineError where a disk image cannot be read."""
    virtio = spec.console == "virtio"
    append = spec.append
    if image is not None:
        # The guest's prompt then says which machine it is.
        hostname = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63]
        append = joined_append(
            image.append,
            TCG_APPEND if accel == "tcg" else "",
            f"systemd.hostname={hostname}" if hostname else "",
            VIRTIO_APPEND if virtio else "",
            spec.append,
        )
    return Layout(
        binary=spec.binary,
        name=name,
        accel=accel,
        machine=spec.machine,
        cpu_model=spec.cpu_model,
        cpus=spec.cpus,
        memory=spec.memory,
        console_socket=spec.console_socket or folders.sockets / "console",
        console_log=logs.absolute() / "console.log",
        qmp_socket=spec.qmp_socket or folders.sockets / "qmp",
        uart_log=logs.absolute() / "uart.log" if virtio else None,
        drives=_drives(spec, image, folders.scratch),
        iso=spec.iso,
        kernel=spec.kernel or (image.kernel if image else None),
        initrd=spec.initrd or (image.initrd if image and spec.kernel is None else None),
        append=append,
        # Port 0: the kernel chooses a free one when QEMU binds it, so two runs can never choose the same.
        forwards=(PortForward(spec.ssh_port, SSH_PORT), *spec.ports),
        restrict=spec.restrict,
        extra=spec.args,
    )


@dataclass(frozen=True, slots=True)
class ThrowAwayDisk:
    """A disk that lives as long as one QEMU: its file, and the image that it lies over, or its size in bytes."""

    file: Path
    over: Path | None
    size: int


def throw_away_disks(spec: MachineSpec, image: Image | None, scratch: Path) -> tuple[ThrowAwayDisk, ...]:
    """Return the throw-away disks in the order of the command line; images that are written to themselves are none."""
    return tuple(
        ThrowAwayDisk(scratch / f"disk{index}.qcow2", path, size)
        for index, (path, size) in enumerate(_disk_sources(spec, image))
        if path is None or not spec.persistent
    )


def _disk_sources(spec: MachineSpec, image: Image | None) -> list[tuple[Path | None, int]]:
    """Return all disks: an existing image, or None and the size of an empty one."""
    boot = image.disk if image else spec.image
    sources: list[tuple[Path | None, int]] = [(boot, 0)] if boot is not None else []
    return sources + [(disk.path, disk.size) for disk in spec.disks]


def seed_tarball(scratch: Path) -> Path:
    """Return the file that the seed is packed into."""
    return scratch / "seed.tar"


def disk_format(path: Path) -> Literal["qcow2", "raw"]:
    """Return the format by the file's own first bytes. QEMU's own guess is not asked: a guest that owns a raw disk
    could make it look like qcow2 and so read files of the host."""
    try:
        with path.open("rb") as stream:
            return "qcow2" if stream.read(4) == _QCOW2_MAGIC else "raw"
    except OSError as error:
        raise MachineError(f"the disk image {path} cannot be read: {error.strerror}") from error


def _drives(spec: MachineSpec, image: Image | None, scratch: Path) -> tuple[Drive, ...]:
    drives = []
    for index, (path, _) in enumerate(_disk_sources(spec, image)):
        if path is not None and spec.persistent:
            drives.append(Drive(path.absolute(), disk_format(path)))
        else:
            drives.append(Drive(scratch / f"disk{index}.qcow2", "qcow2"))
    if spec.seed is not None:
        drives.append(Drive(seed_tarball(scratch), "raw", read_only=True, serial=SEED_SERIAL))
    return tuple(drives)
