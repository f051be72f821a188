"""One QEMU machine of a run: started from its spec, reached by its sockets, ended with us."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired, MachineError
from harness.events.emitter import Emitter, Level
from harness.machine import snapshot, supervisor
from harness.machine.accel import decide
from harness.machine.argv import SSH_PORT, Layout, qemu_argv
from harness.machine.image import Image, ensure_image
from harness.machine.layout import disk_format, machine_layout, seed_tarball, throw_away_disks
from harness.machine.qmp import QmpClient, QmpError
from harness.machine.runtime import Folders, make_folders
from harness.machine.saved import SavedMachine, copy_disk
from harness.machine.seed import pack_seed
from harness.machine.spec import MachineSpec
from harness.machine.tool import need, run_tool, with_error_first
from harness.machine.up import Up, born, write
from harness.printing import typed_path

_GRACE = 5.0
_POWERDOWN = 30.0
_QUERY = 10.0


class Machine:
    """A machine's life: `start`, then `stop` or `keep`, once; or one that is up already, and is not ours to end
    (:meth:`that_is`). `console.log` and `qemu.log` lie in `folder`.

    `console_address` is the path of the console's unix socket (one client at a time), `ssh_port` the loopback
    port that leads to the guest's 22, `ports` leads from each further forwarded guest port to the host's. `disks` are
    the files of its throw-away disks. With a `saved` machine it is restored from that instead of booted.
    """

    def __init__(
        self,
        spec: MachineSpec,
        *,
        name: str,
        folder: Path,
        events: Emitter,
        image: Image | None = None,
        saved: SavedMachine | None = None,
    ) -> None:
        self.spec = spec
        self.name = name
        self.folder = folder
        self.image = image
        self.argv: list[str] = []
        self.pid: int | None = None
        self.accel: Literal["kvm", "tcg"] = "tcg"
        self.ssh_port = 0
        self.ports: dict[int, int] = {}
        self.console_address = ""
        self.disks: tuple[Path, ...] = ()
        self.started = 0.0
        """Monotonic seconds at which the guest's CPUs began to run; 0 before."""
        self._events = events
        self._saved = saved
        self._folders: Folders | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._unread = b""  # what the supervisor has written and nobody has waited for
        self._shutdown = ""  # why QEMU shut down, by its own event
        self._log_begins = 0  # where the present QEMU's output begins in its log
        self._qmp: QmpClient | None = None
        self._kept = False
        self.up: Up | None = None
        """What is known of it where it was up before us, or is left up after us."""

    @classmethod
    def that_is(cls, up: Up, spec: MachineSpec, *, events: Emitter) -> Machine:
        """The machine that somebody left up. `stop` leaves it alone."""
        machine = cls(spec, name=up.name, folder=up.folder, events=events)
        machine.up, machine._kept = up, True
        machine.pid, machine.ssh_port, machine.ports = up.pid, up.ssh_port, dict(up.ports)
        machine.console_address = up.console_address
        machine.accel = "kvm" if up.accel == "kvm" else "tcg"
        return machine

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def console_log(self) -> Path:
        """Every byte the console ever said, written by QEMU itself."""
        return self.folder / "console.log"

    @property
    def uart_log(self) -> Path:
        """Where the console is a virtio one: what the firmware and an early kernel said on the UART."""
        return self.folder / "uart.log"

    @property
    def qemu_log(self) -> Path:
        """What QEMU itself said."""
        return self.folder / "qemu.log"

    @property
    def qmp(self) -> QmpClient:
        """QEMU's control. Raises :class:`MachineError` before the start."""
        if self._qmp is None:
            raise MachineError(f"the machine {self.name} is not started")
        return self._qmp

    @property
    def alive(self) -> bool:
        """QEMU runs."""
        if self._supervisor is None:
            return self.up is not None and self.up.alive
        return self._supervisor.poll() is None

    def last_words(self) -> str:
        """Return the end of what the present QEMU said, for a person; empty when it said nothing."""
        try:
            with self.qemu_log.open("rb") as log:
                log.seek(max(self._log_begins, log.seek(0, os.SEEK_END) - 4096))
                data = log.read()
        except OSError:
            return ""
        return "\n".join(f"    {line}" for line in data.decode("utf-8", "backslashreplace").splitlines()[-8:])

    def how_it_ended(self) -> str:
        """Return how QEMU ended, for a person ("killed by SIGKILL", "exit status 1"); empty where that is not known.

        It is not known of a machine that was up before us.
        """
        process = self._supervisor
        if process is None or process.poll() is None or process.stdout is None or process.stdout.closed:
            return ""
        ready = select.poll()
        ready.register(process.stdout, select.POLLIN)
        while ready.poll(0) and (data := os.read(process.stdout.fileno(), 512)):
            self._unread += data
        if self._qmp is not None and not self._shutdown:
            with contextlib.suppress(QmpError):
                for event in self._qmp.events(deadline=Deadline.after(0.1)):
                    if event["event"] == "SHUTDOWN":
                        self._shutdown = str(event.get("data", {}).get("reason", ""))
        return describe_end(self._unread.decode("ascii", "replace"), process.returncode, self._shutdown)

    # -- start --------------------------------------------------------------------------------------------------

    def start(self, deadline: Deadline, *, hold: bool = False) -> None:
        """Starts QEMU; with `hold`, the guest's CPUs wait for :meth:`resume`, so that a console can be attached first.

        Raises :class:`MachineError` with QEMU's own words and its command line, :class:`UsageError`, or
        :class:`Cancelled`. Nothing is left behind then.
        """
        if self._supervisor is not None:
            raise MachineError(f"the machine {self.name} was started before; a Machine is started once")
        need(self.spec.binary, to=f"to start the machine {self.name}")
        if self.spec.recipe is not None and self.image is None:
            self.image = ensure_image(
                self.spec.recipe, events=self._events, deadline=deadline, progress=lambda line: None
            )
        self.accel, why = decide(self.spec.accel, self.spec.binary, deadline=deadline)
        self._events.emit("machine.accel", f"{self.name} runs under {self.accel}: {why}", accel=self.accel, why=why)
        self._folders = make_folders()
        try:
            self.argv = qemu_argv(self._prepare(self._folders, deadline))
            self._launch(self._folders)
            self._attach(deadline)
            if self._saved is not None:
                snapshot.load(self.qmp, deadline)
            if not hold:
                self.resume(deadline)
        except BaseException:
            self.stop()
            raise
        self._told_started("info")

    def _told_started(self, level: Level) -> None:
        self._events.emit(
            "machine.started",
            f"{self.name} is started (QEMU is process {self.pid}, SSH on port {self.ssh_port})",
            level=level,
            pid=self.pid,
            argv=self.argv,
            ssh_port=self.ssh_port,
            console_address=self.console_address,
        )

    def resume(self, deadline: Deadline) -> None:
        """Lets the guest's CPUs run."""
        self.qmp.execute("cont", deadline=deadline)
        self.started = time.monotonic()

    def restart(self, deadline: Deadline) -> None:
        """Ends QEMU and starts a new one with the same disks, as they are; its CPUs wait for :meth:`resume`. The
        console must be opened anew, and the loopback ports are others. Raises as `start` does."""
        if self._supervisor is None or self._qmp is None:
            raise MachineError(f"the machine {self.name} is not started")
        self._qmp.close()
        self._tell(self._supervisor, b"again\n")
        doing = f"ending the QEMU of {self.name}"
        while (word := self._hear(deadline, doing)) and not word.startswith("exit"):
            pass
        # The one before has ended, and said that in the log.
        self._log_begins = _size(self.qemu_log)
        self._attach(deadline)
        self._told_started("debug")

    def _prepare(self, folders: Folders, deadline: Deadline) -> Layout:
        """Makes the logs and the throw-away disks."""
        spec, image = self.spec, self.image if self.spec.recipe is not None else None
        self.folder.mkdir(parents=True, exist_ok=True)
        for log in (self.console_log, *([self.uart_log] if spec.console == "virtio" else [])):
            # Made here, since QEMU would make it readable by all.
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as stream:
                if self._saved is not None and stream.tell() == 0:
                    stream.write((self._saved.path / log.name).read_bytes())
        layout = machine_layout(spec, name=self.name, accel=self.accel, image=image, logs=self.folder, folders=folders)
        for path in (layout.console_socket, layout.qmp_socket):
            _claim_socket(path, self.name)
        self.console_address = str(layout.console_socket)
        self._make_disks(image, folders, deadline)
        return layout

    def _make_disks(self, image: Image | None, folders: Folders, deadline: Deadline) -> None:
        doing = f"making a throw-away disk for {self.name}"
        disks = throw_away_disks(self.spec, image, folders.scratch)
        self.disks = tuple(disk.file for disk in disks)
        for index, disk in enumerate(disks):
            if self._saved is not None:
                copy_disk(self._saved.disks[index], disk.file)
                continue
            create = [need("qemu-img", to="to make a throw-away disk"), "create", "-q", "-f", "qcow2"]
            if disk.over is not None:
                create += ["-F", disk_format(disk.over), "-b", str(disk.over.absolute()), str(disk.file)]
            else:
                create += [str(disk.file), str(disk.size)]
            run_tool(create, doing=doing, deadline=deadline)
        if self.spec.seed is not None:
            pack_seed(self.spec.seed, seed_tarball(folders.scratch))

    def _launch(self, folders: Folders) -> None:
        # -I -S: the supervisor needs nothing but the standard library, and starts in a few milliseconds.
        command = [sys.executable, "-I", "-S", supervisor.__file__, str(self.qemu_log.absolute()), str(_GRACE)]
        command += [str(folders.sockets), str(folders.scratch), "--", *self.argv]
        self._log_begins = _size(self.qemu_log)
        self._supervisor = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _attach(self, deadline: Deadline) -> None:
        doing = f"starting the machine {self.name}"
        started = time.monotonic()
        try:
            word, _, value = self._hear(deadline, doing).partition(" ")
            if word != "pid":
                raise MachineError(f"{self.spec.binary} could not be started: {value or 'its supervisor died'}")
            self.pid = int(value)
            assert self._folders is not None
            self._qmp = QmpClient(self.spec.qmp_socket or self._folders.sockets / "qmp")
            self._qmp.connect(deadline, alive=lambda: self.alive)
            self._learn_ports(deadline)
        except Cancelled:
            raise
        except (MachineError, DeadlineExpired) as error:
            raise self._died(error, time.monotonic() - started) from error

    def _learn_ports(self, deadline: Deadline) -> None:
        forwards = parse_usernet(self.qmp.human("info usernet", deadline=deadline))
        wanted = [SSH_PORT, *(rule.guest for rule in self.spec.ports)]
        missing = [port for port in wanted if port not in forwards]
        if missing:
            raise MachineError(f"QEMU does not tell which loopback port leads to the guest's port {missing[0]}")
        self.ssh_port = self.spec.ssh_port or forwards[SSH_PORT]
        self.ports = {rule.guest: rule.host or forwards[rule.guest] for rule in self.spec.ports}

    def _hear(self, deadline: Deadline, doing: str) -> str:
        """The supervisor's next line; empty when it is gone."""
        assert self._supervisor is not None
        assert self._supervisor.stdout is not None
        fd = self._supervisor.stdout.fileno()
        poll = select.poll()  # select() takes no descriptor from 1,024 up
        poll.register(fd, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            deadline.check(doing)
            if poll.poll(min(0.1, deadline.remaining()) * 1000):
                byte = os.read(fd, 1)
                if not byte:
                    return ""
                line += byte
        return line.decode("ascii", "backslashreplace").strip()

    def _died(self, error: Exception, seconds: float) -> MachineError:
        if self._supervisor is not None and isinstance(error, QmpError):
            # QEMU's last words are written once it is gone.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(1.0)
        words = self.last_words()
        how = with_error_first(words) if words else self.how_it_ended() or f"{error}"
        return MachineError(
            f"QEMU for {self.name} did not come up ({seconds:.1f} s): {how}",
            hint=f"it was: {shlex.join(self.argv)}",
        )

    # -- end ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends QEMU and removes its sockets and throw-away disks. Persistent disks: the guest is asked to power down
        first (up to 30 s). Safe to call twice, and at any time; does nothing to a kept machine."""
        if self._kept:
            return
        process, self._supervisor = self._supervisor, None
        if process is not None and process.poll() is None:
            started = time.monotonic()
            if self.spec.persistent and self.started:
                self._power_down(process)
            self._tell(process, b"stop\n")
            try:
                process.wait(_GRACE + 3.0)
            except subprocess.TimeoutExpired:
                # The kernel ends QEMU with it.
                process.kill()
                process.wait()
            took = time.monotonic() - started
            self._events.emit("machine.stopped", f"{self.name} is stopped", pid=self.pid, duration=took)
        self._release(process)
        if self._folders is not None:
            self._folders.remove()
            self._folders = None

    def keep(self, *, run: str, index: Path | None = None, seconds: float | None = None) -> None:
        """Lets the machine live on after us, for so many seconds or until it is ended; its sockets and disks go when
        its QEMU ends. Where there is an `index`, others find it there. Raises :class:`MachineError`."""
        if self._supervisor is None or not self.alive or self._qmp is None or self.pid is None:
            raise MachineError(f"the machine {self.name} cannot be kept: it does not run")
        now = time.time()
        self.up = Up(
            name=self.name,
            run=run,
            pid=self.pid,
            born=born(self.pid),
            supervisor=self._supervisor.pid,
            ssh_port=self.ssh_port,
            ports=self.ports,
            console_address=self.console_address,
            qmp_address=str(self._qmp.path),
            accel=self.accel,
            persistent=self.spec.persistent,
            folder=self.folder.absolute(),
            image=self.image.path if self.image is not None else None,
            started=now - (time.monotonic() - self.started if self.started else 0.0),
            until=None if seconds is None else now + seconds,
        )
        if index is not None:
            write(self.up, index)
        self._tell(self._supervisor, b"keep\n" if seconds is None else f"keep {seconds:.0f}\n".encode())
        self._kept = True
        self._release(self._supervisor)
        self._events.emit(
            "machine.kept",
            f"{self.name} is kept: process {self.pid}, SSH on port {self.ssh_port}, console {self.console_address}",
            pid=self.pid,
            ssh_port=self.ssh_port,
            console_address=self.console_address,
        )

    def _power_down(self, process: subprocess.Popen[bytes]) -> None:
        deadline = Deadline.after(_POWERDOWN)
        try:
            self.qmp.execute("system_powerdown", deadline=deadline.clamp(_QUERY))
            process.wait(deadline.remaining())
        except (QmpError, subprocess.TimeoutExpired):
            self._events.emit(
                "machine.powerdown_failed",
                f"{self.name} did not power down in {_POWERDOWN:.0f} s; it is switched off as it is",
                level="warning",
            )

    @staticmethod
    def _tell(process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended by itself
            process.stdin.write(line)
            process.stdin.flush()

    def _release(self, process: subprocess.Popen[bytes] | None) -> None:
        if self._qmp is not None:
            self._qmp.close()
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


_BY_GUEST = {
    "guest-reset": "the guest has reset the machine",
    "guest-shutdown": "the guest has powered the machine off",
    "guest-panic": "the guest has panicked",
}


def describe_end(said: str, supervisor: int, shutdown: str = "") -> str:
    """Return how QEMU ended, for a person: by what its supervisor said, by the supervisor's own exit status (a signal's
    number below 0), and by the reason of QEMU's event SHUTDOWN; empty where none of them is known."""
    exits = re.findall(r"^exit (-?\d+)$", said, re.MULTILINE)
    if not exits:
        return f"its supervisor was killed by {_signal_name(-supervisor)}" if supervisor < 0 else ""
    status = int(exits[-1])
    how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
    causes = re.findall(r"^ending (.+)$", said, re.MULTILINE)
    if shutdown.startswith("guest-"):
        return f"{how}: {_BY_GUEST.get(shutdown, shutdown)}"
    return f"{how}: {causes[-1]}" if causes else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def parse_usernet(text: str) -> dict[int, int]:
    """From guest port to host port, as ``info usernet`` of QEMU's human monitor lists its forwards:
    ``TCP[HOST_FORWARD]  12  127.0.0.1 40123  10.0.2.15  22  0  0``."""
    found: dict[int, int] = {}
    for match in re.finditer(r"^\s*TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)\s", text, re.MULTILINE):
        found.setdefault(int(match[2]), int(match[1]))
    return found


def _claim_socket(path: Path, name: str) -> None:
    """QEMU would take a socket's path from a machine that is using it; we ask first."""
    if not path.parent.is_dir():
        raise MachineError(
            f"the folder of the socket {path} is not there", hint=f"mkdir -p {shlex.quote(typed_path(path.parent))}"
        )
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise MachineError(
        f"the socket {path}, wanted for {name}, is in use by something that runs",
        hint=f"see what: ss -xlp | grep -F -e {shlex.quote(path.name)}",
    )
