"""What went over a link: counted, and told as events. Retries hide nothing here."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import fields

from harness.errors import HarnessError
from harness.events.emitter import Emitter
from harness.transport.contract import CommandResult, Damage, FileResult
from harness.transport.errors import Timeout, TransportError

_COUNTS = ("commands", "files", "failures", "timeouts", "repeats")
_DAMAGE = tuple(field.name for field in fields(Damage))


class Ledger:
    """The counts of one link. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys((*_COUNTS, *_DAMAGE), 0)

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened so far: commands, files, failures, timeouts, repeats, and all of Damage."""
        with self._lock:
            return dict(self._counts)

    def repeated(self) -> None:
        """A call was made once more over the same transport."""
        with self._lock:
            self._counts["repeats"] += 1

    def reconnected(self, times: int) -> None:
        """A call that failed had connected anew so often."""
        with self._lock:
            self._counts["reconnects"] += times

    def command(self, events: Emitter, result: CommandResult) -> None:
        """A command was answered."""
        damage = {name: getattr(result.damage, name) for name in _DAMAGE}
        with self._lock:
            self._counts["commands"] += 1
            self._counts["repeats"] += result.attempts - 1
            for name, number in damage.items():
                self._counts[name] += number
        events.emit(
            "command",
            f"exit status {result.exit_status}",
            transport=result.transport,
            command=result.command,
            exit_status=result.exit_status,
            duration=result.duration,
            stdout_bytes=len(result.stdout),
            stderr_bytes=len(result.stderr),
            damage={name: number for name, number in damage.items() if number},
            attempts=result.attempts,
            fell_back_from=[note.transport for note in result.fallbacks],
        )

    def command_failed(self, events: Emitter, command: str, error: HarnessError, duration: float) -> None:
        """A command got no answer."""
        self._count_failure("commands", error)
        events.emit(
            "command",
            error.message,
            level="warning",
            transport=error.transport if isinstance(error, TransportError) else None,
            command=command,
            exit_status=None,
            duration=duration,
            stdout_bytes=len(error.stdout) if isinstance(error, Timeout) else 0,
            stderr_bytes=len(error.stderr) if isinstance(error, Timeout) else 0,
            damage={},
            cause=_cause(error),
            may_have_run=isinstance(error, TransportError) and error.may_have_run,
        )

    def file(self, events: Emitter, action: str, result: FileResult) -> None:
        """A file was carried; `action` is ``file.put`` or ``file.get``."""
        with self._lock:
            self._counts["files"] += 1
            self._counts["repeats"] += result.attempts - 1
            self._counts["reconnects"] += result.damage.reconnects
        events.emit(
            action,
            f"{result.path}: {result.size} bytes",
            transport=result.transport,
            path=result.path,
            bytes=result.size,
            duration=result.duration,
            attempts=result.attempts,
            fell_back_from=[note.transport for note in result.fallbacks],
        )

    def file_failed(self, events: Emitter, action: str, path: str, error: Exception, duration: float) -> None:
        """A file was not carried."""
        self._count_failure("files", error)
        events.emit(
            action,
            error.message if isinstance(error, HarnessError) else str(error),
            level="warning",
            transport=error.transport if isinstance(error, TransportError) else None,
            path=path,
            bytes=None,
            duration=duration,
            cause=_cause(error),
        )

    def _count_failure(self, what: str, error: Exception) -> None:
        with self._lock:
            self._counts[what] += 1
            self._counts["timeouts" if isinstance(error, Timeout) else "failures"] += 1


def _cause(error: Exception) -> str:
    return str(error.cause) if isinstance(error, TransportError) else type(error).__name__.lower()
