"""Causes in the machine as a whole: its boot, its space, its memory, its processes. Pure."""

from __future__ import annotations

from harness.diagnosis.evidence import Evidence, TransportObservation
from harness.diagnosis.rules import ANY, Certainty, Found, StateRule
from harness.diagnosis.rules_account import settings_invalid
from harness.diagnosis.rules_network import qemu_state
from harness.diagnosis.text import listed
from harness.transport.errors import Contact

FULL_KB = 1024
"""A filesystem with less than so many kilobytes left is full for whoever writes more than a line."""
LITTLE_MEMORY = 0.03
"""The part of the memory that is left at least on a machine that works."""
MUCH_LOAD = 8.0
"""Runnable processes for each CPU from which on a login takes long."""


_SERVED = ANY - {Contact.HOST_KEY, Contact.HOST_KEY_UNKNOWN}


def maintenance(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or machine.system_state not in ("maintenance", "stopping"):
        return None
    del seen
    what = {
        "maintenance": "the machine is in its emergency or rescue mode, in which sshd does not run",
        "stopping": "the machine is shutting down",
    }[machine.system_state]
    return Found(what, Certainty.SHOWN, (f"systemctl is-system-running: {machine.system_state}",))


def disk_full(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None:
        return None
    del seen
    full = [each for each in machine.spaces if each.free_kb is not None and each.free_kb < FULL_KB]
    if full:
        return Found(
            f"the filesystem {listed([each.mount for each in full])} is full",
            Certainty.POSSIBLE,
            tuple(f"df: {each.free_kb} kB left on {each.mount}" for each in full),
        )
    out = [each for each in machine.spaces if each.free_inodes == 0]
    if out:
        return Found(
            f"the filesystem {listed([each.mount for each in out])} has no inodes left",
            Certainty.POSSIBLE,
            tuple(f"df -i: 0 inodes left on {each.mount}" for each in out),
        )
    return None


def short_of_memory(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or not machine.memory_total_kb or machine.memory_free_kb is None:
        return None
    del seen
    if machine.memory_free_kb > LITTLE_MEMORY * machine.memory_total_kb:
        return None
    return Found(
        f"the machine is short of memory: {machine.memory_free_kb // 1024} of {machine.memory_total_kb // 1024} MB are "
        "left",
        Certainty.POSSIBLE,
        ("/proc/meminfo",),
    )


def short_of_processes(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or not machine.threads or not machine.most_threads:
        return None
    del seen
    if machine.threads < 0.98 * machine.most_threads:
        return None
    return Found(
        f"the machine cannot start processes: {machine.threads} of {machine.most_threads} are in use",
        Certainty.SHOWN,
        ("/proc/loadavg and /proc/sys/kernel/pid_max",),
    )


def short_of_tasks(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """sshd's unit has as many processes as it may have: it cannot start one for a connection."""
    machine = evidence.machine
    if machine is None:
        return None
    del seen
    for unit in machine.units:
        if unit.tasks is not None and unit.most_tasks is not None and 0 < unit.most_tasks <= unit.tasks:
            return Found(
                f"{unit.name} cannot start a process for the connection: it has {unit.tasks} of at most "
                f"{unit.most_tasks} tasks (TasksMax)",
                Certainty.SHOWN,
                (f"TasksCurrent={unit.tasks}, TasksMax={unit.most_tasks}",),
            )
    return None


def busy(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or machine.load is None:
        return None
    del seen
    cpus = machine.cpus or 1
    if machine.load < MUCH_LOAD * cpus:
        return None
    return Found(
        f"the machine is busy: its load is {machine.load:g} on {cpus} CPU{'' if cpus == 1 else 's'}",
        Certainty.POSSIBLE,
        ("/proc/loadavg",),
    )


def read_only(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or not machine.root_read_only:
        return None
    del seen
    return Found("the machine's root file system is mounted read-only", Certainty.POSSIBLE, ("/proc/mounts",))


MACHINE_RULES: tuple[StateRule, ...] = (
    StateRule("machine-stopped", ANY, qemu_state),
    StateRule("maintenance", _SERVED, maintenance),
    StateRule("processes-exhausted", _SERVED, short_of_processes),
    StateRule("tasks-exhausted", _SERVED - {Contact.LOGIN_REFUSED}, short_of_tasks),
    StateRule("settings-invalid", _SERVED - {Contact.LOGIN_REFUSED}, settings_invalid, lasting=True),
    StateRule("disk-full", _SERVED, disk_full),
    StateRule("memory-short", _SERVED, short_of_memory),
    StateRule(
        "load", frozenset((Contact.SILENT, Contact.TIMED_OUT, Contact.LOGIN_TIMED_OUT, Contact.KEX, Contact.LOST)), busy
    ),
    StateRule("root-read-only", _SERVED, read_only),
)
