"""The one small contract that every transport speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Damage:
    """What a transport had to mend to get one answer; all zero on a clean line.

    `noise_bytes`: bytes inside the exchange that belonged to something else. `damaged_lines`: lines whose
    checksum did not hold. `re_reads`: times that lines were asked for again (the command is never run again for
    this). `resyncs`: times the shell had to be brought back to a known state. `reconnects`: times the
    transport was opened anew. `late_answers`: answers to earlier, given-up commands that were seen and not believed.
    """

    noise_bytes: int = 0
    damaged_lines: int = 0
    re_reads: int = 0
    resyncs: int = 0
    reconnects: int = 0
    late_answers: int = 0

    def __add__(self, other: Damage) -> Damage:
        return Damage(
            self.noise_bytes + other.noise_bytes,
            self.damaged_lines + other.damaged_lines,
            self.re_reads + other.re_reads,
            self.resyncs + other.resyncs,
            self.reconnects + other.reconnects,
            self.late_answers + other.late_answers,
        )

    @property
    def any(self) -> bool:
        return self != Damage()


@dataclass(frozen=True, slots=True)
class Fallback:
    """Why the link left a transport for another one: which, its classified cause, and its message."""

    transport: str
    cause: str
    message: str


@dataclass(frozen=True, slots=True)
class CommandResult:
    """One command's own answer, byte for byte.

    `started` and `ended` are seconds since the epoch on this machine; `duration` is measured on the monotonic
    clock, in seconds. `attempts` counts how often the command was sent (more than one only where that was
    declared safe). `fallbacks` lists the transports that were left on the way to this answer.
    """

    command: str
    stdout: bytes
    stderr: bytes
    exit_status: int
    transport: str
    started: float
    ended: float
    duration: float
    attempts: int = 1
    damage: Damage = field(default_factory=Damage)
    fallbacks: tuple[Fallback, ...] = ()

    def __bool__(self) -> bool:
        """Whether the command succeeded, so that `assert target.run(…)` means what it says."""
        return self.ok

    @property
    def ok(self) -> bool:
        """The exit status is 0."""
        return self.exit_status == 0

    def __seen__(self) -> str:
        """What an assertion that does not hold tells of it."""
        said = ", ".join(f"{name} {text!r}" for name, text in (("stdout", self.out), ("stderr", self.err)) if text)
        return f"exit status {self.exit_status}{', ' if said else ''}{said}"

    @property
    def out(self) -> str:
        """stdout as text, without the newlines at its end; bytes that are no UTF-8 are shown as `\\xNN`."""
        return self.stdout.decode("utf-8", "backslashreplace").rstrip("\n")

    @property
    def err(self) -> str:
        """stderr as text, as `out` does it."""
        return self.stderr.decode("utf-8", "backslashreplace").rstrip("\n")


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file that was carried, verified. `size` in bytes; the times are those of :class:`CommandResult`.
    `content` is what was read; of a file that was written, None.
    """

    path: str
    size: int
    transport: str
    started: float
    ended: float
    duration: float
    content: bytes | None = None
    attempts: int = 1
    damage: Damage = field(default_factory=Damage)
    fallbacks: tuple[Fallback, ...] = ()


@dataclass(frozen=True, slots=True)
class FailedCall:
    """What a call that raised a transport error had to mend before it failed: the connections that it made anew."""

    damage: Damage


Result = CommandResult | FileResult | FailedCall
"""What came of a call: an answer, a file, or neither."""

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) while a file is carried."""


class Followed(Protocol):
    """A program on the target that goes on saying things."""

    @property
    def closed(self) -> bool:
        """It will say nothing more."""

    def forget(self) -> None:
        """Throws away what has gathered."""

    def close(self) -> None:
        """Ends it, on the target too. Safe to call twice."""


@runtime_checkable
class Follows(Protocol):
    """A transport that can follow a program beside its commands."""

    def follow(self, command: str, *, deadline: Deadline, on_word: Callable[[], None]) -> Followed:
        """Starts it, and calls `on_word`, from any thread, each time that it says something. `command` holds no single
        quote. Raises Unavailable, TransportLost, Cancelled."""


@dataclass(frozen=True, slots=True)
class Window:
    """A terminal, as the target is told of it: its kind (`TERM`), and its size in characters."""

    term: str
    rows: int
    columns: int


class Interactive(Protocol):
    """A shell or program on the target whose input and output go on side by side. For one thread."""

    def take(self) -> tuple[bytes, bytes]:
        """What came of standard output and standard error since the last call. With a window all is on the first."""

    @property
    def ended(self) -> bool:
        """Nothing more will come than `take` still gives."""

    def send(self, data: bytes) -> int:
        """Sends what is taken now; how much it was."""

    def end_of_input(self) -> None:
        """Closes its standard input."""

    def resize(self, window: Window) -> None:
        """The window has another size now."""

    def rest(self) -> float:
        """Seconds after which to look again where nothing is heard. Raises TransportLost for a silent peer."""

    def exit_status(self) -> int | None:
        """How it ended; None where the target does not say, as when a signal ended it. Raises TransportLost where the
        connection ended before it did."""

    def close(self) -> None:
        """Ends it. Safe to call twice."""


@runtime_checkable
class CountsReconnects(Protocol):
    """A transport whose connection may be made anew by any call, and beside them."""

    def take_reconnects(self) -> int:
        """Return how often it was connected anew since this was last called: each is charged to one call only."""


@runtime_checkable
class Interacts(Protocol):
    """A transport that carries a shell for a person."""

    def interactive(
        self, command: str, window: Window | None, *, deadline: Deadline, on_word: Callable[[], None]
    ) -> Interactive:
        """Starts the user's login shell, or `command` in it, with a terminal where there is a `window`. `on_word` is
        called, from any thread, each time that there is something to take, and at the end. Raises Unavailable,
        TransportLost, Cancelled."""


@runtime_checkable
class Transport(Protocol):
    """A way to run a command on a target. All methods may be called from any thread; calls are served in turn
    or side by side, as the transport can. None waits past `deadline`."""

    name: str

    def run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult:
        """Runs `command` with the target's POSIX `sh`, stdin closed or given.

        Each command runs in a shell process of its own: no variable, directory or option outlives it.
        Raises :class:`~harness.transport.errors.Timeout`, ``Unavailable``, ``TransportLost``, ``Eof``, ``Damaged``,
        or :class:`~harness.errors.Cancelled`.
        """

    def put(
        self, data: bytes | Path, path: str, *, deadline: Deadline, mode: int = 0o600, progress: Progress | None = None
    ) -> None:
        """Writes a file on the target, its content verified before it takes its name."""

    def get(self, path: str, *, deadline: Deadline, progress: Progress | None = None) -> bytes:
        """Reads a file of the target, verified."""

    def close(self) -> None:
        """Gives everything back. Safe to call twice; waits of other threads end with ``TransportLost``."""
