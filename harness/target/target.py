"""What a check holds: one target, for the time of one attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.api.check import Never, NotYet, Skip
from harness.deadline import Deadline
from harness.events import Emitter
from harness.events.fields import NOTE
from harness.target.console import ConsoleLines
from harness.target.faults import ActiveFaults
from harness.target.network import SshEndpoint
from harness.target.shared import SharedQuestions
from harness.target.standing import WINDOW, Standing
from harness.transport.contract import CommandResult, FileResult

# What asks the service manager is loaded when a check first asks it: many only run a command.
if TYPE_CHECKING:
    from harness.target.jobs import Job
    from harness.target.journal import JournalEntry
    from harness.target.observe import Listener
    from harness.target.services import ServiceState
    from harness.target.systemd import Manager
    from harness.target.units import UnitState
    from harness.target.why import Why

ERROR = 3
"""Syslog's priority of an error."""
_SHOWN = 120
"""Characters of a command that a message shows."""


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
    shared: SharedQuestions | None = None
    console: ConsoleLines | None = None
    active_faults: ActiveFaults | None = None
    probes: list[str] = field(default_factory=list, repr=False, compare=False)
    """What was asked of the target without a command: its network service, its console."""
    _hosts: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        # Its variables may hold secrets, and nobody wants to read them all.
        return f"<target {self.name}>"

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
            said = result.err or result.out or "no output"
            raise NotYet(f"`{_first_words(command)}` ended with exit status {result.exit_status}: {said}")
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
        self.probes.append("ssh")
        return self.endpoint

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that a soak does to the target at this moment, by name (`link-down`, …); none in a run."""
        return self.active_faults.names if self.active_faults is not None else ()

    @property
    def host(self) -> Any:
        """pytest-testinfra's `host` (`service`, `package`, `file`, `socket`, `user`, …), asking over our link.

        It is the same one for as long as this target is held, and a new one in the next attempt.
        """
        if not self._hosts:
            from harness.target.host import TargetHost

            self._hosts.append(TargetHost(self))
        return self._hosts[0]

    @property
    def systemd(self) -> Manager:
        """The system's manager."""
        from harness.target.systemd import Manager

        return Manager(self)

    def user_systemd(self, user: str) -> Manager:
        """A user's own manager (`systemctl --user`), asked as that user."""
        from harness.target.systemd import Manager

        return Manager(self, user)

    def unit(self, name: str) -> UnitState:
        """One look at a systemd unit."""
        return self.systemd.unit(name)

    def units(self, *names: str) -> tuple[UnitState, ...]:
        """One look at many units, in one round trip, in the order of `names`."""
        return self.systemd.units(*names)

    def jobs(self) -> tuple[Job, ...]:
        """The manager's job queue."""
        return self.systemd.jobs()

    def why(self, unit: str) -> Why:
        """Where a unit stands, all things considered, and why it is not up yet: what its job waits for, down to the
        root."""
        return self.systemd.why(unit)

    def unit_up(self, name: str) -> UnitState:
        """The unit's state when it is up with no job queued.

        Raises :class:`~harness.NotYet` with what it waits for, or :class:`~harness.Never` with its result and last
        words.
        """
        return self.systemd.up(name)

    def unit_settled(self, name: str, window: float = WINDOW) -> UnitState:
        """As `unit_up`, where the unit has also stayed the same for `window` seconds of the target's own clock."""
        return self.systemd.settled(name, window)

    def service(self, name: str) -> ServiceState:
        """A service, whatever starts services here: systemd, OpenRC, runit, or an init with scripts or an inittab.

        One round trip, or two under systemd.
        """
        from harness.target.services import UnknownService, judge_service, of_unit, service_command

        result = self.run(service_command(name))
        try:
            state = judge_service(name, result.out)
        except UnknownService as error:
            raise NotYet(str(error)) from error
        return state if state is not None else of_unit(name, self.why(name))

    def service_up(self, name: str) -> ServiceState:
        """As `unit_up`, for a service under any init."""
        state = self.service(name)
        if state.standing is Standing.NEVER:
            raise Never(str(state))
        if state.standing is not Standing.UP:
            raise NotYet(str(state))
        return state

    def listening(self, where: int | str, protocol: str = "tcp") -> tuple[Listener, ...]:
        """Who listens on a port (`protocol`: tcp or udp), or at the path of a Unix socket, as the kernel itself has it.

        Raises :class:`~harness.NotYet` with who does listen, where nobody does there.
        """
        from harness.target.observe import SOCKETS, parse_sockets
        from harness.target.values import listed

        table = self.run(SOCKETS)
        if not table.ok:
            raise NotYet(f"the kernel's table of sockets cannot be read: {table.err or 'no output'}")
        there = parse_sockets(table.out)
        if isinstance(where, str):
            protocol = "unix"
        same = [each for each in there if each.protocol == protocol]
        found = tuple(each for each in same if where == (each.address if protocol == "unix" else each.port))
        if not found:
            others = listed([str(each) for each in same], 10) or "nobody"
            raise NotYet(f"nobody listens on {protocol} {where}; listening there: {others}")
        return found

    def logged(self, pattern: str, *units: str, lines: int = 1000) -> JournalEntry:
        """The newest entry of the log whose message holds a regular expression, among the last `lines` of this boot: of
        the journal (of some units only), or where there is no systemd of `logread` or the usual files.

        Raises :class:`~harness.NotYet` where there is none.
        """
        from harness.target.observe import SYSLOG, last_match, parse_log

        try:
            entries = self.journal(*units, lines=lines)
        except Skip:
            entries = parse_log(self.run(SYSLOG.replace("@LINES@", str(lines))).out)
        found = last_match(entries, pattern)
        if found is None:
            newest = f"the newest is: {entries[-1]}" if entries else "it is empty"
            raise NotYet(f"no line of the log holds {pattern!r}; {newest}")
        return found

    def console_said(self, pattern: str) -> str:
        """The console's newest line of this run that holds a regular expression.

        Raises :class:`~harness.NotYet` where there is none. Skips the check where the host has no console.
        """
        if self.console is None:
            raise Skip("the host has no console")
        self.probes.append("console")
        found = self.console.last(pattern)
        if found is None:
            raise NotYet(f"the console has not said {pattern!r}; its last line is {self.console.newest!r}")
        return found

    def journal(self, *units: str, priority: int = 7, lines: int = 200) -> tuple[JournalEntry, ...]:
        """The last entries of the units' journals in this boot, up to this syslog priority. Globs are understood."""
        return self.systemd.journal(*units, priority=priority, lines=lines)

    def note(self, message: str, **fields: Any) -> None:
        """Puts an event of the check's own into the record; its fields stand below `harness.note.` there."""
        self.events.emit("check.note", message, **{f"{NOTE}{name}": value for name, value in fields.items()})

    def _insisted(self, transport: str | None) -> str | None:
        """The transport that is insisted on. Skips the check where the host does not have it."""
        insisted = transport or self.transport
        if insisted is not None and self.transports and insisted not in self.transports:
            raise Skip(f"the host has no transport {insisted!r}; it has {', '.join(self.transports)}")
        return insisted


def _first_words(command: str) -> str:
    """Return a command as a message shows it: a script, or a long line, by its beginning."""
    first = command.strip().partition("\n")[0]
    return command if first == command and len(command) <= _SHOWN else f"{first[:_SHOWN]} …"
