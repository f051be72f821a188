"""A target's life in a run: its machine, its console, its link; from power-on to power-off."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import MachineError, UsageError
from harness.events import Emitter
from harness.inventory import Host
from harness.machine.boot_wait import wait_for_boot
from harness.machine.image import Image, ensure_image, load_image
from harness.machine.machine import Machine
from harness.machine.spec import MachineSpec
from harness.machine.up import find
from harness.target.console import ConsoleLines
from harness.target.counted import CountedLink
from harness.target.faults import ActiveFaults
from harness.target.network import SshEndpoint
from harness.target.renewal import Renewal
from harness.target.reset import Reset
from harness.target.shared import SharedQuestions
from harness.target.spec import TargetSpec, connection_variables
from harness.target.target import Target
from harness.transport.contract import Followed, Result, Transport
from harness.transport.errors import TransportError, Unavailable
from harness.transport.link import Link
from harness.transport.serial.console import Console
from harness.transport.serial.spec import SerialSpec
from harness.transport.serial.transport import SerialTransport
from harness.transport.ssh import probe as ssh_probe
from harness.transport.ssh.hostkeys import parse_public_keys
from harness.transport.ssh.keyring import Keyring
from harness.transport.ssh.transport import SshTransport
from harness.turnover import is_due, turn_over

IMAGE_TIMEOUT = 1800.0
"""Seconds that building an image may take; they are not part of the boot's time."""
ATTACH_TIMEOUT = 60.0
"""Seconds that attaching to what already runs may take; it opens nothing, so it takes none."""
LISTEN_TIMEOUT = 5.0
"""Seconds within which the console of a machine that is up is had, or is not heard for now."""
PROBE_TIMEOUT = 2.0
SSH_HEAD_START = 10.0
"""Seconds after sshd's first answer at which a boot counts as done without a login prompt on the console: mostly the
prompt comes a moment later, and then the console can serve too."""
MANAGER_WORDS = "journalctl -q -f -n 0 -o cat -t systemd"
"""What the service managers (PID 1's and the users') say of their units, as they say it."""

_BAD = ("io-error", "internal-error")
"""States in which QEMU has stopped a machine because of what is below it."""


class Secrets(Protocol):
    """Where values go that must not be shown from now on."""

    def add_secret(self, secret: str) -> None: ...


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
    ) -> None:
        """`ups` is the folder in which the machines that are up are found: one that is up already is used, and left
        up. Without it the machine is always one of our own. Without `hears` the console of what already runs is
        opened only when it is needed, so that others can have it."""
        self._host = host
        self._spec = spec
        self._folder = folder
        self._events = events
        self._run = run
        self._secrets = secrets
        self._keyring = keyring
        self._ups = ups
        self._hears = hears
        self._image: Image | None = None
        self._machine: Machine | None = None
        self._console: Console | None = None
        self._lines = ConsoleLines(events)
        self._link: Link | None = None
        self._past: Counter[str] = Counter()
        self._shared = SharedQuestions()
        self._ssh = spec.ssh
        self._serial = spec.serial
        self._stages: tuple[tuple[str, float], ...] = ()
        self._renewal = Renewal(self, spec.name, events)
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
        if self._spec.machine is None:
            return ATTACH_TIMEOUT
        return self._spec.machine.boot_timeout + (IMAGE_TIMEOUT if self._spec.machine.recipe else 0.0)

    def start(self, deadline: Deadline) -> None:
        """Starts the machine, where there is one, watches it boot, and lays the link.

        Raises MachineError (with the console's last lines), UsageError, Cancelled. Where the machine already runs
        its console is heard from now on; what else is needed the link opens.
        """
        if self._spec.machine is not None:
            if not self.attach(deadline):
                self._boot(self._spec.machine, deadline)
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
        spec = self._spec.machine
        up = find(self._ups, self._folder.name) if self._ups is not None and spec is not None else None
        if up is None or spec is None:
            return False
        self._machine = Machine.that_is(up, spec, events=self._events)
        self._image = load_image(up.image) if up.image is not None else None
        if self._image is not None:
            self._secrets.add_secret(self._image.password)
        self._reach_by(self._machine)
        self._console = self._new_console(up.console_address)
        self._events.emit(
            "machine.attached",
            f"{up.name} is up already (QEMU is process {up.pid}, SSH on port {up.ssh_port}); it stays up",
            pid=up.pid,
            ssh_port=up.ssh_port,
            console_address=up.console_address,
        )
        self._listen(self._console, deadline.clamp(LISTEN_TIMEOUT))
        self.relink()
        return True

    def reset(self, reset: Reset, deadline: Deadline) -> None:
        """Puts the started target back into a known state; see :class:`~harness.target.renewal.Renewal`."""
        self._renewal.reset(reset, deadline)

    def save(self, deadline: Deadline) -> None:
        """Saves the machine as it stands now, for the reset that restores it."""
        self._renewal.save(deadline)

    def stop(self) -> None:
        """Gives everything back, and ends the machine that `start` started. Safe to call at any time."""
        try:
            self._hang_up()
        finally:
            if self._machine is not None:
                self._machine.stop()

    def keep(self, seconds: float | None = None) -> tuple[str, ...]:
        """Hangs up and leaves the machine running, for so many seconds or until somebody ends it; returns what a
        person needs to reach it, line by line."""
        self._hang_up()
        machine, image = self._machine, self._image
        if machine is None:
            return ()
        if not machine.alive:
            machine.stop()
            return ()
        if machine.up is None:
            machine.keep(run=self._run, index=self._ups, seconds=seconds)
        user = image.user if image else "root"
        ssh = ["ssh", "-p", str(machine.ssh_port)]
        if image is not None:
            known = self._folder / "known_hosts"
            known.write_text("".join(f"[127.0.0.1]:{machine.ssh_port} {key}\n" for key in image.host_keys))
            ssh += ["-i", str(image.client_key), "-o", f"UserKnownHostsFile={known.absolute()}"]
        lines = [
            f"{self._spec.name} is kept (QEMU is process {machine.pid})",
            f"  ssh:     {shlex.join([*ssh, f'{user}@127.0.0.1'])}",
            f"  console: socat -,raw,echo=0,escape=0x1d {shlex.quote(f'UNIX-CONNECT:{machine.console_address}')}",
            f"  to end:  kill {machine.pid}",
        ]
        if image is not None:
            lines.insert(3, f"  login:   {user}, password in {shlex.quote(str(image.path / 'manifest.json'))}")
        return tuple(lines)

    # -- what the engine asks -----------------------------------------------------------------------------------

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target:
        """The target for one attempt: waits until `deadline`, records as `events`, tells each answer to `on_result`."""
        assert self._link is not None, "a session is started before it is used"
        endpoint = None
        if self._ssh is not None:
            endpoint = SshEndpoint(self._ssh, deadline, events, self._keyring)
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
        return self._stages

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
    def broken(self) -> str:
        """What carries the target has failed, and how; empty while it has not, or nothing of ours carries it."""
        machine = self._machine
        if machine is None or not machine.started:
            return ""
        if not machine.alive:
            words = machine.last_words()
            return f"QEMU has ended by itself{f'; its own words: {words.strip()}' if words else ''}"
        try:
            status = machine.qmp.execute("query-status", deadline=Deadline.after(PROBE_TIMEOUT))["status"]
        except MachineError as error:
            return f"QEMU does not answer: {error.message}"
        return f"QEMU has stopped the machine ({status}): see {machine.qemu_log}, and `df`" if status in _BAD else ""

    def serve(self, transport: str, deadline: Deadline) -> None:
        """Returns where that transport serves: a command is answered, and sshd takes a new connection too, for an old
        one says nothing of it. Raises TransportError, Cancelled."""
        if transport == "ssh" and self._ssh is not None and self._spec.machine is not None:
            ssh_probe.read_banner(self._ssh.host, self._ssh.port, deadline.clamp(PROBE_TIMEOUT))
        self.link.run(":", deadline=deadline, transport=transport)

    def turn_over(self) -> None:
        """Turns the console's raw log over where it has grown large; the machine stands still for that moment, so not a
        byte is lost. Raises OSError, MachineError."""
        machine = self._machine
        if machine is None:
            if self._console is not None:
                self._console.turn_over()
        elif machine.alive and is_due(machine.console_log):
            deadline = Deadline.after(ATTACH_TIMEOUT)
            machine.qmp.execute("stop", deadline=deadline)
            try:
                turn_over(machine.console_log)
            finally:
                machine.qmp.execute("cont", deadline=deadline)

    # -- what a reset asks --------------------------------------------------------------------------------------

    @property
    def machine(self) -> Machine | None:
        """The machine of ours, once it is started; None where it runs by itself."""
        return self._machine

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
        return self._machine.console_log if self._machine is not None else self._folder / "console.log"

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
        self._link = Link(self._transports(), events=self._events, name=self._spec.name)

    def restart(self, deadline: Deadline, load: Callable[[], None]) -> None:
        """Ends QEMU and starts a new one with the same disks; `load` fills it before its console is opened. Its CPUs
        stand still. Raises MachineError, Unavailable, Cancelled."""
        machine = self._machine
        assert machine is not None, "a machine is started before it is started again"
        assert self._console is not None, "a machine of ours has a console"
        self._hang_up()
        machine.restart(deadline)
        load()
        self._reach_by(machine)
        self._console.open(deadline)

    def watch_boot(self, ready: Callable[[], None], deadline: Deadline) -> None:
        """Waits until the machine of ours is up; `ready` lets it run, or has done so. Raises BootFailed, Cancelled."""
        machine, spec, console = self._machine, self._spec.machine, self._console
        assert machine is not None, "a machine is started before it boots"
        assert spec is not None, "it was started by what it is described as"
        assert console is not None, "a machine of ours has a console"
        boot = wait_for_boot(
            console,
            name=self._spec.name,
            events=self._events,
            deadline=deadline.clamp(spec.boot_timeout),
            stall=spec.boot_stall,
            started=time.monotonic(),
            alive=lambda: machine.alive,
            last_words=machine.last_words,
            ssh_answers=_HeadStart(self._ssh_answers, SSH_HEAD_START),
            ready=ready,
        )
        self._stages = boot.stages

    # -- parts --------------------------------------------------------------------------------------------------

    def _boot(self, spec: MachineSpec, deadline: Deadline) -> None:
        if spec.recipe is not None:
            self._image = ensure_image(
                spec.recipe, events=self._events, deadline=deadline, progress=self._tell_progress
            )
            self._secrets.add_secret(self._image.password)
        boot_deadline = deadline.clamp(spec.boot_timeout)
        machine = Machine(spec, name=self._spec.name, folder=self._folder, events=self._events, image=self._image)
        self._machine = machine
        # Its CPUs wait until we listen: not a byte of the console is missed.
        machine.start(boot_deadline, hold=True)
        self._reach_by(machine)
        self._console = self._new_console(machine.console_address)
        self._console.open(boot_deadline)
        self.watch_boot(lambda: machine.resume(boot_deadline), deadline)

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

    def _reach_by(self, machine: Machine) -> None:
        """Fills in what only a machine of ours can know: its port, its keys, its console, its password."""
        image = self._image
        if self._ssh is not None:
            self._ssh = self._ssh.with_endpoint("127.0.0.1", machine.ssh_port)
            if image is not None:
                self._ssh = self._ssh.with_host_keys(parse_public_keys("\n".join(image.host_keys)))
                if not self._ssh.key_files and self._ssh.password is None:
                    self._ssh = self._ssh.with_key(path=str(image.client_key))
                self._ssh = replace(self._ssh, user=self._ssh.user or image.user)
        variables = {**connection_variables(self._host), "serial_socket": machine.console_address}
        serial = SerialSpec.from_vars(self._spec.name, variables)
        assert serial is not None, "it has an address"
        if image is not None and serial.password is None and serial.user == image.user:
            serial = replace(serial, password=image.password)
        self._serial = serial

    def _new_console(self, address: str, *, baudrate: int = 115200, raw_log: Path | None = None) -> Console:
        return Console(
            address,
            name=self._spec.name,
            baudrate=baudrate,
            events=self._lines,
            raw_log=raw_log,
            owner=self._run,
            kept_log=self.console_log_path,
        )

    def _transports(self) -> list[Transport]:
        found: list[Transport] = []
        for name in self._spec.transports:
            if name == "ssh" and self._ssh is not None:
                found.append(SshTransport(self._ssh, events=self._events, keyring=self._keyring))
            elif name == "serial" and self._serial is not None and self._console is not None:
                found.append(SerialTransport(self._console, self._serial, events=self._events))
        return found

    def _ssh_answers(self) -> bool:
        """Whether sshd says its name already: then the boot is far enough, whatever the console does."""
        if self._ssh is None or "ssh" not in self._spec.transports:
            return False
        try:
            ssh_probe.read_banner(self._ssh.host, self._ssh.port, Deadline.after(PROBE_TIMEOUT))
        except TransportError:
            return False
        return True

    def _tell_progress(self, line: str) -> None:
        self._events.emit("image.progress", line)

    def _hang_up(self) -> None:
        self.unlink()
        if self._console is not None:
            self._console.close()


class _HeadStart:
    """True so many seconds after a question was first answered with yes. It is not asked again after that: each
    question is a connection, and a slow machine's sshd soon has enough of those."""

    def __init__(self, ask: Callable[[], bool], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._since: float | None = None

    def __call__(self) -> bool:
        if self._since is None and self._ask():
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since >= self._seconds
