"""The link as one attempt sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.deadline import Deadline
from harness.events import Emitter
from harness.target.tracked_result import TrackedResult
from harness.transport.contract import CommandResult, FailedCall, Fallback, FileResult, Result
from harness.transport.errors import TransportError
from harness.transport.link import Link


class CountedLink:
    """Each answer is told to the engine."""

    def __init__(self, link: Link, on_result: Callable[[Result], None], events: Emitter) -> None:
        self._link = link
        self._on_result = on_result
        self._events = events

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        stdin: bytes | None = None,
        transport: str | None = None,
        repeatable: bool = False,
    ) -> CommandResult:
        with self._counting_failures():
            result = self._link.run(
                command,
                deadline=deadline,
                stdin=stdin,
                transport=transport,
                repeatable=repeatable,
                events=self._events,
            )
        if result.exit_status:
            result = TrackedResult.of(result)
        self._on_result(result)
        return result

    def put(
        self, data: bytes | Path, path: str, *, deadline: Deadline, mode: int = 0o600, transport: str | None = None
    ) -> FileResult:
        with self._counting_failures():
            result = self._link.put(data, path, deadline=deadline, mode=mode, transport=transport, events=self._events)
        self._on_result(result)
        return result

    def get(self, path: str, *, deadline: Deadline, transport: str | None = None) -> FileResult:
        with self._counting_failures():
            result = self._link.get(path, deadline=deadline, transport=transport, events=self._events)
        self._on_result(result)
        return result

    @property
    def left(self) -> Mapping[str, Fallback]:
        """The transports that the link has left, and why."""
        return self._link.left

    @contextmanager
    def _counting_failures(self) -> Iterator[None]:
        """Report what a call that raises has cost: its connections were made, whether it was answered or not."""
        try:
            yield
        except TransportError as error:
            if error.damage.any:
                self._on_result(FailedCall(error.damage))
            raise
