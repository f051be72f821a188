"""A target's life in a run: its machine, its console, its link; from power-on to power-off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.events import Emitter
from harness.inventory import Host
from harness.machine.boot import wait_for_boot
from harness.machine.machine import Machine
from harness.machine.spec import MachineSpec
from harness.target.network import SshEndpoint
from harness.target.target import Target
from harness.transport.console import Console
from harness.transport.contract import CommandResult, Transport
from harness.transport.link import Link
from harness.transport.serial import SerialSpec, SerialTransport
from harness.transport.ssh import SshTransport
from harness.transport.ssh_config import SshSpec

KNOWN_TRANSPORTS = ("ssh", "serial")


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """What a host's variables say of the target, checked, with nothing touched."""

    name: str
    ssh: SshSpec | None
    serial: SerialSpec | None
    machine: MachineSpec | None
    transports: tuple[str, ...]


def validate(host: Host) -> TargetSpec:
    """Reads a host's variables. Raises UsageError for whatever cannot be used, before anything is started."""
    resolved = host.resolved()
    base = host.folder
    machine = MachineSpec.from_vars(host.name, resolved, base=base)
    serial = SerialSpec.from_vars(host.name, resolved)
    ssh = SshSpec.from_vars(host.name, resolved)
    transports = _transports(host)
    if machine is None:
        available = {name for name, spec in (("ssh", ssh), ("serial", serial)) if spec is not None}
    else:
        available = set(KNOWN_TRANSPORTS)
    chosen = tuple(name for name in transports if name in available)
    if not chosen:
        raise UsageError(
            f"host {host.name!r} cannot be reached: harness_transports allows {', '.join(transports)}, "
            f"and its variables describe {', '.join(sorted(available)) or 'neither'}",
            source=host.source("harness_transports"),
            hint="Give it an ansible_host, a serial_socket, or a machine to boot (qemu_image=debian).",
        )
    return TargetSpec(host.name, ssh, serial, machine, chosen)
