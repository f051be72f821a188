"""A target's life in a run: its machine, its console, its link; from power-on to power-off."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.events import Emitter
from harness.events.emitter import NullEmitter
from harness.inventory import Host
from harness.target.console import ConsoleLines
from harness.target.counted import CountedLink
from harness.target.faults import ActiveFaults
from harness.target.network import SshEndpoint
from harness.target.shared import SharedQuestions
from harness.target.spec import TargetSpec, connection_variables
from harness.target.target import Target
from harness.transport.contract import Followed, Result, Transport
from harness.transport.errors import TransportError, Unavailable
from harness.transport.link import Link
from harness.transport.ssh.keyring import Keyring
from harness.transport.ssh.transport import SshTransport

# A host with neither a console nor a machine of ours is to cost nothing of those two: their rooms are opened when a
# session needs them.
if TYPE_CHECKING:
    from harness.machine.machine import Machine
    from harness.target.machine import Secrets, TargetMachine
    from harness.target.renewal import Renewal
    from harness.target.reset import Reset
    from harness.transport.serial.console import Console, LockWait
    from harness.transport.ssh.spec import SshSpec

ATTACH_TIMEOUT = 60.0
"""Seconds that attaching to what already runs may take; it opens nothing, so it takes none."""
LISTEN_TIMEOUT = 5.0
"""Seconds within which the console of a machine that is up is had, or is not heard for now."""
PROBE_TIMEOUT = 2.0
MANAGER_WORDS = "journalctl -q -f -n 0 -o cat -t systemd"
"""What the service managers (PID 1's and the users') say of their units, as they say it."""


class TargetSession:
    """One target in one run. Methods block; `start` comes first, `stop` or `keep` last, whatever happened between."""

    def __init__(
        self,
        host: Host,
        spec: TargetSpec,
        *,
        folder: Path,
        events: Emitter,
        run: str,
        secrets: Secrets,
        keyring: Keyring | None = None,
        ups: Path | None = None,
        hears: bool = True,
        lock_wait: LockWait | None = None,
    ) -> None:
        """`ups` is the folder in which the machines that are up are found: one that is up already is used, and left
        up. Without it the machine is always one of our own. Without `hears` the console of what already runs is
        opened only when it is needed, so that others can have it. `lock_wait` says how long a console that somebody
        else holds is waited for."""
        self._host = host
        self._spec = spec
        self._folder = folder
        self._events = events
        self._run = run
        self._keyring = keyring
        self._hears = hears
        self._lock_wait = lock_wait
        self._secrets = secrets
        self._own: TargetMachine | None = None
        if spec.machine is not None:
            from harness.target.machine import TargetMachine

            self._own = TargetMachine(
                spec.machine, name=spec.name, folder=folder, events=events, run=run, secrets=secrets, ups=ups
            )
        self._console: Console | None = None
        self._lines = ConsoleLines(events)
        self._link: Link | None = None
        self._past: Counter[str] = Counter()
        self._shared = SharedQuestions()
        self._ssh = spec.ssh
        self._serial = spec.serial
        self._renewals: Renewal | None = None
        self.faults = ActiveFaults()
        """What is being done to the target on purpose; told to its checks."""

    @property
    def spec(self) -> TargetSpec:
        """What it was made from."""
        return self._spec

    # -- life ---------------------------------------------------------------------------------------------------

    @property
    def start_timeout(self) -> float:
        """Seconds that `start` may take: the image and the boot."""
        return self._own.start_timeout if self._own is not None else ATTACH_TIMEOUT

    def start(self, deadline: Deadline) -> None:
        """Starts the machine, where there is one, watches it boot, and lays the link.

        Raises MachineError (with the console's last lines), UsageError, Cancelled. Where the machine already runs
        its console is heard from now on; what else is needed the link opens.
        """
        if self._own is not None:
            if not self.attach(deadline):
                self._own.prepare(deadline)
                if self._own.spec.start == "snapshot":
                    self._restore(self._own, deadline)
                else:
                    self._boot(self._own, deadline)
                    self.relink()
            return
        if self._serial is not None:
            log = self._folder / "console.log"
            self._console = self._new_console(self._serial.address, baudrate=self._serial.baudrate, raw_log=log)
            self._listen(self._console, deadline)
        self.relink()

    def attach(self, deadline: Deadline) -> bool:
        """Attaches to the described machine if it is up already; False, with nothing done, if it is not. What is up
        stays up, whatever becomes of us, and its console's log stays where it is."""
        if self._own is None or not self._own.find():
            return False
        self._reach(self._own)
        self._console = self._new_console(self._own.started.console_address)
        self._listen(self._console, deadline.clamp(LISTEN_TIMEOUT))
        self.relink()
        return True

    def reset(self, reset: Reset, deadline: Deadline) -> None:
        """Puts the started target back into a known state; see :class:`~harness.target.renewal.Renewal`."""
        self._renewal().reset(reset, deadline)

    def save(self, deadline: Deadline) -> None:
        """Saves the machine as it stands now, for the reset that restores it."""
        self._renewal().save(deadline)

    def stop(self) -> None:
        """Gives everything back, and ends the machine that `start` started. Safe to call at any time."""
        try:
            self._hang_up()
        finally:
            if self._own is not None:
                self._own.stop()

    def keep(self, seconds: float | None = None) -> tuple[str, ...]:
        """Hangs up and leaves the machine running, for so many seconds or until somebody ends it; returns what a
        person needs to reach it, line by line."""
        self._hang_up()
        return self._own.keep(seconds) if self._own is not None else ()

    # -- what the engine asks -----------------------------------------------------------------------------------

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target:
        """The target for one attempt: waits until `deadline`, records as `events`, tells each answer to `on_result`."""
        assert self._link is not None, "a session is started before it is used"
        endpoint = None
        if self._ssh is not None:
            inner = self._own.guest_ssh_port if self._own is not None else None
            endpoint = SshEndpoint(self._ssh, deadline, events, self._keyring, inner)
        return Target(
            name=self._spec.name,
            groups=self._host.groups,
            vars=self._host.vars,
            link=CountedLink(self._link, on_result, events),
            deadline=deadline,
            events=events,
            endpoint=endpoint,
            transports=self._spec.transports,
            console=self._lines if self._console is not None else None,
            shared=self._shared,
            active_faults=self.faults,
        )

    def follow(self, deadline: Deadline, on_word: Callable[[], None]) -> Followed | None:
        """Follows the manager's own words, and calls `on_word` at each; None where the transport in use cannot."""
        if self._link is None:
            return None
        return self._link.follow(MANAGER_WORDS, deadline=deadline, on_word=on_word)

    @property
    def stages(self) -> tuple[tuple[str, float], ...]:
        """The boot's stages, with seconds since power-on."""
        return self._own.stages if self._own is not None else ()

    @property
    def counts(self) -> Mapping[str, int]:
        """What its links have counted: commands, fallbacks, re-reads, …"""
        counts = Counter(self._past)
        counts.update(self._link.counts if self._link is not None else {})
        return counts

    @property
    def console_log(self) -> str:
        """Where the raw console log lies; empty when there is none."""
        log = self.console_log_path
        return str(log) if log.exists() else ""

    @property
    def qemu_state(self) -> str:
        """QEMU's run state (`query-status`); empty where it is not known, or this run did not start it."""
        return self._own.qemu_state if self._own is not None else ""

    @property
    def broken(self) -> str:
        """What carries the target has failed, and how; empty while it has not, or nothing of ours carries it."""
        return self._own.broken if self._own is not None else ""

    def serve(self, transport: str, deadline: Deadline) -> None:
        """Returns where that transport serves: a command is answered, and sshd takes a new connection too, for an old
        one says nothing of it. Raises TransportError, Cancelled."""
        if transport == "ssh" and self._ssh is not None and self._own is not None:
            self._read_banner(self._ssh, deadline.clamp(PROBE_TIMEOUT))
        self.link.run(":", deadline=deadline, transport=transport)

    def turn_over(self) -> None:
        """Turns the console's raw log over where it has grown large; the machine stands still for that moment, so not a
        byte is lost. Raises OSError, MachineError."""
        if self._own is not None:
            self._own.turn_over()
        elif self._console is not None:
            self._console.turn_over()

    # -- what a reset asks --------------------------------------------------------------------------------------

    @property
    def machine(self) -> Machine | None:
        """The machine of ours, once it is started; None where it runs by itself."""
        return self._own.machine if self._own is not None else None

    @property
    def raw_console(self) -> Console:
        """The console itself, for what is no command: open or not, to be used once attached. Raises UsageError where
        the target has none."""
        if self._console is None:
            raise UsageError(
                f"host {self._spec.name!r} has no serial console",
                source=self._host.source("serial_socket"),
                hint="Its variables name none: serial_socket is a socket's path, a device, or socket://HOST:PORT.",
            )
        return self._console

    @property
    def console_log_path(self) -> Path:
        """Where every byte of the console is logged, by QEMU itself or by us."""
        machine = self.machine
        return machine.console_log if machine is not None else self._folder / "console.log"

    @property
    def link(self) -> Link:
        """The link in use. Only once it is started."""
        assert self._link is not None, "a session is started before it is used"
        return self._link

    @property
    def lines(self) -> ConsoleLines:
        """What the console has said since the boot."""
        return self._lines

    def unlink(self) -> None:
        """Closes the link: logs out, gives the connections back. The console is still heard."""
        if self._link is not None:
            self._past.update(self._link.counts)
            link, self._link = self._link, None
            link.close()

    def relink(self) -> None:
        """A new link, with nothing left of the one before."""
        self.unlink()
        self._shared = SharedQuestions()
        serial = self._spec.serial
        unauthenticated = ("serial",) if serial is not None and not serial.authenticated else ()
        self._link = Link(
            self._transports(), events=self._events, name=self._spec.name, unauthenticated=unauthenticated
        )

    def restart(self, deadline: Deadline, load: Callable[[], None]) -> None:
        """Ends QEMU and starts a new one with the same disks; `load` fills it before its console is opened. Its CPUs
        stand still. Raises MachineError, Unavailable, Cancelled."""
        own, console = self._ours()
        self._hang_up()
        own.started.restart(deadline)
        load()
        self._reach(own)
        console.open(deadline)

    def watch_boot(self, ready: Callable[[], None], deadline: Deadline) -> None:
        """Waits until the machine of ours is up; `ready` lets it run, or has done so. Raises BootFailed, Cancelled."""
        own, console = self._ours()
        own.watch_boot(console, self._ssh_answers, ready, deadline)

    # -- parts --------------------------------------------------------------------------------------------------

    def _ours(self) -> tuple[TargetMachine, Console]:
        assert self._own is not None, "it has a machine of ours"
        assert self._console is not None, "a machine of ours has a console, once it is started"
        return self._own, self._console

    def _renewal(self) -> Renewal:
        if self._renewals is None:
            from harness.target.renewal import Renewal

            self._renewals = Renewal(self, self._spec.name, self._events)
        return self._renewals

    def _boot(self, own: TargetMachine, deadline: Deadline) -> None:
        own.power_on(deadline)
        # Its CPUs wait until we listen: not a byte of the console is missed.
        boot_deadline = deadline.clamp(own.spec.boot_timeout)
        self._reach(own)
        self._console = self._new_console(own.started.console_address)
        self._console.open(boot_deadline)
        self.watch_boot(lambda: own.started.resume(boot_deadline), deadline)

    def _restore(self, own: TargetMachine, deadline: Deadline) -> None:
        """Goes on from the saved machine; one that is not in the cache is booted and saved first."""
        from harness.target.saving import ensure_saved

        key = own.key(deadline)
        saved = ensure_saved(key, self._that_boots, name=self._spec.name, events=self._events, deadline=deadline)
        began = time.monotonic()
        own.power_on(deadline, saved)
        self._reach(own)
        self._console = self._new_console(own.started.console_address)
        self._console.open(deadline)
        self._lines.forget(saved.lines)
        own.started.resume(deadline)
        self.relink()
        self._renewal().wake(saved.boot_id, deadline)
        duration = time.monotonic() - began
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(saved.at))
        self._events.emit(
            "machine.restored",
            f"{self._spec.name} was saved on {when}, and is restored after {duration:.1f} s",
            machine_key=key,
            duration=duration,
        )

    def _that_boots(self, folder: Path) -> TargetSession:
        """A session that boots the same machine, whatever is up, and records nothing."""
        assert self._spec.machine is not None
        spec = replace(self._spec, machine=replace(self._spec.machine, start="boot"))
        return TargetSession(
            self._host,
            spec,
            folder=folder,
            events=NullEmitter(),
            run=self._run,
            secrets=self._secrets,
            keyring=self._keyring,
        )

    def _listen(self, console: Console, deadline: Deadline) -> None:
        """What a console says counts at any time, whatever serves the commands. One that cannot be had now is opened
        when it is needed.
        """
        if not self._hears:
            return
        try:
            console.open(deadline)
        except Unavailable as error:
            self._events.emit(
                "console.unheard",
                f"{self._spec.name}: its console is not heard until it is needed: {error.message}",
                level="warning",
                cause=str(error.cause),
            )

    def _reach(self, own: TargetMachine) -> None:
        """Takes what only a machine of ours can know: its port, its keys, its console, its password."""
        if self._ssh is not None:
            self._ssh = own.ssh(self._ssh)
        self._serial = own.serial(connection_variables(self._host))

    def _new_console(self, address: str, *, baudrate: int = 115200, raw_log: Path | None = None) -> Console:
        from harness.transport.serial.console import Console

        console = Console(
            address,
            name=self._spec.name,
            baudrate=baudrate,
            events=self._lines,
            raw_log=raw_log,
            owner=self._run,
            kept_log=self.console_log_path,
            lock_wait=self._lock_wait,
        )
        if self._serial is not None and self._serial.hands_off:
            from harness.transport.serial.spec import HANDS_OFF

            console.hands_off = HANDS_OFF
        return console

    def _transports(self) -> list[Transport]:
        found: list[Transport] = []
        for name in self._spec.transports:
            if name == "ssh" and self._ssh is not None:
                found.append(SshTransport(self._ssh, events=self._events, keyring=self._keyring))
            elif name == "serial" and self._serial is not None and self._console is not None:
                from harness.transport.serial.transport import SerialTransport

                found.append(SerialTransport(self._console, self._serial, events=self._events))
        return found

    def _ssh_answers(self) -> bool:
        """Whether sshd says its name already: then the boot is far enough, whatever the console does."""
        if self._ssh is None or "ssh" not in self._spec.transports:
            return False
        try:
            self._read_banner(self._ssh, Deadline.after(PROBE_TIMEOUT))
        except TransportError:
            return False
        return True

    @staticmethod
    def _read_banner(ssh: SshSpec, deadline: Deadline) -> None:
        from harness.transport.ssh import probe

        probe.read_banner(ssh.host, ssh.port, deadline)

    def _hang_up(self) -> None:
        self.unlink()
        if self._console is not None:
            self._console.close()
