"""The serial transport: commands and files over a console, for machines that have no network yet, or no longer."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Protocol, TypeVar

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired, HarnessError, InfrastructureError, UsageError
from harness.events.emitter import Emitter
from harness.transport.contract import CommandResult, Damage, Progress
from harness.transport.errors import Cause, Damaged, Eof, Timeout, TransportError, TransportLost, Unavailable
from harness.transport.serial.access import Access
from harness.transport.serial.command import Command
from harness.transport.serial.console import Console
from harness.transport.serial.files import Download, Upload
from harness.transport.serial.plain import analyse
from harness.transport.serial.session import Guest, Session
from harness.transport.serial.spec import HANDS_OFF, SerialSpec
from harness.transport.serial.transfer import send_input

# Seconds that a shell whose last command was given up is waited for: where the console shows something else in its
# place; and else, with up to half of the time left, because a busy machine may take so long.
_RESYNC, _RESYNC_LONGEST = 3.0, 15.0
TURN_BUDGET = 600.0
"""Seconds that a command waits for its turn on the console, beside its attempt's own time."""
_FIRST_REST, _LONGEST_REST = 0.05, 2.0  # seconds between logins on a console that goes away during each
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
# Linux takes no longer argument (MAX_ARG_STRLEN, 128 KiB), so such a command cannot be given to `sh -c`: it runs in a
# fork of our own shell, as do plain commands, which have nothing to find there.
_LONGEST_ARGUMENT = 120_000


class Carried(Protocol[T_co]):
    """A file on its way: `go_on` carries the rest of it over a session, `done` of `total` bytes are verified so far."""

    path: str
    done: int

    @property
    def total(self) -> int: ...

    def go_on(self, session: Session, deadline: Deadline) -> T_co: ...


class SerialTransport:
    """One console's commands, served in turn. Logs in at the first one, and again when the shell was lost."""

    name = "serial"

    def __init__(self, console: Console, spec: SerialSpec, *, events: Emitter) -> None:
        if spec.hands_off:
            console.hands_off = HANDS_OFF
        self._console = console
        self._spec = spec
        self._events = events.bind(transport="serial", console=console.name)
        self._access = Access(console, spec, events=self._events)
        self._turn = threading.Lock()
        self._session: Session | None = None
        self._guest: Guest | None = None
        self._dirty = False
        self._closed = False
        self._logins = 0
        self._reconnects = 0
        self._boot_id = ""

    @property
    def boot_id(self) -> str:
        """The kernel's boot id (/proc/sys/kernel/random/boot_id) as of the last login; empty where not known."""
        return self._boot_id

    @property
    def guest(self) -> Guest | None:
        """What the shell on the console said of itself at the last login."""
        return self._guest

    # -- the contract ------------------------------------------------------------------------------------------

    def run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult:
        """See :class:`~harness.transport.contract.Transport`."""
        if "\0" in command:
            raise UsageError("a command cannot hold a NUL byte")
        with self._in_turn(deadline):
            return self._run(command, deadline, stdin)

    def put(
        self,
        data: bytes | Path,
        path: str,
        *,
        deadline: Deadline,
        mode: int = 0o600,
        progress: Progress | None = None,
    ) -> None:
        """Writes a file on the target, its content verified before it takes its name. Raises also Damaged, OSError.

        Where the console is lost on the way, it goes on after the next login, and a later call for the same content
        goes on too: with what the guest has by then, verified.
        """
        content = data.read_bytes() if isinstance(data, Path) else data
        with self._in_turn(deadline):
            self._carry(Upload(content, path, mode, progress), deadline)

    def get(self, path: str, *, deadline: Deadline, progress: Progress | None = None) -> bytes:
        """Reads a file of the target, verified; goes on after the next login where the console is lost on the way.

        Raises also FileNotFoundError, PermissionError, OSError.
        """
        download = Download(path, progress)
        with self._in_turn(deadline):
            return self._carry(download, deadline)

    def take_reconnects(self) -> int:
        """See :class:`~harness.transport.contract.CountsReconnects`."""
        taken, self._reconnects = self._reconnects, 0
        return taken

    def close(self) -> None:
        """Ends the shell on the console (logs out where we logged in); the console itself stays open."""
        self._closed = True
        session = self._session
        if session is not None and not self._turn.acquire(timeout=0.2):
            # A command is running in another thread: end its wait, it will give the turn back.
            session.lost(TransportLost("the transport was closed", cause=Cause.LOST, transport="serial"))
            self._turn.acquire()
        elif session is None:
            return
        try:
            if session is not None:
                self._access.leave(session)
        finally:
            self._session = None
            self._turn.release()

    # -- steps -------------------------------------------------------------------------------------------------

    def _run(self, command: str, deadline: Deadline, stdin: bytes | None) -> CommandResult:
        session, before = self._ready(deadline)
        started, clock = time.time(), deadline.clock.monotonic()
        with self._guarded(session, deadline):
            guest = session.guest
            plain = analyse(command)
            capture = guest.capture if guest is not None else "p"
            mode = capture if capture == "v" else "f" if plain.files else capture
            if plain.builtin and not stdin and capture != "v":
                mode = "b"
            elif plain.fork or len(command) > _LONGEST_ARGUMENT:
                mode += "ex" if plain.program and mode == "p" else "e"
            if not session.compress:
                mode += "n"
            if stdin:
                send_input(session, stdin, deadline)
                mode += "i"
            outcome = Command(session, command, mode, deadline).run()
        late, session.late = session.late, 0
        return CommandResult(
            command=command,
            stdout=outcome.answer.stdout,
            stderr=outcome.answer.stderr,
            exit_status=outcome.answer.status,
            transport=self.name,
            started=started,
            ended=time.time(),
            duration=deadline.clock.monotonic() - clock,
            damage=before + outcome.damage + Damage(late_answers=late, reconnects=self.take_reconnects()),
        )

    def _carry(self, carried: Carried[T], deadline: Deadline) -> T:
        """Goes on over one session after the other, for as long as each brings the file further."""
        furthest = stuck = 0
        while True:
            session, _ = self._ready(deadline)
            try:
                with self._guarded(session, deadline):
                    return carried.go_on(session, deadline)
            except TransportLost as error:
                stuck = 0 if carried.done > furthest else stuck + 1
                furthest = max(furthest, carried.done)
                if stuck > 1 or self._closed or isinstance(error, Damaged):
                    raise
                self._events.emit(
                    "serial.file_resumed",
                    f"the console was lost with {carried.done} of {carried.total} bytes of {carried.path} carried; "
                    f"going on after the next login ({error.message})",
                    level="warning",
                    path=carried.path,
                    done=carried.done,
                    total=carried.total,
                    cause=str(error.cause),
                )

    def _ready(self, deadline: Deadline) -> tuple[Session, Damage]:
        """A session that answers, and what it took to get one."""
        if self._closed:
            raise Unavailable("the transport was closed", cause=Cause.LOST, transport="serial")
        damage = Damage()
        session = self._session
        if session is not None and session.error is not None:
            self._drop()
            session = None
        if session is not None and (self._dirty or session.sign is not None):
            damage += Damage(resyncs=1)
            session = self._resync(session, deadline)
        if session is None:
            again = self._logins > 0
            session = self._open(deadline)
            self._reconnects += again
        return session, damage

    def _resync(self, session: Session, deadline: Deadline) -> Session | None:
        """Asks a shell whose last command was given up whether it is there; None where a new one is needed."""
        self._events.emit("serial.resync", "bringing the console's shell back to a known state")
        window = _RESYNC if session.sign else max(_RESYNC, min(_RESYNC_LONGEST, deadline.remaining() / 2))
        try:
            session.ask(
                "N",
                deadline=deadline.clamp(self._console.timing.window(window, heard=600)),
                accept=lambda body: body.startswith("Nhello:"),
            )
        except (TransportError, DeadlineExpired) as error:
            deadline.check("bringing the console back to a known state")
            self._events.emit("serial.resync_failed", str(error), level="warning")
            self._drop()
            return None
        session.sign = None
        self._dirty = False
        return session

    def _open(self, deadline: Deadline) -> Session:
        with deadline.apart("connecting", self._spec.login_timeout) as until:
            return self._log_in(until)

    def _log_in(self, deadline: Deadline) -> Session:
        limit = deadline.clamp(self._spec.login_timeout)
        started = deadline.clock.monotonic()
        try:
            session = self._enter(limit)
        except DeadlineExpired as error:
            raise Unavailable(
                f"no shell on the console {self._console.name} within "
                f"{deadline.clock.monotonic() - started:.1f} s: {error.message}",
                cause=Cause.TIMEOUT,
                transport="serial",
                hint="give it more time (serial_login_timeout), or look at the console's raw log",
            ) from error
        self._session, self._dirty = session, False
        self._logins += 1
        guest = session.guest
        assert guest is not None
        rebooted = bool(self._boot_id and guest.boot_id and guest.boot_id != self._boot_id)
        self._boot_id, self._guest = guest.boot_id, guest
        self._events.emit(
            "serial.connected",
            f"a shell answers on the console {self._console.name}",
            user=self._spec.user,
            uid=guest.uid,
            boot_id=guest.boot_id,
            duration=deadline.clock.monotonic() - started,
        )
        if rebooted:
            self._events.emit("serial.rebooted", "the machine has booted anew since the last login", level="warning")
        return session

    def _enter(self, limit: Deadline) -> Session:
        """Return a loaded session; start again where the console goes away meanwhile and comes back in time.

        Raises Unavailable, DeadlineExpired, Cancelled.
        """
        rest = _FIRST_REST
        while True:
            self._console.reopen(limit)
            try:
                return self._access.enter(limit)
            except TransportLost as error:
                gone = isinstance(error, Eof) and not self._closed
                if not gone or limit.remaining() <= rest:
                    raise Unavailable(
                        f"the console {self._console.name} was lost during the login: {error.message}",
                        cause=error.cause,
                        transport="serial",
                        seen=error.seen,
                        hint=error.hint,
                    ) from error
            limit.sleep(rest)
            rest = min(rest * 2, _LONGEST_REST)

    def _drop(self) -> None:
        if self._session is not None:
            self._session.detach()
            self._session = None

    def _in_turn(self, deadline: Deadline) -> _Turn:
        return _Turn(self._turn, deadline)

    def _guarded(self, session: Session, deadline: Deadline) -> _Guard:
        return _Guard(self, session, deadline)

    def _after_failure(self, error: BaseException) -> None:
        """Decides what the session is still good for."""
        if isinstance(error, Timeout | Cancelled | DeadlineExpired):
            self._dirty = True
        elif isinstance(error, TransportLost) and error.cause is not Cause.DAMAGED:
            self._drop()
        else:
            self._dirty = True


class _Turn:
    """One command at a time; waiting for one's turn ends with the deadline. A deadline with an allowance does not count
    it: it is another command that the console works on meanwhile."""

    def __init__(self, lock: threading.Lock, deadline: Deadline) -> None:
        self._lock = lock
        self._deadline = deadline

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        with self._deadline.apart("turn", TURN_BUDGET) as until:
            while not self._lock.acquire(timeout=min(0.2, until.remaining() + 0.001)):
                try:
                    until.check("waiting for the console")
                except DeadlineExpired as error:
                    raise self._held_too_long(until) from error

    def _held_too_long(self, until: Deadline) -> HarnessError:
        allowance = self._deadline.allowance
        if allowance is None or until.end >= allowance.hard:
            return Unavailable(
                "another command held the console until the deadline", cause=Cause.TIMEOUT, transport="serial"
            )
        return InfrastructureError(f"other commands held the console for {TURN_BUDGET:.0f} s")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Guard:
    """Notes what an error did to the session, and gives a passed deadline its type."""

    def __init__(self, transport: SerialTransport, session: Session, deadline: Deadline) -> None:
        self._transport = transport
        self._session = session
        self._deadline = deadline

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._transport._after_failure(error)
        if isinstance(error, DeadlineExpired):
            raise Unavailable(
                f"{error.message} (console {self._transport._console.name})",
                cause=Cause.TIMEOUT,
                transport="serial",
                seen=self._session.since(0)[-2048:],
            ) from error
