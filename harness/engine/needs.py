"""Which checks must have passed before another may run: names made into checks, for one target. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness.api.check import Check
from harness.errors import UsageError


def with_needs(chosen: Sequence[Check], available: Sequence[Check]) -> tuple[Check, ...]:
    """The chosen checks and those that they need, in the order of `available`, each with its `needs` as ids.

    Raises :class:`~harness.errors.UsageError` for a need that is no check of these, and for needs in a circle.
    """
    if not any(check.needs for check in chosen):
        return tuple(chosen)
    resolved: dict[str, Check] = {}
    for check in chosen:
        _resolve(check, available, resolved, ())
    order = {check.id: place for place, check in enumerate(available)}
    return tuple(sorted(resolved.values(), key=lambda check: order.get(check.id, len(order))))


def _resolve(check: Check, available: Sequence[Check], resolved: dict[str, Check], above: tuple[str, ...]) -> None:
    if check.id in above:
        circle = " needs ".join(each.partition("::")[2] for each in (*above[above.index(check.id) :], check.id))
        raise UsageError(f"checks need each other in a circle: {circle}", source=check.source)
    if check.id in resolved:
        return
    needed: dict[str, Check] = {}
    for need in check.needs:
        found = _matching(need, check, available)
        if not found:
            raise UsageError(
                f"check {check.name} needs {need!r}, which is none of the checks of this run",
                source=check.source,
                hint="Name it as it is written in the same file, or as module::name and give its file to the run too.",
            )
        needed.update((each.id, each) for each in found)
    for each in needed.values():
        _resolve(each, available, resolved, (*above, check.id))
    resolved[check.id] = replace(check, needs=tuple(needed))


def _matching(need: str, check: Check, available: Iterable[Check]) -> list[Check]:
    """The checks that a need names: all values of one with parameters, or the one with the same values as the asker."""
    place, _, name = need.rpartition("::")
    found = [
        each
        for each in available
        if name in (each.name, each.base)
        and (each.path == check.path if not place else place in (each.module, each.path, each.filename))
    ]
    values = check.name[len(check.base) :]
    same = [each for each in found if values and each.name[len(each.base) :] == values]
    return same or found


def for_host(checks: Iterable[Check], variables: Mapping[str, object]) -> tuple[Check, ...]:
    """The checks with the values that a host's variables give to their parameters; without a value there is none.

    Raises :class:`~harness.errors.UsageError` where such a variable is no list.
    """
    found: list[Check] = []
    for check in checks:
        rows: list[dict[str, object]] = [{}]
        for parameter, variable in check.variables.items():
            values = variables.get(variable, ())
            if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
                raise UsageError(
                    f"check {check.name} takes its {parameter} from {variable}, which is no list: {values!r}",
                    source=check.source,
                )
            rows = [{**row, parameter: value} for row in rows for value in values]
        found += [check.with_values(row) if row else check for row in rows]
    return tuple(found)
