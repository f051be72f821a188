"""What this machine lets one process have, and how many targets and checks at once that is enough for.

The limits are read once, before anything is started: descriptors (RLIMIT_NOFILE, raised to its hard limit), threads
(RLIMIT_NPROC, the control group's `pids.max`) and memory (`MemAvailable`, the control group's `memory.max`,
RLIMIT_AS). Where they allow less than `--forks` and `--at-once` ask for, less is done at once; where they do not allow
one target, the run is refused with the figures.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engine.plan import Plan, number
from harness.errors import InfrastructureError
from harness.target.spec import TargetSpec

MOST_WORKERS = 512
"""Threads for attempts, where the machine's limits allow them. They are started as attempts need them: short ones share
a few. A wait between two attempts holds none, and what has to wait for a thread is not charged for it."""

RESERVED_DESCRIPTORS = 12
"""Descriptors beside those of targets: the event loop's, reports, checks' own files, programs that are started."""
RESERVED_THREADS = 8
RESERVED_MEMORY = 32 << 20
MOST_DESCRIPTORS = 1 << 20
"""Where the hard limit is higher, or there is none: a table of a million descriptors costs the kernel memory."""
_MANY_THREADS = 16384
_STACK = 8 << 20
_THREAD_MEMORY = 256 << 10
"""Bytes of a thread that are really used: measured, with paramiko's deepest call on its stack."""
_TARGET_MEMORY = 1 << 20


@dataclass(frozen=True, slots=True)
class Need:
    """What one target takes while it is worked on, beside worker threads."""

    descriptors: int
    threads: int
    memory: int = _TARGET_MEMORY


@dataclass(frozen=True, slots=True)
class Limits:
    """What is left for targets; None where nothing bounds it. `memory` is in bytes; `stack` is what each thread counts
    for in it."""

    descriptors: int | None = None
    threads: int | None = None
    memory: int | None = None
    stack: int = _THREAD_MEMORY


@dataclass(frozen=True, slots=True)
class Fit:
    """How much is done at once. `told` says, with the figures, why it is less than was asked for."""

    forks: int
    workers: int
    told: str = ""


def need_of(spec: TargetSpec) -> Need:
    """Return what a target needs: a connection's socket and the two of a wait for it, jump hosts, a console, QEMU."""
    descriptors, threads = 1, 0
    if spec.ssh is not None:
        jumps = spec.ssh.proxy_jump.count(",") + 1 if spec.ssh.proxy_jump else 0
        ways = 1 + jumps + (3 if spec.ssh.proxy_command else 0)
        descriptors, threads = descriptors + ways + 1, threads + ways
    if spec.serial is not None or spec.machine is not None:
        descriptors, threads = descriptors + 5, threads + 2
    if spec.machine is not None:
        descriptors, threads = descriptors + 6, threads + 1
    return Need(descriptors, threads)


def fit(limits: Limits, needs: Sequence[Need], forks: int, at_once: int, most_workers: int) -> Fit:
    """Return how many targets and worker threads go at once. Raises :class:`~harness.errors.InfrastructureError`, with
    the figures, where not one target does. Pure."""
    if not needs:
        return Fit(max(1, forks), 1)
    worst = Need(*(max(getattr(need, name) for need in needs) for name in ("descriptors", "threads", "memory")))
    wanted = max(1, min(forks, len(needs)))
    bounds: list[tuple[int, str]] = []
    if limits.descriptors is not None:
        bounds.append(
            (
                limits.descriptors // worst.descriptors,
                f"{limits.descriptors} file descriptors are left and a target needs {worst.descriptors} "
                "(raise `ulimit -n`)",
            )
        )
    if limits.threads is not None:
        # With one worker thread for each target a run goes on, if slowly.
        bounds.append(
            (
                limits.threads // (worst.threads + 1),
                f"{limits.threads} threads are left and a target needs {worst.threads + 1} "
                "(raise `ulimit -u`, or the container's pids limit)",
            )
        )
    if limits.memory is not None:
        each = worst.memory + (worst.threads + 1) * limits.stack
        bounds.append(
            (
                limits.memory // each,
                f"{limits.memory >> 20} MiB of memory are left and a target needs {max(1, each >> 20)}",
            )
        )
    most, why = min(bounds, default=(wanted, ""))
    if most < 1:
        raise InfrastructureError(f"this machine has no room for one target: {why}")
    told = f"{most} targets at once and not {wanted}: {why}" if most < wanted else ""
    count = min(wanted, most)
    workers = min(most_workers, max(1, count) * at_once + 2)
    if limits.threads is not None:
        workers = min(workers, max(1, limits.threads - count * worst.threads))
    if limits.memory is not None:
        left = limits.memory - count * (worst.memory + worst.threads * limits.stack)
        workers = min(workers, max(1, left // limits.stack))
    # `forks` beyond the number of targets change nothing: what was asked for stays.
    return Fit(min(forks, most) if most < wanted else max(1, forks), workers, told)


def fit_plan(plan: Plan, *, all_open: bool = False) -> Fit:
    """Raise the limits that may be raised, and return what they leave room for. With `all_open` every target keeps its
    connection while others are worked on, as in a soak. Raises :class:`~harness.errors.InfrastructureError`."""
    raise_descriptors()
    options = plan.options
    at_once = options.at_once or int(max((number(each.host, "checks_at_once") for each in plan.targets), default=1))
    needs = [need_of(each.spec) for each in plan.targets]
    limits = limits_now()
    if all_open:
        whole = fit(limits, needs, len(needs), at_once, MOST_WORKERS)
        if whole.told:
            raise InfrastructureError(
                f"a soak keeps all its {len(needs)} targets open: {whole.told}", hint="Or name fewer with --limit."
            )
    return fit(limits, needs, options.forks, at_once, MOST_WORKERS)


# -- what the system says ----------------------------------------------------------------------------------------------


def raise_descriptors() -> None:
    """Raise the soft limit of descriptors to the hard one: the soft one is low for the sake of programs that use
    select(2), which harness does not for what it may have many of."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return  # a sandbox may forbid it: what there is is what counts


def limits_now() -> Limits:
    """Return what is left now of what this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = None
    if soft != resource.RLIM_INFINITY:
        descriptors = max(0, soft - _open_descriptors() - RESERVED_DESCRIPTORS)
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    memory, stack = _free_memory(), _THREAD_MEMORY
    if address_space != resource.RLIM_INFINITY:
        used = _number(Path("/proc/self/statm").read_text().split()[0]) or 0
        left = address_space - used * os.sysconf("SC_PAGE_SIZE")
        if memory is None or left < memory:
            stack_limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
            memory = left
            stack = threading.stack_size() or (_STACK if stack_limit == resource.RLIM_INFINITY else stack_limit)
    if memory is not None:
        memory = max(0, memory - RESERVED_MEMORY)
    return Limits(descriptors, _free_threads(), memory, stack)


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 16


def _free_threads() -> int | None:
    found: list[int] = []
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    # Root is not bound by it: see getrlimit(2). What is high is not worth counting all threads of the user for.
    if soft != resource.RLIM_INFINITY and soft < _MANY_THREADS and os.geteuid() != 0:
        found.append(soft - _threads_of_user(os.getuid()))
    for folder in _control_groups():
        most, now = _read_number(folder / "pids.max"), _read_number(folder / "pids.current")
        if most is not None and now is not None:
            found.append(most - now)
    return max(0, min(found) - RESERVED_THREADS) if found else None


def _threads_of_user(uid: int) -> int:
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    count += len(os.listdir(f"/proc/{entry.name}/task"))
            except OSError:
                continue
    return count


def _free_memory() -> int | None:
    found: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) << 10)
    except OSError:
        pass
    for folder in _control_groups():
        most, now = _read_number(folder / "memory.max"), _read_number(folder / "memory.current")
        if most is not None and now is not None:
            # Cached files count as used there, and are given up when memory is wanted.
            found.append(most - now + _cached(folder))
    return min(found) if found else None


def _cached(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("active_file ", "inactive_file ")))


def _control_groups() -> list[Path]:
    """The folders of this process's control group (version 2) and of those above it."""
    try:
        own = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    place = next((line.removeprefix("0::") for line in own if line.startswith("0::")), None)
    if place is None:
        return []
    root = Path("/sys/fs/cgroup")
    folder = root / place.lstrip("/")
    inside = [folder, *folder.parents]
    return [each for each in inside if each == root or root in each.parents]


def _read_number(path: Path) -> int | None:
    try:
        return _number(path.read_text())
    except OSError:
        return None


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None
