"""How a target is put back into a known state between two iterations."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.events import Emitter
from harness.machine import snapshot
from harness.machine.machine import Machine
from harness.target.console import ConsoleLines
from harness.target.reset import Reset, ResetKind
from harness.transport.contract import CommandResult
from harness.transport.errors import TransportError

RESTORE_TIMEOUT = 60.0
"""Seconds that restoring a snapshot may take, up to the first answer."""
REBOOT_TIMEOUT = 600.0
"""Seconds that a machine which is none of ours may take to boot anew."""
_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
_ASK = 15.0
_REST = 0.2
# In the background and a moment later, so that the answer and the farewell get out before the network goes.
_REBOOT = "(sleep 1; systemctl reboot || reboot) </dev/null >/dev/null 2>&1 &"


class Commands(Protocol):
    """What a reset needs of a link."""

    def run(
        self, command: str, *, deadline: Deadline, stdin: bytes | None = None, repeatable: bool = False
    ) -> CommandResult: ...


class Renewable(Protocol):
    """What a reset needs of a session."""

    @property
    def machine(self) -> Machine | None: ...

    @property
    def link(self) -> Commands: ...

    @property
    def lines(self) -> ConsoleLines: ...

    def start(self, deadline: Deadline) -> None: ...

    def stop(self) -> None: ...

    def unlink(self) -> None: ...

    def restart(self, deadline: Deadline, load: Callable[[], None]) -> None: ...

    def relink(self) -> None: ...

    def watch_boot(self, ready: Callable[[], None], deadline: Deadline) -> None: ...


@dataclass(frozen=True, slots=True)
class _Saved:
    """A machine as it was saved: which boot it was, and what its console had said until then."""

    boot_id: str
    lines: tuple[str, ...]


class Renewal:
    """The resets of one session. After each there is a new link: no connection and no shell outlives it."""

    def __init__(self, session: Renewable, name: str, events: Emitter) -> None:
        self._session = session
        self._name = name
        self._events = events
        self._saved: _Saved | None = None
        self._ways: dict[ResetKind, Callable[[Reset, Deadline], None]] = {
            ResetKind.UNIT: self._restart_unit,
            ResetKind.REBOOT: self._reboot,
            ResetKind.POWER_CYCLE: self._power_cycle,
            ResetKind.COLD_BOOT: self._cold_boot,
            ResetKind.SNAPSHOT: self._restore,
        }

    def reset(self, reset: Reset, deadline: Deadline) -> None:
        """Does it, and is back when the target answers again. Raises MachineError (BootFailed), TransportError,
        Cancelled."""
        if reset.kind is ResetKind.NONE:
            return
        began = time.monotonic()
        self._events.emit("reset.start", f"{self._name}: reset by {reset}", level="debug", reset=str(reset))
        self._ways[reset.kind](reset, deadline)
        duration = time.monotonic() - began
        told = f"{self._name}: {reset} took {duration:.2f} s"
        self._events.emit("reset.end", told, duration=duration, reset=str(reset))

    def save(self, deadline: Deadline) -> None:
        """Saves the machine as it stands. Nobody is logged in while that is done, so nobody is afterwards."""
        began = time.monotonic()
        machine = self._machine()
        boot_id = self._ask(_BOOT_ID, deadline).out
        self._session.unlink()
        snapshot.save(machine.qmp, deadline)
        self._saved = _Saved(boot_id, self._session.lines.kept)
        self._session.relink()
        duration = time.monotonic() - began
        self._events.emit("snapshot.saved", f"{self._name} is saved, after {duration:.2f} s", duration=duration)

    # -- the ways ------------------------------------------------------------------------------------------------

    def _restart_unit(self, reset: Reset, deadline: Deadline) -> None:
        result = self._ask(f"systemctl restart {shlex.quote(reset.unit)}", deadline)
        if not result.ok:
            # The checks will say what that means; it is theirs to say.
            words = f"{self._name}: {reset.unit} could not be restarted: {result.err or result.out}"
            self._events.emit("reset.refused", words, level="warning", reset=str(reset))

    def _reboot(self, _reset: Reset, deadline: Deadline) -> None:
        machine = self._session.machine
        before = self._ask(_BOOT_ID, deadline).out
        if machine is not None:
            machine.qmp.events(deadline=deadline.clamp(0.01))  # those from before
        self._ask(_REBOOT, deadline)
        self._session.unlink()
        self._session.lines.forget()
        if machine is not None:
            self._wait_for_reset(machine, deadline)
            self._session.watch_boot(lambda: None, deadline)
            self._session.relink()
            return
        self._session.relink()
        while True:
            try:
                if self._session.link.run(_BOOT_ID, deadline=deadline.clamp(_ASK)).out not in ("", before):
                    return
            except TransportError:
                deadline.check(f"waiting for {self._name} to boot anew")
            deadline.sleep(1.0)
            deadline.check(f"waiting for {self._name} to boot anew")

    def _wait_for_reset(self, machine: Machine, deadline: Deadline) -> None:
        while not any(event["event"] == "RESET" for event in machine.qmp.events(deadline=deadline.clamp(1.0))):
            if not machine.alive:
                raise MachineError(f"{self._name} has powered itself off when it was to reboot")
            deadline.check(f"waiting for {self._name} to reboot")

    def _power_cycle(self, _reset: Reset, deadline: Deadline) -> None:
        machine = self._machine()
        self._session.unlink()
        qmp = machine.qmp
        qmp.execute("stop", deadline=deadline)
        qmp.execute("system_reset", deadline=deadline)
        self._session.lines.forget()
        self._session.watch_boot(lambda: machine.resume(deadline), deadline)
        self._session.relink()

    def _cold_boot(self, _reset: Reset, deadline: Deadline) -> None:
        self._session.stop()
        self._session.lines.forget()
        self._saved = None
        self._session.start(deadline)

    def _restore(self, _reset: Reset, deadline: Deadline) -> None:
        machine, saved = self._machine(), self._saved
        if saved is None:
            raise MachineError(f"{self._name} was not saved, so it cannot be restored")
        deadline = deadline.clamp(RESTORE_TIMEOUT)
        # A new QEMU: in one that has run on, the CPUs' time stamp counters are not put back (it keeps them from going
        # backwards: cpu_get_ticks in softmmu/cpu-timers.c), so the kernel would see all that time pass at once.
        self._session.restart(deadline, lambda: snapshot.load(machine.qmp, deadline))
        self._session.lines.forget(saved.lines)
        machine.resume(deadline)
        self._session.relink()
        self.wake(saved.boot_id, deadline)

    def wake(self, saved: str, deadline: Deadline) -> None:
        """Waits until a machine that was put back answers, and sets its clock; `saved` is the id of the boot that it
        must be. Raises MachineError, TransportError, Cancelled."""
        boot_id = self._ask(_BOOT_ID, deadline).out
        if boot_id != saved:
            raise MachineError(
                f"{self._name} is not the boot that was saved: its boot id is {boot_id}, and was {saved}"
            )
        self._set_clock(deadline)

    def _set_clock(self, deadline: Deadline) -> None:
        """The rewound guest believes that it is still the time at which it was saved."""
        # The connection stands, so the answer is as quick as it can be. A busybox may know no fractions.
        now = time.time()
        result = self._ask(f"date -u -s @{now:.3f} || date -u -s @{now:.0f}", deadline)
        if not result.ok:
            words = f"{self._name}: its clock stays behind: {result.err or result.out}"
            self._events.emit("reset.clock_behind", words, level="warning")

    # -- parts ---------------------------------------------------------------------------------------------------

    def _machine(self) -> Machine:
        machine = self._session.machine
        if machine is None:
            raise MachineError(f"{self._name} is no machine of ours")
        return machine

    def _ask(self, command: str, deadline: Deadline) -> CommandResult:
        """A command's answer, over the first transport that gives one in time."""
        while True:
            try:
                return self._session.link.run(command, deadline=deadline.clamp(_ASK), repeatable=True)
            except TransportError:
                if deadline.remaining() <= _REST:
                    raise
                deadline.sleep(_REST)
