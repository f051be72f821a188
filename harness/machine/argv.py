"""QEMU's command line, from plain values; nothing here touches the machine it runs on.

Options as in QEMU's manual page, qemu(1); tested with 7.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.machine.spec import PortForward

SEED_SERIAL = "harness-seed"
SSH_PORT = 22
# What makes Linux and its systemd use a virtio console. Its driver may come late, so the login is asked for by name.
VIRTIO_APPEND = "console=hvc0 systemd.wants=serial-getty@hvc0.service"
# Linux counts a few ticks of its timer at boot and panics ("IO-APIC + timer doesn't work!") where none come, as under
# emulation on a host that is too busy to run the virtual CPU. This disables "the code which tests for broken timer IRQ
# sources" (https://docs.kernel.org/admin-guide/kernel-parameters.html); as a guest of KVM, Linux disables it by itself.
TCG_APPEND = "no_timer_check"
# The oldest model with x86-64-v2, which today's distributions ask for; `max` made a boot twice as slow.
_TCG_CPU = "Nehalem"


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk of the guest: its file, the file's format, and whether it must not be written to."""

    path: Path
    format: Literal["qcow2", "raw"]
    read_only: bool = False
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that the command line is made of, with all files in place. `accel` is decided; `memory` in MiB.

    With a `uart_log` the console is a virtio one, and what the UART says goes there; else the console is the UART.
    """

    binary: str
    name: str
    accel: Literal["kvm", "tcg"]
    machine: str
    cpu_model: str | None
    cpus: int
    memory: int
    console_socket: Path
    console_log: Path
    qmp_socket: Path
    uart_log: Path | None = None
    drives: tuple[Drive, ...] = ()
    iso: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    forwards: tuple[PortForward, ...] = ()
    restrict: bool = True
    extra: tuple[str, ...] = ()


def qemu_argv(layout: Layout) -> list[str]:
    """The command line. The guest's CPUs stand still at first (`-S`), so that no console byte is missed."""
    argv = [layout.binary, "-name", f"guest={escape(layout.name)}", "-no-user-config", "-nodefaults"]
    # graphics=off lets SeaBIOS speak on the serial port: the firmware's stage can be seen.
    options = {"accel": layout.accel, "graphics": "off"}
    given = layout.machine
    argv += ["-machine", ",".join([given, *(f"{k}={v}" for k, v in options.items() if f",{k}=" not in given)])]
    argv += ["-cpu", layout.cpu_model or ("host" if layout.accel == "kvm" else _TCG_CPU)]
    argv += ["-smp", str(layout.cpus), "-m", f"{layout.memory}M", "-display", "none", "-S"]
    argv += ["-chardev", _console(layout)]
    if layout.uart_log is None:
        argv += ["-serial", "chardev:console"]
    else:
        # The firmware and an early kernel know no virtio console; without a UART they would be mute.
        argv += ["-chardev", f"file,id=uart,path={escape(layout.uart_log)},append=on", "-serial", "chardev:uart"]
        argv += ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=console"]
    argv += ["-chardev", f"socket,id=qmp,path={escape(layout.qmp_socket)},server=on,wait=off"]
    argv += ["-mon", "chardev=qmp,mode=control"]
    argv += ["-device", "virtio-rng-pci"]
    argv += _network(layout.forwards, restrict=layout.restrict)
    if layout.kernel is not None:
        argv += ["-kernel", str(layout.kernel)]
        if layout.initrd is not None:
            argv += ["-initrd", str(layout.initrd)]
        if layout.append:
            argv += ["-append", layout.append]
    # With a kernel given, QEMU itself takes the first place in the boot order.
    boot = 0 if layout.kernel is None else 1
    if layout.iso is not None:
        # The one CD drive that every installer has a driver for.
        argv += ["-drive", f"id=cd,if=none,media=cdrom,format=raw,readonly=on,file={escape(layout.iso)}"]
        argv += ["-device", f"ide-cd,drive=cd,bus=ide.0,bootindex={boot}"]
        boot += 1
    for index, drive in enumerate(layout.drives):
        name = f"disk{index}"
        argv += ["-drive", _drive(name, drive)]
        serial = f",serial={drive.serial}" if drive.serial else ""
        order = "" if drive.serial else f",bootindex={boot + index}"
        argv += ["-device", f"virtio-blk-pci,drive={name}{order}{serial}"]
    return [*argv, *layout.extra]


def escape(value: str | Path) -> str:
    """A value inside a QEMU option list: a comma is written twice."""
    return str(value).replace(",", ",,")


def joined_append(*parts: str) -> str:
    """Kernel command lines one after the other; of a word given twice the kernel takes the later one."""
    return " ".join(part.strip() for part in parts if part.strip())


def _console(layout: Layout) -> str:
    return (
        f"socket,id=console,path={escape(layout.console_socket)},server=on,wait=off,"
        f"logfile={escape(layout.console_log)},logappend=on"
    )


def _drive(name: str, drive: Drive) -> str:
    read_only = ",readonly=on" if drive.read_only else ""
    # writeback is QEMU's default: what the guest flushes is flushed, what it does not is as lost as on a real disk.
    return f"id={name},if=none,format={drive.format}{read_only},cache=writeback,discard=unmap,file={escape(drive.path)}"


def _network(forwards: Sequence[PortForward], *, restrict: bool) -> list[str]:
    # Unless restricted, what listens on this machine's loopback is open to the guest at 10.0.2.2 (qemu(1), -netdev).
    isolated = ",restrict=on" if restrict else ""
    rules = "".join(f",hostfwd=tcp:127.0.0.1:{rule.host}-:{rule.guest}" for rule in forwards)
    # No boot ROM: a guest without a disk must say so at once and not look for a network to boot from.
    return ["-netdev", f"user,id=net{isolated}{rules}", "-device", "virtio-net-pci,netdev=net,romfile="]
