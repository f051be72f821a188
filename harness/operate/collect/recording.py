"""A link that keeps what was asked and answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.target.target import Commands
from harness.transport.contract import CommandResult, FileResult
from harness.transport.errors import Timeout

Heard = Callable[[str, CommandResult | Timeout], None]
"""Told each command with its answer, or with how it did not end in time."""


class RecordingLink:
    """Hands every command on, each with at most so many seconds, and tells what came of it. A command that no transport
    carried is not told: there is nothing to keep."""

    def __init__(self, link: Commands, heard: Heard, seconds: float) -> None:
        self._link = link
        self._heard = heard
        self._seconds = seconds

    def run(self, command: str, *, deadline: Deadline, **how: Any) -> CommandResult:
        try:
            result = self._link.run(command, deadline=deadline.clamp(self._seconds), **how)
        except Timeout as error:
            self._heard(command, error)
            raise
        self._heard(command, result)
        return result

    def put(self, data: bytes | Path, path: str, *, deadline: Deadline, **how: Any) -> FileResult:
        return self._link.put(data, path, deadline=deadline, **how)

    def get(self, path: str, *, deadline: Deadline, **how: Any) -> FileResult:
        return self._link.get(path, deadline=deadline, **how)
