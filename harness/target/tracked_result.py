"""A failed command's result that knows whether anybody has looked at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from harness.transport.contract import CommandResult

_OUTCOME = frozenset(("exit_status", "ok", "out", "err", "stdout", "stderr", "__seen__"))
"""What tells how the command went. Who reads its `duration` does not know that it failed."""


class TrackedResult(CommandResult):
    """The same result, which remembers that its outcome was read (`exit_status`, `ok`, `out`, `err`, …).

    Made of failed results only, so that a result that is as it should be costs nothing.
    """

    __slots__ = ("_was_read",)
    _was_read: bool

    @classmethod
    def of(cls, result: CommandResult) -> TrackedResult:
        """Return the result as one that nobody has looked at yet."""
        made = cls(**{field.name: getattr(result, field.name) for field in fields(CommandResult)})
        object.__setattr__(made, "_was_read", False)
        return made

    @property
    def was_read(self) -> bool:
        """Whether its outcome was read."""
        return bool(object.__getattribute__(self, "_was_read"))

    def mark_read(self) -> None:
        """Have it count as looked at."""
        object.__setattr__(self, "_was_read", True)

    def describe(self) -> str:
        """Return how the command ended, for a warning; that does not count as reading it."""
        plain = object.__getattribute__
        status, err = plain(self, "exit_status"), plain(self, "stderr").decode("utf-8", "backslashreplace").strip()
        line = " ".join(plain(self, "command").split())
        shown = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
        said = f": {err.splitlines()[-1][:_LONGEST]}" if err else ""
        return f"`{shown}` ended with exit status {status}{said}, and the check did not look at its result"

    def __getattribute__(self, name: str) -> Any:
        if name in _OUTCOME:
            object.__setattr__(self, "_was_read", True)
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CommandResult):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in fields(CommandResult))

    def __hash__(self) -> int:
        return hash((self.command, self.exit_status, self.stdout, self.stderr, self.started))


def unread(results: Iterable[TrackedResult]) -> tuple[str, ...]:
    """Return a warning for each result that nobody has looked at, those of the same command once; at most ten."""
    found = list(dict.fromkeys(result.describe() for result in results if not result.was_read))
    more = (f"{len(found) - _MOST} more failed commands whose results were not looked at",)
    return tuple(found) if len(found) <= _MOST else (*found[:_MOST], *more)


_LONGEST = 120
_MOST = 10
