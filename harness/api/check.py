"""What the author of a check writes: a plain function that looks at a target.

    from harness import check

    @check
    def root_is_writable(target):
        assert target.run("touch /root/.probe && rm /root/.probe").ok

Returning means "as it should be"; what is returned is kept as the observation. ``AssertionError`` (or
:class:`NotYet`) means "not yet", and is tried again within the check's budget. :class:`Never` means that waiting
will not
help. Any other exception is a mistake in the check itself and is not tried again.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, overload

from harness.errors import Source, UsageError

CheckFunction = Callable[..., Any]

_REGISTRY = "__harness_checks__"


class NotYet(AssertionError):
    """The target is not yet as it should be; try again."""


class Never(Exception):
    """The target can no longer become what it should be; the message says why. Not tried again."""


class Skip(Exception):
    """The check does not apply to this target; the message says why."""


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
        return replace(self, budget=self.budget * factor, attempt_timeout=self.attempt_timeout * factor)


@dataclass(frozen=True, slots=True)
class Check:
    """A check as it was found: its function, its settings, and where it stands."""

    name: str
    module: str
    path: str
    function: CheckFunction
    source: Source
    settings: Settings = field(default_factory=Settings)
    tags: frozenset[str] = frozenset()
    transport: str | None = None
    description: str = ""

    @property
    def id(self) -> str:
        """How to name it on the command line: `path/to/file.py::name`."""
        return f"{self.path}::{self.name}"

    @property
    def label(self) -> str:
        """How people see it: `module::name`."""
        return f"{self.module}::{self.name}"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `@check` noted about a function, before discovery gives it a place."""

    function: CheckFunction
    source: Source
    settings: dict[str, float]
    tags: frozenset[str]
    transport: str | None


@overload
def check(function: CheckFunction, /) -> CheckFunction: ...


@overload
def check(
    *,
    budget: float | None = None,
    attempt_timeout: float | None = None,
    interval: float | None = None,
    window: float | None = None,
    tags: Iterable[str] = (),
    transport: str | None = None,
) -> Callable[[CheckFunction], CheckFunction]: ...


def check(
    function: CheckFunction | None = None,
    /,
    *,
    budget: float | None = None,
    attempt_timeout: float | None = None,
    interval: float | None = None,
    window: float | None = None,
    tags: Iterable[str] = (),
    transport: str | None = None,
) -> CheckFunction | Callable[[CheckFunction], CheckFunction]:
    """Marks a function of one parameter, the target, as a check.

    Times are in seconds, see :class:`Settings`. `tags` select it with ``-t``. `transport` (``"ssh"`` or
    ``"serial"``) insists on one
    transport instead of whichever works. Raises :class:`~harness.errors.UsageError` for a wrong signature or setting.
    """

    def declare(marked: CheckFunction) -> CheckFunction:
        source = _source_of(marked)
        settings = {
            name: value
            for name, value in {
                "budget": budget,
                "attempt_timeout": attempt_timeout,
                "interval": interval,
                "window": window,
            }.items()
            if value is not None
        }
        _validate(marked, settings, tags, transport, source)
        declared = Declaration(marked, source, settings, frozenset(tags), transport)
        sys.modules[marked.__module__].__dict__.setdefault(_REGISTRY, []).append(declared)
        return marked

    return declare if function is None else declare(function)


def declarations(module: object) -> list[Declaration]:
    """The checks that a module itself declares, in their order."""
    return list(getattr(module, _REGISTRY, []))


def _validate(
    function: CheckFunction,
    settings: dict[str, float],
    tags: Iterable[str],
    transport: str | None,
    source: Source,
) -> None:
    if not callable(function) or not hasattr(function, "__code__"):
        raise UsageError(f"@check marks a function, not {function!r}", source=source)
    name = function.__name__
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(f"check {name} must be a plain function (no `async`, no `yield`)", source=source)
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise UsageError(
            f"check {name}{inspect.signature(function)} must take one parameter, the target: {error}",
            source=source,
            hint=f"Write it as `def {name}(target): ...`.",
        ) from None
    for setting, value in settings.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise UsageError(f"check {name}: {setting}={value!r} is not a number of seconds", source=source)
    if isinstance(tags, str):
        raise UsageError(f"check {name}: tags={tags!r} must be a list of words", source=source)
    if transport not in (None, "ssh", "serial"):
        raise UsageError(f"check {name}: transport={transport!r} is neither 'ssh' nor 'serial'", source=source)


def _source_of(function: CheckFunction) -> Source:
    code = getattr(function, "__code__", None)
    if code is None:
        return Source(getattr(function, "__module__", "?"))
    line = code.co_firstlineno
    try:
        lines, start = inspect.getsourcelines(function)
        offset = next(i for i, text in enumerate(lines) if text.lstrip().startswith(("def ", "async def ")))
        return Source(code.co_filename, start + offset, text=lines[offset].rstrip("\n"))
    except (OSError, StopIteration):
        return Source(code.co_filename, line)
