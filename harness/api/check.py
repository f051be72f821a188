"""What the author of a check writes: a plain function that looks at a target.

    from harness import check

    @check
    def root_is_writable(target):
        assert target.run("touch /root/.probe && rm /root/.probe").ok

Returning means that the check passes; what is returned is kept as the observation. ``AssertionError`` (or
:class:`NotYet`) means "not yet", and is tried again within the check's budget. :class:`Never` means that waiting
will not
help. Any other exception is a mistake in the check itself and is not tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from harness.errors import Source

WHOLE_TARGET = "(target)"
"""Stands for a check module in a verdict on the target as a whole; no file can have this name as a module's."""

CheckFunction = Callable[..., Any]
Condition = Callable[[Any], object]
"""A question about the target, asked before a check's first look."""


class NotYet(AssertionError):
    """Say that a condition does not hold yet: the check is tried again."""


class Never(Exception):
    """The target can no longer become what it should be; the message says why. Not tried again."""


class Skip(Exception):
    """The check does not apply to this target; the message says why."""


class Plain(Protocol):
    """What can be written into an event: see :class:`harness.diagnosis.diagnose.Diagnosis`."""

    def plain(self) -> dict[str, Any]:
        """Return it in JSON's own types."""


E = TypeVar("E", bound=BaseException)


def with_diagnosis(error: E, diagnosis: Plain) -> E:
    """Attach a diagnosis to a verdict; it becomes part of the check's result and of its event. Returns the error."""
    error.__dict__["diagnosis"] = diagnosis.plain()
    return error


def diagnosis_of(error: BaseException | None) -> dict[str, Any] | None:
    """Return the diagnosis that was attached to an error; None where there is none."""
    found = getattr(error, "diagnosis", None)
    return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often a check looks. All in seconds.

    `budget`: total time of all attempts. `attempt_timeout`: time of one attempt. `interval`: pause between attempts,
    growing with jitter up to `interval_max`. `window`: how long the observation must hold unchanged to count as
    settled; 0 is
    satisfied by one look.
    """

    budget: float = 60.0
    attempt_timeout: float = 20.0
    interval: float = 0.5
    interval_max: float = 5.0
    window: float = 0.0

    def scaled(self, factor: float) -> Settings:
        """For slow machines: the times allowed grow, the pace of looking and the window stay."""
        if factor == 1.0:
            return self
        return replace(self, budget=self.budget * factor, attempt_timeout=self.attempt_timeout * factor)


@dataclass(frozen=True, slots=True)
class Check:
    """A check as it was found: its function, its settings, and where it stands.

    `needs` are the ids of checks that must have passed before; `alone` means that no other check of the target runs
    beside it; `when` is asked before the first look; `settle` is the check's own wish: True waits for a settled target
    whatever the run was told, False never waits for one.
    """

    name: str
    module: str
    path: str
    function: CheckFunction
    source: Source
    settings: Settings = field(default_factory=Settings)
    tags: frozenset[str] = frozenset()
    transport: str | None = None
    description: str = ""
    needs: tuple[str, ...] = ()
    alone: bool = False
    when: Condition | None = None
    settle: bool | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    """Parameters whose values the inventory gives: the parameter's name, and the variable's."""

    @property
    def id(self) -> str:
        """How to name it on the command line: `path/to/file.py::name`."""
        return f"{self.path}::{self.name}"

    @property
    def label(self) -> str:
        """How people see it: `module::name`."""
        return f"{self.module}::{self.name}"

    @property
    def base(self) -> str:
        """The name without its parameters' values."""
        return self.name.partition("[")[0]

    @property
    def filename(self) -> str:
        """The file that the function was compiled from."""
        function = self.function.func if isinstance(self.function, partial) else self.function
        return str(function.__code__.co_filename)

    def with_values(self, values: Mapping[str, object]) -> Check:
        """The check for these values of its parameters: `name[value]`."""
        already = [self.name[len(self.base) + 1 : -1]] if self.base != self.name else []
        name = f"{self.base}[{'-'.join([*already, *map(_shown, values.values())])}]"
        return replace(self, name=name, function=partial(self.function, **values), variables={})


def _shown(value: object) -> str:
    """A parameter's value in a check's name."""
    text = value if isinstance(value, str) else repr(value)
    return "".join(c if c.isprintable() and c not in "[]" else "_" for c in text)[:80]
