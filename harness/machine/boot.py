"""Watches a boot through its console's bytes: pure, fed with bytes and times, never waits."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

from harness.drawn_screen import DrawnScreen
from harness.machine.boot_signs import (
    BOOTED,
    CAUSE_SIGNS,
    FAILURE_SIGNS,
    LOGIN_PROMPT,
    LOGIN_WITH_NOISE,
    RESTART,
    SHELL_PROMPT,
    SHELL_WITH_NOISE,
    STAGE_SIGNS,
    BootFailure,
    Stage,
)

_KEPT_LINES = 40
_LONGEST_LINE = 4096
# A prompt is a line that was not ended and is followed by nothing.
_LOGIN_QUIET = 0.25
_SHELL_QUIET = 1.0
# The lines that belong to a panic or an emergency come right after the first; they are worth the wait.
_GATHER = 0.5
_MAX_RESTARTS = 3
# ECMA-48 control sequences, OSC strings, and two-character escapes.
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])")
_ANSI_CUT = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)$")
_CONTROLS = bytes(c for c in range(32) if c != 9) + b"\x7f"

_GREETING = re.compile(r"^Welcome to ")
_STAMP = re.compile(r"^\[ *\d+\.\d{6}\] ")

Prompt = Literal["login", "shell", ""]


@dataclass(frozen=True, slots=True)
class StageSeen:
    """A stage was reached `seconds` after the start; `line` is what told it."""

    stage: Stage
    seconds: float
    line: str


class BootWatcher:
    """Feed it what the console says, with times of one monotonic clock, and `tick` it now and then.

    `started` is that clock at the machine's start; `stall` the longest silence, in seconds, that is still a boot.
    """

    def __init__(self, *, started: float, stall: float) -> None:
        self._started = started
        self._stall = stall
        self._open = b""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._heard = started
        self.torn_prompt = False
        """A kernel message was seen right behind what looks like a shell's prompt: asked again, it will say."""
        self._any_byte = started
        self._failing: tuple[BootFailure, float] | None = None
        self._cause: tuple[int, str] | None = None
        self.booted_at: float | None = None
        """When systemd said that it has reached multi-user.target or graphical.target; None where it has not."""
        self._stage: Stage | None = None
        self._kernel_seen = False
        self._screen = DrawnScreen()
        self._restarts = 0
        self.stages: list[StageSeen] = []
        self.prompt: Prompt = ""
        self.failure: BootFailure | None = None

    @property
    def stage(self) -> Stage | None:
        """The stage it is in; None before anything was recognised."""
        return self._stage

    @property
    def cause(self) -> str:
        """The gravest line so far that names a cause, and of equally grave ones the first; empty where none does."""
        return self._cause[1] if self._cause is not None else ""

    @property
    def done(self) -> bool:
        """It is at a prompt, or will never get there."""
        return bool(self.prompt) or self.failure is not None

    def silent_for(self, now: float) -> float:
        """Seconds since the console said something that is more than white space."""
        return now - self._heard

    @property
    def at_menu(self) -> bool:
        """Whether a menu or a dialogue is on the console: keys choose something there, so none may be typed."""
        return self._screen.is_drawn and not self.prompt

    def tail(self, count: int = 15) -> tuple[str, ...]:
        """Return the last lines with text in them, clean, the one not yet ended included; the rows of a menu."""
        if self.at_menu:
            return self._screen.lines()
        unfinished = _clean(self._open).strip()
        return tuple([*self._lines, *([unfinished] if unfinished else [])][-count:])

    def feed(self, data: bytes, at: float) -> None:
        """The next bytes, however they are cut."""
        if not data:
            return
        self._any_byte = at
        self._screen.feed(data)
        if data.strip():
            # The echo of a newline that was typed at a mute console is no sign of life.
            self._heard = at
        *lines, self._open = (self._open + data).split(b"\n")
        if len(self._open) > _LONGEST_LINE:
            lines.append(self._open)
            self._open = b""
        for line in lines:
            self._line(_clean(line[:_LONGEST_LINE]).rstrip(), at)
        if self._open:
            # What stands on the open line counts for stages and failures ("(initramfs) " ends no line).
            self._classify(_clean(self._open[:_LONGEST_LINE]), at)

    def tick(self, now: float) -> None:
        """Lets time pass: confirms prompts, ends gathering, sees a stall."""
        if self.done:
            return
        if self._failing is not None:
            if now - self._failing[1] >= _GATHER:
                self.failure = self._failing[0]
            return
        quiet = now - self._any_byte
        text = _clean(self._open)
        if quiet >= _LOGIN_QUIET and LOGIN_PROMPT.search(text):
            self._at_prompt("login", self._any_byte, text)
        elif quiet >= _SHELL_QUIET and SHELL_PROMPT.search(text):
            self._at_prompt("shell", self._any_byte, text)
        elif now - self._heard >= self._stall:
            self.failure = BootFailure.MENU if self.at_menu else BootFailure.STALL

    def _line(self, text: str, at: float) -> None:
        if text.strip():
            self._lines.append(text)
        if RESTART.search(text) and self._stage is not None and self._stage.rank > Stage.KERNEL.rank:
            self._restarts += 1
            self._stage = self._cause = self.booted_at = None
            self._kernel_seen = False
            if self._restarts >= _MAX_RESTARTS and self._failing is None:
                self._failing = (BootFailure.RESET_LOOP, at)
        self._classify(text, at)
        if not self.done and self.booted_at is None:
            self._note_cause(text)

    def _note_cause(self, text: str) -> None:
        for sign in CAUSE_SIGNS:
            if sign.pattern.search(text) and (self._cause is None or sign.grade > self._cause[0]):
                self._cause = sign.grade, _STAMP.sub("", text).strip()
                return

    def _classify(self, text: str, at: float) -> None:
        if self._failing is None and not self.done:
            for failure in FAILURE_SIGNS:
                if failure.pattern.search(text):
                    self._failing = (failure.failure, at)
                    break
        for sign in reversed(STAGE_SIGNS):
            if sign.pattern.search(text):
                if sign.stage is Stage.KERNEL and not _STAMP.match(text):
                    self._screen.reset()  # a kernel starts; kernel messages alone are written over dialogues too
                self._kernel_seen |= sign.stage in (Stage.KERNEL, Stage.INITRD)
                # `Welcome to GRUB!` does not greet from a system.
                if sign.stage is not Stage.USERSPACE or self._kernel_seen or not _GREETING.match(text):
                    self._reached(sign.stage, at, text)
                break
        if self.booted_at is None and BOOTED.search(text):
            self.booted_at = at
        if self._failing is None and not self.done and LOGIN_WITH_NOISE.search(text):
            self._at_prompt("login", at, text)
        if SHELL_WITH_NOISE.search(text):
            self.torn_prompt = True

    def _at_prompt(self, prompt: Prompt, at: float, text: str) -> None:
        self.prompt = prompt
        self._reached(Stage.LOGIN, at, text)

    def _reached(self, stage: Stage, at: float, text: str) -> None:
        if self._stage is None or stage.rank > self._stage.rank:
            self._stage = stage
            self.stages.append(StageSeen(stage, max(0.0, at - self._started), text.strip()))


def _clean(line: bytes) -> str:
    line = _ANSI.sub(b"", line)
    line = _ANSI_CUT.sub(b"", line)
    # Of what a carriage return has overwritten, only the last writing is seen by a person.
    line = line.rstrip(b"\r").rsplit(b"\r", 1)[-1]
    return line.translate(None, _CONTROLS).decode("utf-8", "backslashreplace")
