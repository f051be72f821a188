"""A host of the inventory made concrete: what its variables say, checked, with nothing touched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UsageError
from harness.inventory import Host
from harness.inventory.variables import BY_ANY_NAME
from harness.machine.spec import MachineSpec
from harness.transport.serial.spec import SerialSpec
from harness.transport.ssh.config import SshSpec

_PATHS = ("serial_socket", "ansible_ssh_private_key_file", "ansible_private_key_file")


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """How to reach a host, and, where there is one, the machine to start. `transports` is the link's order."""

    name: str
    ssh: SshSpec | None
    serial: SerialSpec | None
    machine: MachineSpec | None
    transports: tuple[str, ...]

    def stretched(self, scale: float) -> TargetSpec:
        """The same with all its times multiplied: for slow boards and emulation."""
        machine, ssh, serial = self.machine, self.ssh, self.serial
        return replace(
            self,
            machine=machine
            and replace(machine, boot_timeout=machine.boot_timeout * scale, boot_stall=machine.boot_stall * scale),
            ssh=ssh and replace(ssh, connect_timeout=ssh.connect_timeout * scale),
            serial=serial and replace(serial, login_timeout=serial.login_timeout * scale),
        )


def target_spec(host: Host) -> TargetSpec:
    """Reads a host's variables. Raises UsageError for whatever cannot be used, before anything is started."""
    if host.inside:
        require_harmless(host)
    variables = connection_variables(host)
    folder = variables.get("inventory_dir")
    machine = MachineSpec.from_vars(host.name, variables, base=Path(folder) if isinstance(folder, str) else Path.cwd())
    for name in _PATHS:
        value = variables.get(name)
        if isinstance(value, str) and value and "://" not in value:
            variables[name] = str(host.path(name))
    wanted = _wanted(host)
    serial = SerialSpec.from_vars(host.name, variables) if "serial" in wanted else None
    ssh = SshSpec.from_vars(host.name, variables) if "ssh" in wanted else None
    # A machine that we start has both: a forwarded port and a console.
    described = {name for name, spec in (("ssh", ssh), ("serial", serial)) if spec is not None or machine is not None}
    transports = tuple(name for name in wanted if name in described)
    if not transports:
        raise UsageError(
            f"host {host.name!r} cannot be reached: harness_transports allows {', '.join(wanted)}, and its "
            f"variables describe {', '.join(sorted(described)) or 'neither'}",
            source=host.source("harness_transports"),
            hint="Give it an ansible_host, a serial_socket, or a machine to boot (qemu_image=debian).",
        )
    return TargetSpec(host.name, ssh, serial, machine, transports)


def resolved(specs: Sequence[TargetSpec]) -> list[TargetSpec]:
    """Return the specs with the user's ssh configuration applied, in their order.

    Only machines of ours are left as they are: their endpoint is known once they are started, and no configuration
    speaks of it. Raises UsageError for the first one that cannot be used, before anything is started.
    """
    from harness.transport.ssh.validate import resolve_all

    outside = [spec.ssh for spec in specs if spec.ssh is not None and spec.machine is None]
    found = iter(resolve_all(outside))
    return [replace(spec, ssh=next(found)) if spec.ssh is not None and spec.machine is None else spec for spec in specs]


_PROGRAMS = (
    *("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"),
    *("qemu_binary", "qemu_args", "harness_ship"),
)
"""What names programs to run, or options that do, or where this machine's records go."""


def require_harmless(host: Host) -> None:
    """Raise UsageError, with the place, for what an untrusted inventory may not say: programs, and files or devices
    outside its own folder."""
    from harness.inventory import kinds
    from harness.inventory.variables import TABLE

    for name in (name for name in _PROGRAMS if name in host.vars):
        raise host.error(name, "is not allowed with --untrusted", hint="Look at it, and go on without --untrusted.")
    for name, variable in TABLE.items():
        for called in (name, *variable.aliases):
            if called not in host.vars or variable.kind not in (kinds.PATH, kinds.SERIAL):
                continue
            value = str(host.vars[called])
            if value.lower().startswith(("socket://", "rfc2217://")):
                continue
            real = os.path.realpath(host.resolve_path(value.removeprefix("unix://").removeprefix("file://"), called))
            if not any(real.startswith(folder + os.sep) for folder in host.inside):
                raise host.error(
                    called, "names what is outside the inventory's folder, which --untrusted does not allow"
                )
    for item in host.setting("qemu_disks") or ():  # type: ignore[attr-defined]
        real = os.path.realpath(host.resolve_path(str(item), "qemu_disks"))
        if not any(real.startswith(folder + os.sep) for folder in host.inside):
            raise host.error("qemu_disks", "names what is outside the inventory's folder, with --untrusted")


def connection_variables(host: Host) -> dict[str, object]:
    """The variables that have a meaning here, resolved. A template that fails in any other one is not our business."""
    return host.resolved({*BY_ANY_NAME, "inventory_dir"})


def _wanted(host: Host) -> tuple[str, ...]:
    """The order that the inventory asks for; `ansible_connection=serial` leaves SSH out."""
    chosen = host.setting("harness_transports")
    assert isinstance(chosen, list | tuple), "harness_transports is a list in the table of variables"
    names = tuple(str(name) for name in chosen)
    if "harness_transports" not in host.vars and host.setting("ansible_connection") == "serial":
        return ("serial",)
    return names
