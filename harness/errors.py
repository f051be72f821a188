"""Every error that a person may meet, with the exit code it leads to.

Nothing here is raised bare: a message says what was tried, on what, and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `harness`; no two meanings share one."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOTHING_SELECTED = 4
    INTERNAL = 5
    FLAKY = 6
    INFRASTRUCTURE = 7
    INTERRUPTED = 130


class HarnessError(Exception):
    """Base of all our errors. `hint` says what to do next; `exit_code` what the process returns."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Source:
    """A place in a file, for errors. `line` and `column` count from 1; 0 means unknown."""

    path: str
    line: int = 0
    column: int = 0
    text: str = ""

    def __str__(self) -> str:
        place = self.path
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        return place


class UsageError(HarnessError):
    """The person's input cannot be used: a flag, an inventory, a check module. Exit code 2."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *, source: Source | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.message}" if self.source else self.message]
        if self.source and self.source.text:
            text = self.source.text.expandtabs()
            lines.append(f"    {text}")
            if self.source.column:
                before = self.source.text[: self.source.column - 1].expandtabs()
                lines.append("    " + " " * len(before) + "^")
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class NothingSelected(HarnessError):
    """A selection (`-k`, `--tags`, …) left no check or no host. Exit code 4."""

    exit_code = ExitCode.NOTHING_SELECTED


class Cancelled(HarnessError):
    """A wait was ended from outside (Ctrl-C, a panic, a global deadline)."""

    exit_code = ExitCode.INTERRUPTED


class DeadlineExpired(HarnessError):
    """A deadline passed before the named thing was done."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"the deadline passed while {doing}")
        self.doing = doing


class InfrastructureError(HarnessError):
    """What carries the run is short of something: descriptors, threads, memory, disk space, its turn. No target is to
    blame. Exit code 7."""

    exit_code = ExitCode.INFRASTRUCTURE


class MachineError(HarnessError):
    """A machine (QEMU, its image, its console) could not be started or died."""

    exit_code = ExitCode.UNREACHABLE
