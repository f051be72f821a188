"""The saved machine that a target is restored from: found in the cache, or booted once, settled, and saved."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.api.check import Never, NotYet
from harness.deadline import Deadline
from harness.errors import MachineError
from harness.events import Emitter
from harness.events.emitter import NullEmitter
from harness.machine import snapshot
from harness.machine.cache import locked, remove_leftovers
from harness.machine.machine import Machine
from harness.machine.saved import SavedMachine, keep_saved, load_saved, remove_unused, saved_folder
from harness.target.console import ConsoleLines
from harness.target.settle import WINDOW, settled
from harness.target.target import Target
from harness.transport.contract import CommandResult, Result
from harness.transport.errors import TransportError

SETTLE_TIMEOUT = 120.0
"""Seconds for which a booted machine is given time to settle before it is saved as it is."""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
_ASK = 30.0
_REST = 0.5


class Saveable(Protocol):
    """What saving needs of a session that boots the machine."""

    @property
    def machine(self) -> Machine | None: ...

    @property
    def lines(self) -> ConsoleLines: ...

    def start(self, deadline: Deadline) -> None: ...

    def stop(self) -> None: ...

    def unlink(self) -> None: ...

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target: ...


def ensure_saved(
    key: str, boots: Callable[[Path], Saveable], *, name: str, events: Emitter, deadline: Deadline
) -> SavedMachine:
    """Return the saved machine with that key; where the cache has none, the session that `boots` makes (from a folder
    for its logs) boots it, waits until it has settled, and it is saved. When another process does so, waits for it.

    Raises MachineError (BootFailed), UsageError, Cancelled.
    """
    folder = saved_folder() / key
    if (saved := load_saved(folder)) is not None:
        return saved

    def waiting(holder: str) -> None:
        events.emit("machine.saving", f"{name}: process {holder} boots it to save it; waiting", machine_key=key)

    with locked(saved_folder() / f"{key}.lock", deadline=deadline, doing=f"saving {name}", waiting=waiting):
        if (saved := load_saved(folder)) is not None:
            return saved
        remove_unused(time.time())
        remove_leftovers(saved_folder(), key)
        events.emit(
            "machine.saving", f"{name}: no saved machine is in the cache; it is booted once to save it", machine_key=key
        )
        began = time.monotonic()
        work = saved_folder() / f".{key}.{os.getpid()}"
        session = boots(work / "logs")
        try:
            work.mkdir(mode=0o700)
            session.start(deadline)
            state = _settle(session, deadline)
            boot_id = _boot_id(session, deadline)
            # Nobody is logged in while it is saved, so nobody is when it is restored.
            session.unlink()
            machine = session.machine
            assert machine is not None, "a session that is started has a machine"
            snapshot.save(machine.qmp, deadline)
            # What QEMU keeps of its disks in memory is written when it stands still.
            machine.qmp.execute("stop", deadline=deadline)
            logs = [log for log in (machine.console_log, machine.uart_log) if log.exists()]
            saved = keep_saved(
                work / "saved", folder, disks=machine.disks, logs=logs, boot_id=boot_id, lines=session.lines.kept
            )
        except OSError as error:
            raise MachineError(
                f"{name} cannot be saved in {saved_folder()}: {error.strerror}", hint="free space and write access?"
            ) from error
        finally:
            session.stop()
            remove_leftovers(saved_folder(), key)
        took = time.monotonic() - began
        events.emit("machine.saved", f"{name} is saved after {took:.0f} s ({state})", machine_key=key, duration=took)
        return saved


def _settle(session: Saveable, deadline: Deadline) -> str:
    """Wait until it has settled, or will not; return the state in words."""
    until = deadline.clamp(SETTLE_TIMEOUT)
    held: float | None = None
    state = "it did not answer"
    while not until.expired:
        try:
            state = settled(_target(session, until))
        except Never as verdict:
            return str(verdict)
        except (NotYet, TransportError) as error:
            held, state = None, str(error)
        else:
            now = time.monotonic()
            held = now if held is None else held
            if now - held >= WINDOW:
                return state
        until.sleep(_REST)
    return f"not settled in {SETTLE_TIMEOUT:.0f} s: {state}"


def _boot_id(session: Saveable, deadline: Deadline) -> str:
    try:
        result: CommandResult = _target(session, deadline).run(BOOT_ID)
    except TransportError as error:
        raise MachineError(f"the machine cannot be saved: it runs no command: {error}") from error
    return result.out


def _target(session: Saveable, deadline: Deadline) -> Target:
    return session.target(deadline.clamp(_ASK), NullEmitter(), lambda result: None)
