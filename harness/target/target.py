"""What a check holds: one target, for the time of one attempt."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from harness.api.check import Never, NotYet, Skip
from harness.deadline import Deadline
from harness.events import Emitter
from harness.target.journal import JournalEntry, parse_journal
from harness.target.network import SshEndpoint
from harness.target.units import (
    PROPERTIES,
    IncompleteAnswer,
    Job,
    Standing,
    UnitState,
    explain_jobs,
    parse_jobs,
    parse_show,
)
from harness.transport.contract import CommandResult, FileResult

ERROR = 3
"""Syslog's priority of an error."""


class Commands(Protocol):
    """What a target needs of the link."""

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        stdin: bytes | None = None,
        transport: str | None = None,
        repeatable: bool = False,
    ) -> CommandResult: ...

    def put(
        self, data: bytes | Path, path: str, *, deadline: Deadline, mode: int = 0o600, transport: str | None = None
    ) -> FileResult: ...

    def get(self, path: str, *, deadline: Deadline, transport: str | None = None) -> FileResult: ...


@dataclass(frozen=True, slots=True)
class Target:
    """A host of the inventory made concrete. Nothing read from it is kept from one attempt to the next.

    Every method waits at most until the attempt's `deadline`, and raises the transports' typed errors
    (:mod:`harness.transport.errors`) when no transport serves.
    """

    name: str
    groups: tuple[str, ...]
    vars: Mapping[str, object]
    link: Commands
    deadline: Deadline
    events: Emitter
    transport: str | None = None
    endpoint: SshEndpoint | None = None
    transports: tuple[str, ...] = ()
    _hosts: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def run(
        self,
        command: str,
        *,
        stdin: bytes | None = None,
        timeout: float | None = None,
        transport: str | None = None,
    ) -> CommandResult:
        """Runs a command with the target's `sh`; the result is its own stdout, stderr and exit status, byte for byte.

        `timeout`, in seconds, shortens the attempt's deadline. `transport` insists on one. The command must be
        safe to run again:
        after a lost transport it is.
        """
        insisted = self._insisted(transport)
        deadline = self.deadline if timeout is None else self.deadline.clamp(timeout)
        return self.link.run(command, deadline=deadline, stdin=stdin, transport=insisted, repeatable=True)

    def read(self, command: str) -> str:
        """The text that a command prints. Raises :class:`~harness.NotYet` when it fails, with its words."""
        result = self.run(command)
        if not result.ok:
            raise NotYet(
                f"`{command}` ended with exit status {result.exit_status}: {result.err or result.out or 'no output'}"
            )
        return result.out

    def put(self, data: bytes | Path, path: str, *, mode: int = 0o600) -> None:
        """Writes a file on the target, verified before it takes its name. Raises :class:`~harness.NotYet` where it
        cannot be written (yet).
        """
        try:
            self.link.put(data, path, deadline=self.deadline, mode=mode, transport=self._insisted(None))
        except OSError as error:
            raise NotYet(f"{path} cannot be written on the target: {error}") from error

    def get(self, path: str) -> bytes:
        """Reads a file of the target, verified. Raises :class:`~harness.NotYet` where it cannot be read (yet)."""
        try:
            return self.link.get(path, deadline=self.deadline, transport=self._insisted(None)).content or b""
        except OSError as error:
            raise NotYet(f"{path} cannot be read on the target: {error}") from error

    def over(self, transport: str | None) -> Target:
        """The same target insisting on a transport, or (None) on none."""
        return replace(self, transport=transport)

    @property
    def ssh(self) -> SshEndpoint:
        """sshd as seen from outside. Skips the check when the host names no SSH endpoint."""
        if self.endpoint is None:
            raise Skip("the host has no SSH endpoint")
        return self.endpoint

    @property
    def host(self) -> Any:
        """pytest-testinfra's `host` (`service`, `package`, `file`, `socket`, `user`, …), asking over our link.

        It is the same one for as long as this target is held, and a new one in the next attempt.
        """
        if not self._hosts:
            from harness.target.host import TargetHost

            self._hosts.append(TargetHost(self))
        return self._hosts[0]

    def unit(self, name: str) -> UnitState:
        """One look at a systemd unit."""
        return self.units(name)[0]

    def units(self, *names: str) -> tuple[UnitState, ...]:
        """One look at many units, in one round trip, in the order of `names`."""
        quoted = " ".join(shlex.quote(name) for name in names)
        text = self._systemd(f"systemctl show -p {','.join(PROPERTIES)} -- {quoted}")
        try:
            states = parse_show(text)
        except IncompleteAnswer as error:
            raise NotYet(str(error)) from error
        if len(states) != len(names):
            raise NotYet(f"systemctl show answered for {len(states)} of {len(names)} units")
        return states

    def jobs(self) -> tuple[Job, ...]:
        """The manager's job queue."""
        return parse_jobs(self._systemd("systemctl list-jobs --no-legend --no-pager --full"))

    def unit_up(self, name: str) -> UnitState:
        """The unit's state when it is up with no job queued.

        Raises :class:`~harness.NotYet` with what it waits for, or :class:`~harness.Never` with its result and last
        words.
        """
        state = self.unit(name)
        match state.standing:
            case Standing.UP:
                return state
            case Standing.NEVER:
                raise Never(f"{name} {state.reason}{self._last_words(name)}")
            case _:
                waiting = explain_jobs(state.name, (state,), self.jobs()) if state.job else ""
                raise NotYet(waiting or f"{name} {state.reason}")

    def journal(self, *units: str, priority: int = 7, lines: int = 200) -> tuple[JournalEntry, ...]:
        """The last entries of the units' journals in this boot, up to this syslog priority. Globs are understood."""
        chosen = " ".join(f"-u {shlex.quote(unit)}" for unit in units)
        text = self._systemd(f"journalctl -b {chosen} -p {priority} -n {lines} -o json --no-pager")
        try:
            return parse_journal(text)
        except ValueError as error:
            raise NotYet(f"the journal of {', '.join(units)} could not be read: {error}") from error

    def _systemd(self, command: str) -> str:
        """As `read`, for systemd's own programs: skips the check where systemd is not the init."""
        result = self.run(command)
        if result.exit_status == 127 or b"not been booted with systemd" in result.stderr:
            raise Skip("the target is not run by systemd")
        if not result.ok:
            raise NotYet(
                f"`{command}` ended with exit status {result.exit_status}: {result.err or result.out or 'no output'}"
            )
        return result.out

    def note(self, message: str, **fields: Any) -> None:
        """Puts an event of the check's own into the record."""
        self.events.emit("check.note", message, **fields)

    def _insisted(self, transport: str | None) -> str | None:
        """The transport that is insisted on. Skips the check where the host does not have it."""
        insisted = transport or self.transport
        if insisted is not None and self.transports and insisted not in self.transports:
            raise Skip(f"the host has no transport {insisted!r}; it has {', '.join(self.transports)}")
        return insisted

    def _last_words(self, unit: str) -> str:
        """What the unit itself said last, as against what systemd said of it."""
        own = [e for e in self.journal(unit, lines=60) if e.identifier != "systemd" and e.message.strip()]
        unique = list(dict.fromkeys(entry.message.strip() for entry in own))
        if not unique:
            return ""
        return "; it said: " + " | ".join(unique[-4:])
