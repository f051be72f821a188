"""A target's machine of ours in a run: built and booted, or found up already; watched, kept, and ended."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.events import Emitter
from harness.machine.accel import decide
from harness.machine.argv import SSH_PORT
from harness.machine.boot_wait import wait_for_boot
from harness.machine.image import Image, ensure_image, load_image
from harness.machine.machine import Machine
from harness.machine.qmp import QmpClient
from harness.machine.saved import SavedMachine, machine_key
from harness.machine.spec import MachineSpec
from harness.machine.up import find
from harness.transport.serial.console import Console
from harness.transport.serial.spec import SerialSpec
from harness.transport.ssh.config import SshSpec
from harness.transport.ssh.hostkeys import parse_public_keys
from harness.turnover import is_due, turn_over

IMAGE_TIMEOUT = 1800.0
"""Seconds that building an image may take; they are not part of the boot's time."""
SAVE_TIMEOUT = 300.0
"""Seconds that settling, saving and restoring a machine may take beside its boot."""
STATUS_TIMEOUT = 2.0
"""Seconds within which QEMU says how its machine does."""
TURN_OVER_TIMEOUT = 60.0
SSH_HEAD_START = 10.0
"""Seconds after sshd's first answer at which a boot counts as done without a login prompt on the console: mostly the
prompt comes a moment later, and then the console can serve too."""

_BAD = ("io-error", "internal-error")
"""States in which QEMU has stopped a machine because of what is below it."""


class Secrets(Protocol):
    """Where values go that must not be shown from now on."""

    def add_secret(self, secret: str) -> None: ...


class TargetMachine:
    """The machine that a target's variables describe. `find` or `power_on` comes first, `stop` or `keep` last."""

    def __init__(
        self,
        spec: MachineSpec,
        *,
        name: str,
        folder: Path,
        events: Emitter,
        run: str,
        secrets: Secrets,
        ups: Path | None,
    ) -> None:
        """`ups` is the folder in which the machines that are up are found, where they may be used."""
        self.spec = spec
        self._name = name
        self._folder = folder
        self._events = events
        self._run = run
        self._secrets = secrets
        self._ups = ups
        self.image: Image | None = None
        """The image of ours that it runs, once that is known."""
        self._machine: Machine | None = None
        self.stages: tuple[tuple[str, float], ...] = ()
        """The boot's stages, with seconds since power-on."""

    # -- how it comes up ----------------------------------------------------------------------------------------

    @property
    def start_timeout(self) -> float:
        """Seconds that finding it, or building its image and booting it, may take."""
        saving = SAVE_TIMEOUT if self.spec.start == "snapshot" else 0.0
        return self.spec.boot_timeout + (IMAGE_TIMEOUT if self.spec.recipe else 0.0) + saving

    def find(self) -> bool:
        """Takes the machine that is up already; False, with nothing done, where none is."""
        up = find(self._ups, self._folder.name) if self._ups is not None else None
        if up is None:
            return False
        self._machine = Machine.that_is(up, self.spec, events=self._events)
        self.image = load_image(up.image) if up.image is not None else None
        if self.image is not None:
            self._secrets.add_secret(self.image.password)
        self._events.emit(
            "machine.attached",
            f"{up.name} is up already (QEMU is process {up.pid}, SSH on port {up.ssh_port}); it stays up",
            pid=up.pid,
            ssh_port=up.ssh_port,
            console_address=up.console_address,
        )
        return True

    def prepare(self, deadline: Deadline) -> None:
        """Builds the image where it is not built. Raises MachineError, UsageError, Cancelled."""
        if self.spec.recipe is not None:
            self.image = ensure_image(
                self.spec.recipe, events=self._events, deadline=deadline, progress=self._tell_progress
            )
            self._secrets.add_secret(self.image.password)

    def key(self, deadline: Deadline) -> str:
        """The key that the machine is saved under; its image is prepared. Raises MachineError."""
        accel, _ = decide(self.spec.accel, self.spec.binary, deadline=deadline)
        return machine_key(self.spec, name=self._name, accel=accel, image=self.image)

    def power_on(self, deadline: Deadline, saved: SavedMachine | None = None) -> None:
        """Starts QEMU with its CPUs held, so that nobody misses a byte of the console; its image is prepared. A machine
        that was `saved` is there as it was then. Raises MachineError, UsageError, Cancelled."""
        self._machine = Machine(
            self.spec, name=self._name, folder=self._folder, events=self._events, image=self.image, saved=saved
        )
        self._machine.start(deadline.clamp(self.spec.boot_timeout), hold=True)

    def watch_boot(
        self, console: Console, ssh_answers: Callable[[], bool], ready: Callable[[], None], deadline: Deadline
    ) -> None:
        """Waits until it is up; `ready` lets it run, or has done so. Raises BootFailed, Cancelled."""
        machine = self.started
        boot = wait_for_boot(
            console,
            name=self._name,
            events=self._events,
            deadline=deadline.clamp(self.spec.boot_timeout),
            stall=self.spec.boot_stall,
            started=time.monotonic(),
            alive=lambda: machine.alive,
            last_words=machine.last_words,
            ssh_answers=_HeadStart(ssh_answers, SSH_HEAD_START),
            ready=ready,
        )
        self.stages = boot.stages

    # -- how it is reached --------------------------------------------------------------------------------------

    @property
    def machine(self) -> Machine | None:
        """QEMU itself, once it is started or found."""
        return self._machine

    @property
    def started(self) -> Machine:
        """QEMU itself. Only once it is started or found."""
        assert self._machine is not None, "a machine is started before it is used"
        return self._machine

    def ssh(self, described: SshSpec) -> SshSpec:
        """The described endpoint with what only the machine knows: its port, its image's keys and user."""
        ssh = described.with_endpoint("127.0.0.1", self.started.ssh_port)
        if self.image is None:
            return ssh
        ssh = ssh.with_host_keys(parse_public_keys("\n".join(self.image.host_keys)))
        if not ssh.key_files and ssh.password is None:
            ssh = ssh.with_key(path=str(self.image.client_key))
        return replace(ssh, user=ssh.user or self.image.user)

    def serial(self, variables: Mapping[str, object]) -> SerialSpec:
        """What the variables say of the console, with what only the machine knows: its address, its password."""
        serial = SerialSpec.from_vars(self._name, {**variables, "serial_socket": self.started.console_address})
        assert serial is not None, "it has an address"
        if self.image is not None and serial.password is None and serial.user == self.image.user:
            serial = replace(serial, password=self.image.password)
        return serial

    # -- how it does --------------------------------------------------------------------------------------------

    guest_ssh_port = SSH_PORT
    """The port of its own sshd, to which a port on this machine is forwarded."""

    @property
    def qemu_state(self) -> str:
        """QEMU's run state (`query-status`); empty where it cannot be asked."""
        machine = self._machine
        if machine is None or not machine.alive:
            return ""
        deadline = Deadline.after(STATUS_TIMEOUT)
        try:
            if machine.up is None or not machine.up.qmp_address:
                return str(machine.qmp.execute("query-status", deadline=deadline)["status"])
            # It was up before us, and is not controlled by us: QEMU takes one client at a time, so we leave at once.
            client = QmpClient(Path(machine.up.qmp_address))
            try:
                client.connect(deadline)
                return str(client.execute("query-status", deadline=deadline)["status"])
            finally:
                client.close()
        except (MachineError, KeyError, TypeError):
            return ""

    @property
    def broken(self) -> str:
        """What carries it has failed, and how; empty while it has not."""
        machine = self._machine
        if machine is None or not machine.started:
            return ""
        if not machine.alive:
            how, words = machine.how_it_ended(), machine.last_words()
            ended = f"QEMU has ended by itself ({how})" if how else "QEMU has ended by itself"
            return f"{ended}; its own words: {words.strip()}" if words else ended
        try:
            status = machine.qmp.execute("query-status", deadline=Deadline.after(STATUS_TIMEOUT))["status"]
        except MachineError as error:
            return f"QEMU does not answer: {error.message}"
        return f"QEMU has stopped the machine ({status}): see {machine.qemu_log}, and `df`" if status in _BAD else ""

    def turn_over(self) -> None:
        """Turns its console's raw log over where it has grown large; it stands still for that moment, so not a byte is
        lost. Raises OSError, MachineError."""
        machine = self._machine
        if machine is None or not machine.alive or not is_due(machine.console_log):
            return
        deadline = Deadline.after(TURN_OVER_TIMEOUT)
        machine.qmp.execute("stop", deadline=deadline)
        try:
            turn_over(machine.console_log)
        finally:
            machine.qmp.execute("cont", deadline=deadline)

    # -- how it ends --------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends what was started, or leaves what was found. Safe to call at any time."""
        if self._machine is not None:
            self._machine.stop()

    def keep(self, seconds: float | None) -> tuple[str, ...]:
        """Leaves it running, for so many seconds or until somebody ends it; returns what a person needs to reach it,
        line by line."""
        machine, image = self._machine, self.image
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
            ssh += ["-i", str(image.client_key), "-o", f"UserKnownHostsFile={_config_word(known.absolute())}"]
        lines = [
            f"{self._name} is kept (QEMU is process {machine.pid})",
            f"  ssh:     {shlex.join([*ssh, f'{user}@127.0.0.1'])}",
            f"  console: socat -,raw,echo=0,escape=0x1d {shlex.quote(f'UNIX-CONNECT:{machine.console_address}')}",
            f"  to end:  kill {machine.pid}",
        ]
        if image is not None:
            lines.insert(3, f"  login:   {user}, password in {shlex.quote(str(image.path / 'manifest.json'))}")
        return tuple(lines)

    # -- parts --------------------------------------------------------------------------------------------------

    def _tell_progress(self, line: str) -> None:
        self._events.emit("image.progress", line)


def _config_word(path: Path) -> str:
    """Return a path as one word of an ssh option's value: ssh splits it at blanks, and expands what follows a `%`
    (ssh_config(5))."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w/.,:@+-]+", str(path)) else f'"{escaped}"'


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
