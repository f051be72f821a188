"""Waits for a machine to boot: a console's bytes go into a :class:`BootWatcher`, its stages become events."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.deadline import Deadline
from harness.drawn_screen import MENU_ON_SCREEN
from harness.errors import Cancelled, DeadlineExpired, HarnessError, MachineError
from harness.events.emitter import Emitter
from harness.machine.boot import BootWatcher
from harness.machine.boot_signs import HANDED_OVER, MEANING, NEXT, BootFailure, Stage

_TICK = 0.1
_MOST_WAITING = 256
"""Pieces of the console, of at most 64 KiB each."""
_SSH_POLL = 1.0
# A console that is asked too early answers nothing, and one that is asked too often is noise.
_POKE_AFTER = 5.0
_POKE_ATTACHED = 0.5
_DYING = 3.0
LOGIN_PATIENCE = 20.0
"""Seconds of silence on the console of a machine that has booted, after which no prompt is waited for any longer."""
_LONGEST_LINE = 160
_WITH_CAUSE = frozenset(
    {BootFailure.PANIC, BootFailure.EMERGENCY, BootFailure.INITRAMFS, BootFailure.STALL, BootFailure.RESET_LOOP}
    | {BootFailure.TIMEOUT, BootFailure.NO_BOOT}
)


class BootConsole(Protocol):
    """What waiting for a boot needs of a console; :class:`harness.transport.serial.console.Console` is one."""

    hands_off: str
    """Why nothing may be typed on it by itself; empty where it may."""

    def subscribe(self, listener: BootListener) -> Callable[[], None]:
        """Lets the listener hear everything from now on; returns the call that ends this."""

    def write(self, data: bytes, *, deadline: Deadline) -> None:
        """Types `data`."""


class BootFailed(MachineError):
    """A machine did not come up. `reason`, the last console `lines`, the `stage` it was in, and `elapsed` seconds."""

    def __init__(
        self, message: str, *, reason: BootFailure, lines: tuple[str, ...], stage: Stage | None, elapsed: float
    ) -> None:
        super().__init__(message, hint=NEXT[reason])
        self.reason = reason
        self.lines = lines
        self.stage = stage
        self.elapsed = elapsed


@dataclass(frozen=True, slots=True)
class BootReport:
    """A boot that came through: what ended the wait, after how many seconds, and the stages with theirs. `target`: its
    console reached multi-user.target and showed no prompt; whether it can be reached is another question."""

    ended_by: Literal["login", "shell", "ssh", "target"]
    elapsed: float
    stages: tuple[tuple[str, float], ...]


class BootListener:
    """Carries the console's bytes from its reader's thread to the waiting one."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[tuple[bytes, float] | HarnessError] = queue.SimpleQueue()

    def feed(self, data: bytes, at: float) -> None:
        if self.queue.qsize() < _MOST_WAITING:  # a console that says more, faster than it is read, is not kept
            self.queue.put((data, at))

    def lost(self, error: HarnessError) -> None:
        self.queue.put(error)


def wait_for_boot(
    console: BootConsole,
    *,
    name: str,
    events: Emitter,
    deadline: Deadline,
    stall: float,
    started: float,
    alive: Callable[[], bool] = lambda: True,
    last_words: Callable[[], str] = lambda: "",
    ssh_answers: Callable[[], bool] | None = None,
    attached: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> BootReport:
    """Returns once `name` shows a login or shell prompt, or `ssh_answers()` is true (asked in a thread of its own). A
    machine that has reached multi-user.target has booted, also where neither comes within `LOGIN_PATIENCE`.

    `started`: the monotonic time of the start. `stall`: the longest silence in seconds. `alive`, `last_words`: of
    QEMU, where it is ours. `attached`: it may have been up long ago, so its console is asked at once. `ready` is called
    when the console is being heard; a machine that was held may be resumed there.

    Each stage is a `boot.stage` event. Raises :class:`BootFailed` and :class:`Cancelled`.
    """
    clock = deadline.clock
    watcher = BootWatcher(started=started, stall=stall)
    listener = BootListener()
    ssh = _SshPoll(ssh_answers) if ssh_answers is not None else None
    unsubscribe = console.subscribe(listener)
    told = 0
    poked = clock.monotonic()
    lost: HarnessError | None = None
    lost_at = 0.0

    def failed(reason: BootFailure, detail: str = "") -> BootFailed:
        elapsed = max(0.0, clock.monotonic() - started)
        error = _failure(name, reason, watcher, elapsed, detail)
        events.emit(
            "boot.failed",
            f"{name}: {_what_happened(watcher, reason)}",
            level="error",
            target=name,
            cause=str(reason),
            stage=str(watcher.stage or "none"),
            duration=elapsed,
            seen="\n".join(watcher.tail()),
            error_message=error.message,
        )
        return error

    try:
        ready()
        if ssh is not None:
            ssh.start()
        while True:
            ended = _drain(listener, watcher)
            now = clock.monotonic()
            watcher.tick(now)
            if console.hands_off in ("", MENU_ON_SCREEN):
                console.hands_off = MENU_ON_SCREEN if watcher.at_menu else ""
            while told < len(watcher.stages):
                seen = watcher.stages[told]
                told += 1
                words = f"{name}: {seen.stage} after {seen.seconds:.1f} s"
                events.emit(
                    "boot.stage", words, target=name, stage=str(seen.stage), duration=seen.seconds, seen=seen.line
                )
            stages = tuple((str(seen.stage), seen.seconds) for seen in watcher.stages)
            booted = watcher.booted_at is not None
            silent = watcher.silent_for(now) >= min(LOGIN_PATIENCE, stall / 2)
            if booted and (
                watcher.failure in (BootFailure.STALL, BootFailure.MENU) or (watcher.failure is None and silent)
            ):
                return BootReport("target", max(0.0, now - started), stages)
            if watcher.failure is not None:
                raise failed(watcher.failure)
            if watcher.prompt:
                return BootReport(watcher.prompt, max(0.0, now - started), stages)
            if ssh is not None and ssh.answered():
                # The system is up, so a boot loader's menu is over, though nothing has replaced it on the console.
                if console.hands_off == MENU_ON_SCREEN:
                    console.hands_off = ""
                return BootReport("ssh", max(0.0, now - started), stages)
            if not alive():
                words = last_words()
                raise failed(BootFailure.DEAD, f"QEMU's own words:\n{words}" if words else "")
            lost = lost or ended
            if lost is not None:
                # A dying QEMU closes its console first; what ended is worth the moment it takes to know.
                lost_at = lost_at or now
                if now - lost_at >= _DYING:
                    raise failed(BootFailure.CONSOLE_LOST, lost.message)
            if lost is None:
                poked = _poke(console, watcher, now, poked, deadline, attached)
            try:
                deadline.check(f"waiting for {name} to boot")
            except DeadlineExpired:
                if booted:
                    return BootReport("target", max(0.0, now - started), stages)
                raise failed(BootFailure.TIMEOUT) from None
    finally:
        unsubscribe()
        if ssh is not None:
            ssh.stop()


def _drain(listener: BootListener, watcher: BootWatcher) -> HarnessError | None:
    """Takes what has come, waiting a moment for the first; returns the console's error when it was lost."""
    wait = _TICK
    end = time.monotonic() + 2 * _TICK
    while time.monotonic() < end:  # then the deadline is looked at again, however much there is
        try:
            item = listener.queue.get(timeout=wait) if wait else listener.queue.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, HarnessError):
            return item
        watcher.feed(*item)
        wait = 0.0
    return None


def _poke(
    console: BootConsole, watcher: BootWatcher, now: float, poked: float, deadline: Deadline, attached: bool
) -> float:
    """Types a newline at a console that is mute late in the boot: its prompt may have been printed long ago, or
    been torn apart by a message. Never earlier: Enter means something in a boot menu."""
    # In an initrd only behind a torn prompt: what asks there may be a disk's passphrase, which Enter would answer.
    late = watcher.torn_prompt or (watcher.stage is not None and watcher.stage.rank >= Stage.USERSPACE.rank)
    mute = attached and watcher.stage is None
    after = _POKE_ATTACHED if mute else _POKE_AFTER
    if console.hands_off or watcher.at_menu:
        return poked
    if not (late or mute) or watcher.silent_for(now) < after or now - poked < after:
        return poked
    try:
        console.write(b"\n", deadline=deadline.clamp(2.0))
    except Cancelled:
        raise
    except HarnessError:
        # The console's own loss comes to the listener, with its reason; a full buffer is as good as silence.
        pass
    return now


def _failure(name: str, reason: BootFailure, watcher: BootWatcher, elapsed: float, detail: str) -> BootFailed:
    lines = watcher.tail()
    stage = f"in the stage {watcher.stage}" if watcher.stage else "before any stage was recognised"
    shown = "\n".join(f"    {line}" for line in lines)
    said = "its console said nothing at all"
    if lines:
        # The first line is read alone, so it has the line that ended the boot.
        last = next((line for line in reversed(lines) if "Kernel panic" in line), lines[-1])
        said = f"the console ends with {_shortened(last)!r}; the console's last lines:\n{shown}"
    what = f"{name} booted, and then " if watcher.booted_at is not None else f"{name} did not boot: "
    parts = [f"{what}{_what_happened(watcher, reason)} ({elapsed:.1f} s after the start, {stage})", detail, said]
    message = "; ".join(part for part in parts if part)
    return BootFailed(message, reason=reason, lines=lines, stage=watcher.stage, elapsed=elapsed)


def _what_happened(watcher: BootWatcher, reason: BootFailure) -> str:
    """Return the meaning of a failure, and before it the line that names its cause, where one was seen earlier."""
    cause = watcher.cause if reason in _WITH_CAUSE and watcher.booted_at is None else ""
    lines = watcher.tail(1)
    if reason is BootFailure.STALL and not cause and lines:
        cause = next((meaning for sign, meaning in HANDED_OVER if sign.search(lines[-1])), "")
    return f"{cause}: {MEANING[reason]}" if cause else MEANING[reason]


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


class _SshPoll:
    """Asks now and then whether SSH answers, so that a slow answer delays nobody."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._stop = threading.Event()
        self._yes = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._poll, name="boot ssh poll", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def answered(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._yes.is_set()

    def stop(self) -> None:
        self._stop.set()

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                if self._ask():
                    self._yes.set()
                    return
            except Exception as error:  # raised again by answered(), in the waiting thread
                self._error = error
                return
            self._stop.wait(_SSH_POLL)
