"""What a host's `qemu_*` variables say about its machine; checked before anything is started."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import UsageError
from harness.inventory.kinds import boolean
from harness.machine.recipe import is_recipe, parse_size, recipe_names
from harness.user import expanded

Accel = Literal["auto", "kvm", "tcg"]
ConsoleKind = Literal["serial", "virtio"]
StartKind = Literal["boot", "snapshot"]

BOOT_SOURCES = ("qemu_image", "qemu_iso", "qemu_kernel")
"""At least one of these makes a host a machine that we start."""

_PARTS = ("qemu_initrd", "qemu_append", "qemu_disks", "qemu_seed")
_WHERE_IT_RUNS = ("ansible_host", "ansible_ssh_host", "ansible_port", "serial_socket")

VARIABLES = (
    *BOOT_SOURCES,
    "qemu_initrd",
    "qemu_append",
    "qemu_memory",
    "qemu_cpus",
    "qemu_cpu_model",
    "qemu_machine",
    "qemu_accel",
    "qemu_binary",
    "qemu_disks",
    "qemu_disk_mode",
    "qemu_args",
    "qemu_ssh_port",
    "qemu_ports",
    "qemu_restrict",
    "qemu_console",
    "qemu_console_socket",
    "qemu_qmp_socket",
    "qemu_seed",
    "qemu_start",
    "boot_timeout",
    "boot_stall",
)

_MIB = 1 << 20
_DEFAULT_MEMORY = 1024
_DEFAULT_CPUS = 2
_DEFAULT_BOOT_TIMEOUT = 300.0
# The longest silence of a healthy boot seen under emulation on two busy cores was 14 s.
_DEFAULT_BOOT_STALL = 90.0
_SOCKET_PATH_MAX = 107  # sun_path of unix(7), less its final NUL


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A further disk: an existing image, or (no path) an empty one of `size` bytes."""

    path: Path | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class PortForward:
    """A loopback port of this host that leads to the guest's; `host` 0 lets the kernel choose a free one."""

    host: int
    guest: int


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A machine as the inventory wants it. `memory` is in MiB, `boot_timeout` and `boot_stall` in seconds.

    `recipe` (a name) and `image` (a disk file) exclude each other. `ssh_port` 0 means a free one. `cpu_model` None
    means what suits the accelerator. `console` is a UART (Linux: ttyS0) or a virtio console (hvc0). `start` is how it
    comes up: it is booted, or restored from the snapshot that was saved once it had booted and settled.
    """

    host_name: str
    recipe: str | None = None
    image: Path | None = None
    iso: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    memory: int = _DEFAULT_MEMORY
    cpus: int = _DEFAULT_CPUS
    cpu_model: str | None = None
    machine: str = "q35"
    accel: Accel = "auto"
    binary: str = "qemu-system-x86_64"
    disks: tuple[DiskSpec, ...] = ()
    persistent: bool = False
    args: tuple[str, ...] = ()
    ssh_port: int = 0
    ports: tuple[PortForward, ...] = ()
    restrict: bool = True
    """The guest reaches nothing through its user network: neither this machine's loopback nor what lies behind it."""
    console: ConsoleKind = "serial"
    console_socket: Path | None = None
    qmp_socket: Path | None = None
    seed: Path | None = None
    start: StartKind = "boot"
    boot_timeout: float = _DEFAULT_BOOT_TIMEOUT
    boot_stall: float = _DEFAULT_BOOT_STALL

    @classmethod
    def from_vars(cls, host_name: str, vars: Mapping[str, Any], *, base: Path) -> MachineSpec | None:  # noqa: A002
        """Reads the variables; relative paths are relative to `base`. None when no boot source is named.

        Raises :class:`UsageError` that names the host, the variable and what it may be.
        """
        return _Reader(host_name, vars, base).spec()


class _Reader:
    """Turns one host's variables into values, each complaint naming the variable."""

    def __init__(self, host: str, variables: Mapping[str, Any], base: Path) -> None:
        self._host = host
        self._vars = variables
        self._base = base

    def spec(self) -> MachineSpec | None:
        if not any(self._given(name) for name in BOOT_SOURCES):
            given = [name for name in VARIABLES if name.startswith("qemu_") and self._given(name)]
            # What says what is booted can mean nothing else. The rest may be a group's defaults, for hosts that run
            # by themselves: those say where they are.
            orphans = [name for name in given if name in _PARTS]
            if not orphans and not any(self._given(name) for name in _WHERE_IT_RUNS):
                orphans = given
            if orphans:
                raise self._wrong(orphans[0], f"has no machine to belong to; give one of {', '.join(BOOT_SOURCES)} too")
            return None
        recipe, image = self._image()
        kernel = self._file("qemu_kernel")
        initrd = self._file("qemu_initrd")
        append = str(self._vars.get("qemu_append") or "").strip()
        if initrd is not None and kernel is None:
            raise self._wrong("qemu_initrd", "needs qemu_kernel")
        if append and kernel is None and recipe is None:
            raise self._wrong("qemu_append", "needs qemu_kernel (a disk or ISO has its own boot loader)")
        seed = self._folder("qemu_seed")
        if seed is not None and recipe is None:
            raise self._wrong(
                "qemu_seed",
                "works only with an image of ours",
                hint=f"qemu_image={'|'.join(recipe_names())}; another image cannot be told to unpack it",
            )
        persistent = self._choice("qemu_disk_mode", ("overlay", "persistent"), "overlay") == "persistent"
        if persistent and recipe is not None:
            raise self._wrong(
                "qemu_disk_mode",
                "persistent would change the cached image for every later run",
                hint=f"copy `harness image path {shlex.quote(recipe)}`/disk.raw and name the copy as qemu_image",
            )
        accel: Accel = self._choice("qemu_accel", ("auto", "kvm", "tcg"), "auto")  # type: ignore[assignment]
        console: ConsoleKind = self._choice("qemu_console", ("serial", "virtio"), "serial")  # type: ignore[assignment]
        start: StartKind = self._choice("qemu_start", ("boot", "snapshot"), "boot")  # type: ignore[assignment]
        if start == "snapshot" and (persistent or not (recipe or image or self._list("qemu_disks"))):
            raise self._wrong(
                "qemu_start",
                "needs throw-away disks that the snapshot is kept in",
                hint="qemu_disk_mode=overlay, and a qemu_image or qemu_disks (1G is an empty one)",
            )
        return MachineSpec(
            host_name=self._host,
            recipe=recipe,
            image=image,
            iso=self._file("qemu_iso"),
            kernel=kernel,
            initrd=initrd,
            append=append,
            memory=self._memory(),
            cpus=self._int("qemu_cpus", _DEFAULT_CPUS, 1, 255),
            cpu_model=str(self._vars["qemu_cpu_model"]) if self._given("qemu_cpu_model") else None,
            machine=str(self._vars.get("qemu_machine") or "q35"),
            accel=accel,
            binary=str(self._vars.get("qemu_binary") or "qemu-system-x86_64"),
            disks=tuple(self._disk(item) for item in self._list("qemu_disks")),
            persistent=persistent,
            args=self._args(),
            ssh_port=self._int("qemu_ssh_port", 0, 0, 65535),
            ports=tuple(self._forward(item) for item in self._list("qemu_ports")),
            restrict=self._boolean("qemu_restrict", default=True),
            console=console,
            console_socket=self._socket("qemu_console_socket"),
            qmp_socket=self._socket("qemu_qmp_socket"),
            seed=seed,
            start=start,
            boot_timeout=self._seconds("boot_timeout", _DEFAULT_BOOT_TIMEOUT),
            boot_stall=self._seconds("boot_stall", _DEFAULT_BOOT_STALL),
        )

    def _given(self, name: str) -> bool:
        return self._vars.get(name) not in (None, "")

    def _wrong(self, name: str, why: str, *, hint: str = "") -> UsageError:
        return UsageError(f"host {self._host!r}: {name}={self._vars.get(name)!r} {why}", hint=hint)

    def _path(self, value: object) -> Path:
        return self._base / expanded(str(value))

    def _file(self, name: str) -> Path | None:
        if not self._given(name):
            return None
        path = self._path(self._vars[name])
        # A block device is as good as a file.
        if not path.exists() or path.is_dir():
            raise self._wrong(name, f"is {'a folder' if path.is_dir() else 'not there'}: {path}")
        return path

    def _folder(self, name: str) -> Path | None:
        if not self._given(name):
            return None
        path = self._path(self._vars[name])
        if not path.is_dir():
            raise self._wrong(name, f"is no folder: {path}")
        return path

    def _image(self) -> tuple[str | None, Path | None]:
        if not self._given("qemu_image"):
            return None, None
        value = str(self._vars["qemu_image"])
        if is_recipe(value):
            return value, None
        path = self._path(value)
        if not path.exists() or path.is_dir():
            raise self._wrong(
                "qemu_image",
                "is neither an image recipe nor a disk image",
                hint=f"recipes: {', '.join(recipe_names())}; as a file it would be {path}",
            )
        return None, path

    def _choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = str(self._vars[name]).strip().lower() if self._given(name) else default
        if value not in allowed:
            raise self._wrong(name, f"is none of {', '.join(allowed)}")
        return value

    def _boolean(self, name: str, *, default: bool) -> bool:
        try:
            return boolean(self._vars[name]) if self._given(name) else default
        except ValueError as error:
            raise self._wrong(name, str(error)) from None

    def _int(self, name: str, default: int, low: int, high: int) -> int:
        if not self._given(name):
            return default
        value = self._vars[name]
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value).strip()):
            raise self._wrong(name, f"is no whole number between {low} and {high}")
        number = int(value)
        if not low <= number <= high:
            raise self._wrong(name, f"is not between {low} and {high}")
        return number

    def _memory(self) -> int:
        if not self._given("qemu_memory"):
            return _DEFAULT_MEMORY
        try:
            mib = parse_size(self._vars["qemu_memory"], unit=_MIB) // _MIB
        except ValueError as error:
            raise self._wrong("qemu_memory", "is no amount of memory", hint=str(error)) from error
        if mib < 16:
            raise self._wrong("qemu_memory", "is less than 16 MiB; a bare number counts MiB")
        return mib

    def _seconds(self, name: str, default: float) -> float:
        if not self._given(name):
            return default
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h)?", str(self._vars[name]).strip().lower())
        seconds = float(match[1]) * {"m": 60, "h": 3600}.get(match[2], 1) if match else math.nan
        if not seconds > 0:
            raise self._wrong(name, "is no time; write seconds, or 5m, or 1h")
        return seconds

    def _list(self, name: str) -> list[object]:
        value = self._vars.get(name)
        if value in (None, ""):
            return []
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        if isinstance(value, Iterable) and not isinstance(value, Mapping):
            return list(value)
        return [value]

    def _disk(self, item: object) -> DiskSpec:
        path = self._path(item)
        if path.is_file() or path.is_block_device():
            return DiskSpec(path)
        try:
            size = parse_size(str(item))
        except ValueError:
            raise self._wrong("qemu_disks", f"names {item!r}: no such file, and no size such as 10G") from None
        if size < _MIB:
            raise self._wrong("qemu_disks", f"wants a disk of {size} bytes; write a unit, such as 10G")
        return DiskSpec(None, size)

    def _forward(self, item: object) -> PortForward:
        match = re.fullmatch(r"(?:(\d{1,5}):)?(\d{1,5})", str(item).strip())
        numbers = (int(match[1] or 0), int(match[2])) if match else (0, 0)
        if not match or not 0 < numbers[1] <= 65535 or numbers[0] > 65535:
            raise self._wrong("qemu_ports", f"has {item!r}; write HOST:GUEST, such as 8080:80, or 0:80 for a free port")
        return PortForward(*numbers)

    def _args(self) -> tuple[str, ...]:
        value = self._vars.get("qemu_args")
        if isinstance(value, str):
            try:
                return tuple(shlex.split(value))
            except ValueError as error:
                raise self._wrong("qemu_args", f"cannot be split into words: {error}") from error
        return tuple(str(item) for item in self._list("qemu_args"))

    def _socket(self, name: str) -> Path | None:
        if not self._given(name):
            return None
        path = self._path(self._vars[name])
        if len(str(path).encode()) > _SOCKET_PATH_MAX:
            raise self._wrong(name, f"is longer than the {_SOCKET_PATH_MAX} bytes a socket's path may have: {path}")
        return path
