"""One fault done to one target, and undone: from outside through QEMU, from inside through a shell."""

from __future__ import annotations

from typing import Protocol

from harness.deadline import Deadline
from harness.errors import HarnessError, MachineError
from harness.machine.machine import Machine
from harness.soak.faults import programs
from harness.soak.faults.fault import Fault
from harness.target.faults import ActiveFaults
from harness.transport.contract import CommandResult
from harness.transport.errors import TransportError

WITHIN = 60.0
"""Seconds that doing a fault, or undoing it, may take."""
_ASK = 20.0
_REST = 0.3
_NET = "net"


class FaultError(HarnessError):
    """A fault could not be done, or not be undone."""


class Shell(Protocol):
    """What a fault needs of a link."""

    def run(self, command: str, *, deadline: Deadline, transport: str | None = None) -> CommandResult: ...


class Victim(Protocol):
    """What a fault needs of a session."""

    faults: ActiveFaults

    @property
    def machine(self) -> Machine | None: ...

    @property
    def link(self) -> Shell: ...

    def serve(self, transport: str, deadline: Deadline) -> None: ...


def begin(fault: Fault, victim: Victim, deadline: Deadline) -> None:
    """Does it. Raises FaultError (what it said), MachineError, TransportError, Cancelled."""
    if not fault.kind.machine:
        _inside(fault, programs.begin(fault), victim, deadline, again=False)
        return
    qmp = _machine(victim).qmp
    match fault.kind.name:
        case "link-down":
            qmp.execute("set_link", deadline=deadline, name=_NET, up=False)
        case "pause":
            qmp.execute("stop", deadline=deadline)
        case "reset":
            qmp.execute("system_reset", deadline=deadline)
        case other:
            raise FaultError(f"{other} is not done to a machine")


def undo(fault: Fault, victim: Victim, deadline: Deadline) -> None:
    """Undoes it, whatever has become of it. Raises as `begin` does."""
    if not fault.kind.machine:
        _inside(fault, programs.undo(fault), victim, deadline, again=True)
        return
    match fault.kind.name:
        case "link-down":
            _machine(victim).qmp.execute("set_link", deadline=deadline, name=_NET, up=True)
        case "pause":
            _machine(victim).qmp.execute("cont", deadline=deadline)


def wait_until_served(victim: Victim, transport: str, deadline: Deadline) -> None:
    """Waits until the target serves a command over its own first transport again. Raises TransportError at the
    deadline, Cancelled."""
    while True:
        try:
            victim.serve(transport, deadline.clamp(_ASK))
        except TransportError:
            if deadline.remaining() <= _REST:
                raise
            deadline.sleep(_REST)
        else:
            return


def _inside(fault: Fault, program: str, victim: Victim, deadline: Deadline, *, again: bool) -> None:
    """`again`: the program may be run a second time where nobody knows whether it was."""
    while True:
        try:
            result = victim.link.run(program, deadline=deadline.clamp(_ASK))
        except TransportError as error:
            if deadline.remaining() <= _REST or (error.may_have_run and not again):
                raise
            deadline.sleep(_REST)
            continue
        if not result.ok:
            raise FaultError(
                f"{fault.name}: exit status {result.exit_status}: {result.err or result.out or 'no words'}"
            )
        return


def _machine(victim: Victim) -> Machine:
    if victim.machine is None:
        raise MachineError("this fault takes a machine of ours")
    return victim.machine
