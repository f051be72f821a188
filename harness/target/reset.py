"""What is done to a target between two iterations, so that the next one begins from a known state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from harness.errors import UsageError
from harness.inventory import Host
from harness.inventory.places import did_you_mean
from harness.target.spec import TargetSpec

VARIABLE = "soak_reset"


class ResetKind(StrEnum):
    """From the gentlest to the hardest; the last one is the quickest of those that leave no trace."""

    NONE = "none"
    UNIT = "unit"
    REBOOT = "reboot"
    POWER_CYCLE = "power-cycle"
    COLD_BOOT = "cold-boot"
    SNAPSHOT = "snapshot"


OF_MACHINES = frozenset((ResetKind.POWER_CYCLE, ResetKind.COLD_BOOT, ResetKind.SNAPSHOT))
"""Those that need a machine of ours; the others work over a link."""


@dataclass(frozen=True, slots=True)
class Reset:
    """A kind of reset; `unit` is what `unit:NAME` restarts."""

    kind: ResetKind
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.unit}" if self.unit else str(self.kind)


def parse_reset(text: str) -> Reset:
    """Reads `none`, `unit:NAME`, `reboot`, `power-cycle`, `cold-boot` or `snapshot`. Raises ValueError."""
    word, _, unit = text.strip().partition(":")
    try:
        kind = ResetKind(word.replace("_", "-"))
    except ValueError:
        names = [str(each) for each in ResetKind]
        hint = did_you_mean(word, names)
        raise ValueError(f"{text!r} is none of {', '.join(names)}{f'; {hint}' if hint else ''}") from None
    if (kind is ResetKind.UNIT) != bool(unit):
        raise ValueError(f"{text!r}: it is unit:NAME, with the name of the unit, and no other reset has one")
    if unit and not re.fullmatch(r"[\w.@:\\-]+", unit):
        raise ValueError(f"{text!r} names no unit")
    return Reset(kind, unit)


def reset_of(host: Host, spec: TargetSpec, given: str | None) -> Reset:
    """The reset of a host: what was given on the command line, else the inventory's; a machine of ours is put back to a
    snapshot where nothing is said, and what runs anyway is left alone.

    Raises UsageError for one that cannot be done to it.
    """

    def wrong(problem: str) -> UsageError:
        if given is not None:
            return UsageError(f"--reset {given}, for host {host.name!r}: {problem}")
        return host.error(VARIABLE, problem)

    said = given if given is not None else host.setting(VARIABLE)
    if said is None:
        return Reset(ResetKind.SNAPSHOT if keeps_snapshots(spec) else ResetKind.NONE)
    try:
        reset = parse_reset(str(said))
    except ValueError as problem:
        raise wrong(str(problem)) from None
    if spec.machine is None and reset.kind in OF_MACHINES:
        raise wrong(
            f"it takes a machine that we start (qemu_image, …), and {host.name} runs by itself; over its link work "
            "none, unit:NAME and reboot"
        )
    if reset.kind is ResetKind.SNAPSHOT and not keeps_snapshots(spec):
        raise wrong(
            "a snapshot takes throw-away disks (qemu_disk_mode=overlay), at least one: a qemu_image or qemu_disks"
        )
    if reset.kind is ResetKind.COLD_BOOT and spec.machine is not None and spec.machine.start == "snapshot":
        raise wrong("a machine that is restored is not booted; qemu_start=boot boots it, and snapshot restores it anew")
    return reset


def keeps_snapshots(spec: TargetSpec) -> bool:
    """Whether a host is a machine of ours that can be saved and put back."""
    machine = spec.machine
    if machine is None or machine.persistent:
        return False
    return machine.recipe is not None or machine.image is not None or bool(machine.disks)
