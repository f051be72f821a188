"""A console: one port, one reader thread, many listeners, one record of all that it said.

It may stay open for a machine's whole life, through reboots and through the other end going away and coming back.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.events.emitter import Emitter
from harness.transport.errors import Cause, Eof, TransportError, TransportLost, Unavailable
from harness.transport.serial.ownership import Ownership
from harness.transport.serial.ports import Port, PortClosed, explain, normalise
from harness.transport.serial.sieve import Sieved
from harness.transport.serial.timing import LineTiming
from harness.turnover import is_due, turn_over

_QUIET_SECONDS = 1.0  # after this long without a newline the open line (a prompt) is recorded as it stands
_READER_NOTICES = 2.0  # the reader's poll is woken by the same event that the writer met
_LONGEST_LINE = 65536
# ECMA-48 control sequences, OSC strings (xterm), and two-character escapes.
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])")


_LOCK_POLL = 0.1


@dataclass(frozen=True, slots=True)
class LockWait:
    """How long a console that somebody else holds is waited for, in seconds (infinity: until it is free), and who is
    told of it."""

    seconds: float
    tell: Callable[[str], None]


def strip_ansi(data: bytes) -> bytes:
    """The text without terminal control sequences and other control characters but tab and newline."""
    text = _ANSI.sub(b"", data)
    return text.translate(None, _CONTROLS)


# What may become a control sequence or a character of UTF-8 (RFC 3629) when more comes.
_UNFINISHED = re.compile(
    rb"(?:\x1b(?:\[[0-?]{0,32}[ -/]{0,4}|\][^\x07\x1b]{0,256})?"
    rb"|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)
_CONTROLS = bytes(c for c in range(32) if c not in (9, 10)) + b"\x7f"


def as_text(line: bytes) -> str:
    """A console line for people: no control sequences; bytes that are no UTF-8 as ``\\xNN``."""
    return strip_ansi(line).decode("utf-8", "backslashreplace")


class Listener(Protocol):
    """Who hears what the console says; called in the reader's thread, so it must be quick and must not wait."""

    def feed(self, data: bytes, at: float) -> None:
        """The next bytes, as they came, at `at` seconds of the monotonic clock."""

    def lost(self, error: TransportError) -> None:
        """The other end is gone; nothing comes until the console is opened again."""


class Console:
    """One console of a target. All methods may be called from any thread."""

    def __init__(
        self,
        address: str,
        *,
        name: str,
        baudrate: int = 115200,
        events: Emitter,
        raw_log: Path | None = None,
        owner: str = "",
        kept_log: Path | None = None,
        lock_wait: LockWait | None = None,
    ) -> None:
        """`address`: a socket's path, ``unix://PATH``, ``socket://HOST:PORT``, ``rfc2217://HOST:PORT``, a device, pty.

        `name` stands in events. `raw_log` gets every byte as it came (0600). `owner` (a run's id) is told to
        those who find the console busy, and where its log is, so that they can read it: `raw_log`, or `kept_log` where
        somebody else writes one. With `lock_wait` a console that is in use is waited for. Nothing is opened yet.
        """
        self.address = normalise(address)
        self.name = name
        self.baudrate = baudrate
        self.timing = LineTiming()
        self.hands_off = ""
        """Why nothing may be typed here but by a person; empty where it may."""
        self.pace = 0.0  # seconds to rest after each 16 bytes typed; raised when the guest loses input
        self._events = events
        self._raw_log = raw_log
        self._kept_log = raw_log or kept_log
        self._owner = owner
        self._lock_wait = lock_wait
        self._raw: int | None = None
        self._lock = threading.RLock()
        self._typing = threading.Lock()
        self._listeners: list[Listener] = []
        self._claimed_by: Sieved[Listener] | None = None
        self._port: Port | None = None
        self._ownership: Ownership | None = None
        self._thread: threading.Thread | None = None
        self._line = b""
        self._line_recorded = 0
        self.reconnects = 0

    # -- life --------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._port is not None

    def open(self, deadline: Deadline) -> None:
        """Takes ownership and connects; does nothing where it is open.

        Raises Unavailable: BUSY (says who has it), REFUSED (nobody is at the other end), CONFIG.
        """
        waiting: Deadline | None = None
        while True:
            try:
                self._open(deadline)
                return
            except Unavailable as error:
                if error.cause is not Cause.BUSY or self._lock_wait is None:
                    raise
                if waiting is None:
                    waiting = deadline.clamp(self._lock_wait.seconds)
                    self._lock_wait.tell(f"{error.message}; waiting for it")
                if waiting.expired:
                    raise
                waiting.sleep(min(_LOCK_POLL, waiting.remaining()))

    def _open(self, deadline: Deadline) -> None:
        deadline.check(f"opening the console {self.name}")
        with self._lock:
            if self._port is not None:
                return
            if self._ownership is None:
                self._ownership = Ownership(self.address, name=self.name, owner=self._owner, log=self._kept_log)
            try:
                self._connect()
            except BaseException:
                self._release()
                raise

    def _connect(self) -> None:
        try:
            port = Port(self.address, self.baudrate)
        except (OSError, ValueError) as error:
            why, hint = explain(self.address, error)
            raise Unavailable(
                f"the console {self.name} at {self.address} cannot be opened: {why}",
                cause=Cause.CONFIG if isinstance(error, ValueError) else Cause.REFUSED,
                transport="serial",
                hint=hint,
            ) from error
        if self._raw_log is not None and self._raw is None:
            try:
                self._raw_log.parent.mkdir(parents=True, exist_ok=True)
                self._raw = os.open(self._raw_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            except OSError as error:
                self._log_failed(error)
        self._port = port
        self._line, self._line_recorded = b"", 0
        self._thread = threading.Thread(target=self._read, args=(port,), name=f"console {self.name}", daemon=True)
        self._thread.start()
        self._events.emit("console.opened", f"the console {self.name} is open", console=self.name, address=self.address)

    def reopen(self, deadline: Deadline) -> None:
        """Connect again, waiting until the other end is back. Raises as `open` once the deadline has passed."""
        rest = 0.02
        refused: Unavailable | None = None
        while True:
            try:
                before = self._port
                self.open(deadline)
            except DeadlineExpired:
                if refused is None:
                    raise
                raise refused from None  # the pause took until the deadline: what was seen before it is the reason
            except Unavailable as error:
                if error.cause is not Cause.REFUSED or deadline.remaining() <= rest:
                    raise
                refused = error
                deadline.sleep(rest)
                rest = min(rest * 1.6, 1.0)
                continue
            if before is None:
                self.reconnects += 1
            return

    def close(self) -> None:
        """Disconnects and gives ownership back. Safe to call twice; listeners hear that it is lost."""
        with self._lock:
            port, thread, listeners = self._port, self._thread, self._listeners
            self._port = self._thread = None
        if port is not None:
            port.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            self._release()
        if port is not None:
            port.close()
            _tell_lost(listeners, TransportLost("the console was closed", cause=Cause.LOST, transport="serial"))
            self._events.emit("console.closed", f"the console {self.name} is closed", console=self.name)

    def _release(self) -> None:
        if self._ownership is not None:
            self._ownership.release()
            self._ownership = None
        if self._raw is not None:
            os.close(self._raw)
            self._raw = None

    def turn_over(self) -> None:
        """Turns the raw log over, where there is one that has grown large. Raises OSError."""
        if self._raw_log is not None and is_due(self._raw_log):
            with self._lock:  # the reader writes to it
                turn_over(self._raw_log)

    # -- in ----------------------------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Lets it hear everything from now on; returns the call that ends this."""
        with self._lock:
            self._listeners = [*self._listeners, listener]

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = [kept for kept in self._listeners if kept is not listener]

        return unsubscribe

    def claim(self, listener: Listener) -> Callable[[], None]:
        """Subscribes it, and leaves it to that listener to tell which lines are the console's (`record`).

        Until `let_all_through` the kernel's and systemd's lines are recorded here and kept from it.
        """
        sieved = Sieved(listener, self.record)
        with self._lock:
            self._record_open_line()
            self._claimed_by = sieved
            unsubscribe = self.subscribe(sieved)

        def release() -> None:
            unsubscribe()
            with self._lock:
                if self._claimed_by is sieved:
                    self._claimed_by = None
                    self._line, self._line_recorded = b"", 0

        return release

    def let_all_through(self) -> None:
        """From now on whoever has claimed the console hears all of it."""
        with self._lock:
            if self._claimed_by is not None:
                self._claimed_by.open()

    def record(self, lines: Iterable[bytes]) -> None:
        """Makes a `console.line` event of each line that has text in it."""
        for line in lines:
            text = as_text(line)
            if text.strip():
                self._events.emit("console.line", text, text=text, console=self.name)

    def _read(self, port: Port) -> None:
        try:
            self._hear(port)
        except Exception as error:  # whatever it is: a console without a reader must not count as open
            self._ended(port, PortClosed(f"reading failed: {type(error).__name__}: {error}"))

    def _hear(self, port: Port) -> None:
        while True:
            try:
                waits = _QUIET_SECONDS if len(self._line) > self._line_recorded else None
                data = port.read(waits)
            except PortClosed as closed:
                self._ended(port, closed)
                return
            with self._lock:
                if self._port is not port:
                    return
                listeners = self._listeners
                if data:
                    self._log(data)
                    if self._claimed_by is None:
                        self._split(data)
                elif waits is not None:
                    self._record_open_line()
            if data:
                at = time.monotonic()
                for listener in listeners:
                    try:
                        listener.feed(data, at)
                    except Exception as error:
                        self._drop(listener, error)

    def _drop(self, listener: Listener, error: Exception) -> None:
        """A listener that failed hears no more, and is told so; the others, and the record, go on."""
        with self._lock:
            self._listeners = [kept for kept in self._listeners if kept is not listener]
        why = f"what the console {self.name} said could not be read: {type(error).__name__}: {error}"
        self._events.emit("console.listener_failed", why, level="error", console=self.name)
        _tell_lost([listener], TransportLost(why, cause=Cause.DAMAGED, transport="serial"))

    def _log(self, data: bytes) -> None:
        raw = self._raw
        if raw is None:
            return
        try:
            while data:
                data = data[os.write(raw, data) :]
        except OSError as error:
            # A full disk must not end the run; but it must be said, once.
            self._raw = None
            os.close(raw)
            self._log_failed(error)

    def _log_failed(self, error: OSError) -> None:
        self._events.emit(
            "console.log_failed",
            f"the raw log {self._raw_log} cannot be written: {error.strerror}",
            level="error",
            console=self.name,
        )

    def _split(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if lines:
            lines[0] = lines[0][self._line_recorded :]
            self._line_recorded = 0
            self.record(lines)
        if len(self._line) > _LONGEST_LINE:
            self._record_open_line()
            self._line, self._line_recorded = self._line[self._line_recorded :], 0

    def _record_open_line(self) -> None:
        """Records what is new of the line that has not ended, but no half of a character or control sequence."""
        piece = self._line[self._line_recorded :]
        if unfinished := _UNFINISHED.search(piece):
            piece = piece[: unfinished.start()]
        if piece:
            self.record([piece])
            self._line_recorded += len(piece)

    def _ended(self, port: Port, closed: PortClosed) -> None:
        with self._lock:
            if self._port is not port:
                return
            self._port = self._thread = None
            # Those who hear it now: who subscribes later listens to the next connection, which is not lost.
            listeners = self._listeners
            if self._claimed_by is None:
                self._record_open_line()
        port.close()
        self._events.emit(
            "console.lost", f"the console {self.name} is gone: {closed}", level="warning", console=self.name
        )
        _tell_lost(
            listeners,
            Eof(
                f"the console {self.name} at {self.address} is gone: {closed}",
                cause=Cause.EOF,
                transport="serial",
                hint="the machine was stopped, or somebody took its console away",
            ),
        )

    def _wait_for_reader(self) -> None:
        """The writer may meet the end of the line first. Until the reader has met it too, the console would still
        pass for open, and the next user would type into the dead port."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_READER_NOTICES)

    # -- out ---------------------------------------------------------------------------------------------------

    def write(
        self, data: bytes, *, deadline: Deadline, secret: bool = False, record: bool = True, shown: str = ""
    ) -> None:
        """Types it, no faster than the other end takes it. A `secret` is masked in the record; without `record` it does
        not stand there at all; `shown` stands there for what is typed in a form that secrets are not found in.

        Raises Eof when the other end is gone, TransportLost when it takes nothing until the deadline, Cancelled.
        """
        with self._typing:
            at = 0
            while at < len(data):
                deadline.check(f"typing on the console {self.name}")
                port = self._port
                if port is None:
                    raise Eof(f"the console {self.name} is not open", cause=Cause.EOF, transport="serial")
                piece = data[at : at + 16] if self.pace else data[at:]
                try:
                    # In slices, so that a cancelled run does not hang on a console that takes nothing.
                    at += port.write(piece, min(0.2, deadline.remaining()))
                except PortClosed as closed:
                    self._wait_for_reader()
                    raise Eof(
                        f"the console {self.name} is gone: {closed}", cause=Cause.EOF, transport="serial"
                    ) from closed
                if self.pace:
                    deadline.sleep(self.pace)
        if not record:
            return
        text = "********" if secret else shown or data.decode("utf-8", "backslashreplace").rstrip("\r\n")
        self._events.emit("console.input", text, level="debug", text=text, console=self.name)


def _tell_lost(listeners: Iterable[Listener], error: TransportError) -> None:
    for listener in listeners:
        with contextlib.suppress(Cancelled, DeadlineExpired):
            listener.lost(error)
