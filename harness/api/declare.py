"""The decorator `check`: what the author of a check says about it, noted until discovery gives it a place."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import overload

from harness.api.check import CheckFunction, Condition
from harness.errors import Source, UsageError

_REGISTRY = "__harness_checks__"


@dataclass(frozen=True, slots=True)
class FromInventory:
    """Values that each host's own inventory gives: the variable's name."""

    variable: str


@dataclass(slots=True)
class Declaration:
    """What `@check` and `@check.each` noted about a function, before discovery gives it a place."""

    function: CheckFunction
    source: Source
    settings: dict[str, float] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    transport: str | None = None
    needs: tuple[CheckFunction | str, ...] = ()
    alone: bool = False
    when: Condition | None = None
    settle: bool | None = None
    parameters: dict[str, Sequence[object] | FromInventory] = field(default_factory=dict)

    def values(self) -> list[dict[str, object]]:
        """Each combination of the parameters whose values the check itself gives; one that is empty without any."""
        own = {name: values for name, values in self.parameters.items() if not isinstance(values, FromInventory)}
        return [dict(zip(own, row, strict=True)) for row in itertools.product(*own.values())]

    def variables(self) -> dict[str, str]:
        """The parameters whose values the inventory gives."""
        return {name: v.variable for name, v in self.parameters.items() if isinstance(v, FromInventory)}


class Checker:
    """The decorator `check`. See :meth:`__call__`, :meth:`each` and :meth:`from_inventory`."""

    @overload
    def __call__(self, function: CheckFunction, /) -> CheckFunction: ...

    @overload
    def __call__(
        self,
        /,
        *,
        budget: float | None = None,
        attempt_timeout: float | None = None,
        interval: float | None = None,
        interval_max: float | None = None,
        window: float | None = None,
        tags: Iterable[str] = (),
        transport: str | None = None,
        needs: Iterable[CheckFunction | str] | CheckFunction | str = (),
        alone: bool = False,
        when: Condition | None = None,
        settle: bool | None = None,
    ) -> Callable[[CheckFunction], CheckFunction]: ...

    def __call__(
        self,
        function: CheckFunction | None = None,
        /,
        *,
        budget: float | None = None,
        attempt_timeout: float | None = None,
        interval: float | None = None,
        interval_max: float | None = None,
        window: float | None = None,
        tags: Iterable[str] = (),
        transport: str | None = None,
        needs: Iterable[CheckFunction | str] | CheckFunction | str = (),
        alone: bool = False,
        when: Condition | None = None,
        settle: bool | None = None,
    ) -> CheckFunction | Callable[[CheckFunction], CheckFunction]:
        """Marks a function of one parameter, the target, as a check.

        Times are in seconds, see :class:`Settings`. `tags` select it with ``-t``. `transport` (``"ssh"`` or
        ``"serial"``) insists on one transport instead of whichever works. `needs` names checks (functions, or names as
        ``module::name`` or of the same file) that must pass on the target first; where one does not, this one is
        skipped. Checks run side by side unless one needs another; `alone` keeps all others of the target away, the
        earlier ones before it and the later ones after it. `when` is a function of the target: where it gives
        something false, the check is skipped. `settle` waits (True), or does not wait (False), for a settled target
        whatever the run was told. Raises :class:`~harness.errors.UsageError` for a wrong signature or setting.
        """

        settings = {
            "budget": budget,
            "attempt_timeout": attempt_timeout,
            "interval": interval,
            "interval_max": interval_max,
            "window": window,
        }

        def declare(marked: CheckFunction) -> CheckFunction:
            declared = _declaration(marked)
            declared.settings = {name: value for name, value in settings.items() if value is not None}
            declared.transport, declared.alone, declared.when, declared.settle = transport, alone, when, settle
            single = callable(needs) or isinstance(needs, str)
            declared.needs = (needs,) if single else tuple(needs)  # type: ignore[arg-type, assignment]
            _validate(declared, tags)
            declared.tags = frozenset(tags)
            return marked

        return declare if function is None else declare(function)

    def each(self, **parameters: Iterable[object] | FromInventory) -> Callable[[CheckFunction], CheckFunction]:
        """Makes one check for each value: ``@check.each(unit=["ssh.service", "cron.service"])`` above
        ``def is_up(target, unit)`` gives ``is_up[ssh.service]`` and ``is_up[cron.service]``. Several parameters give
        every combination. Where settings are wanted too, ``@check(...)`` stands above or below it.
        Raises :class:`~harness.errors.UsageError` for a parameter that the function does not take, or without values.
        """

        def declare(marked: CheckFunction) -> CheckFunction:
            declared = _declaration(marked)
            for name, values in parameters.items():
                if not isinstance(values, FromInventory) and (
                    isinstance(values, str | bytes) or not isinstance(values, Iterable)
                ):
                    raise UsageError(
                        f"check {marked.__name__}: {name}={values!r} must be a list", source=declared.source
                    )
                declared.parameters[name] = values if isinstance(values, FromInventory) else tuple(values)
                if declared.parameters[name] == ():
                    raise UsageError(f"check {marked.__name__}: {name} has no values", source=declared.source)
            return marked

        return declare

    def from_inventory(self, variable: str) -> FromInventory:
        """For `each`: the values stand in this variable of each host, a list; a host without it has no such check."""
        return FromInventory(variable)


check = Checker()


def declarations(module: object) -> list[Declaration]:
    """The checks that a module itself declares, in their order. Raises UsageError for one with a wrong signature."""
    found: dict[int, Declaration] = getattr(module, _REGISTRY, {})
    for declared in found.values():
        _fits(declared)
    return list(found.values())


def _declaration(function: CheckFunction) -> Declaration:
    """What is noted of this function so far; the first decorator that meets it begins the note."""
    source = _source_of(function)
    if not callable(function) or not hasattr(function, "__code__"):
        raise UsageError(f"@check marks a function, not {function!r}", source=source)
    registry = sys.modules[function.__module__].__dict__.setdefault(_REGISTRY, {})
    declared: Declaration = registry.setdefault(id(function), Declaration(function, source))
    return declared


def _fits(declared: Declaration) -> None:
    """Whether the function takes the target and its parameters, and nothing else."""
    function, name = declared.function, declared.function.__name__
    try:
        inspect.signature(function).bind(None, **dict.fromkeys(declared.parameters))
    except TypeError as error:
        wanted = ", ".join(["target", *declared.parameters])
        what = "the target and its parameters" if declared.parameters else "one parameter, the target"
        raise UsageError(
            f"check {name}{inspect.signature(function)} must take {what}: {error}",
            source=declared.source,
            hint=f"Write it as `def {name}({wanted}): ...`.",
        ) from None


def _validate(declared: Declaration, tags: Iterable[str]) -> None:
    function, source = declared.function, declared.source
    name = function.__name__
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(f"check {name} must be a plain function (no `async`, no `yield`)", source=source)
    for setting, value in declared.settings.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise UsageError(f"check {name}: {setting}={value!r} is not a number of seconds", source=source)
    if isinstance(tags, str):
        raise UsageError(f"check {name}: tags={tags!r} must be a list of words", source=source)
    if declared.transport not in (None, "ssh", "serial"):
        raise UsageError(f"check {name}: transport={declared.transport!r} is neither 'ssh' nor 'serial'", source=source)
    if declared.when is not None and not callable(declared.when):
        raise UsageError(f"check {name}: when={declared.when!r} is no function of the target", source=source)
    for need in declared.needs:
        if not isinstance(need, str) and not hasattr(need, "__name__"):
            raise UsageError(f"check {name}: needs={need!r} is neither a check nor a check's name", source=source)


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
