"""A test that looks at a target: how it is to be carried, and what came of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import pytest

from harness.api.check import Check, Settings
from harness.engine.check_call import CallCounts
from harness.engine.outcome import CheckResult
from harness.engine.plan import Options, settings_for
from harness.errors import Source
from harness.inventory import Host

TRIAL = pytest.StashKey["Trial"]()
"""Where an item of pytest's keeps it."""

NAME = "_harness_target_name"
_SECONDS = ("budget", "attempt_timeout", "interval", "interval_max", "window")
_KNOWN = (*_SECONDS, "transport", "once")


@dataclass(eq=False)
class Trial:
    """One test on one target. With `again`, it is tried again until it passes, as a check is; else it is called once,
    and its set-up, its call and its tear-down may take the budget each.
    """

    check: Check
    settings: Settings
    target: str
    again: bool
    transport: str | None
    counts: CallCounts = field(default_factory=CallCounts)
    started: float = 0.0
    began: float = 0.0
    result: CheckResult | None = None


def trial_of(item: pytest.Item, hosts: Mapping[str, Host], options: Options) -> Trial | None:
    """How a test is to be carried; None where it has nothing to do with a target. Raises UsageError for its marker."""
    callspec = getattr(item, "callspec", None)
    target = callspec.params.get(NAME) if callspec is not None else None
    if target is None:
        if any(mark.name == "harness" for mark in item.own_markers):
            raise _wrong(item, "it takes no target: there is nothing to look at again")
        return None
    marked = _marked(item)
    path, _, name = item.nodeid.partition("::")
    function = getattr(item, "obj", None)
    again = marked is not None and not marked.get("once", False)
    if again and inspect.iscoroutinefunction(function):
        raise _wrong(item, "it must be a plain function (no `async`)")
    check = Check(
        name=name,
        module=str(PurePath(path).with_suffix("")),
        path=path,
        function=lambda _target: None,
        source=Source(str(item.path), (item.reportinfo()[1] or 0) + 1),
        settings=Settings(
            **{setting: float(value) for setting, value in (marked or {}).items() if setting in _SECONDS}
        ),
        transport=(marked or {}).get("transport"),
        description=(inspect.getdoc(function) or "").partition("\n")[0],
    )
    return Trial(
        check=check,
        settings=settings_for(check, hosts[target], options),
        target=target,
        again=again,
        transport=check.transport or options.transport,
    )


def _marked(item: pytest.Item) -> dict[str, Any] | None:
    """What the markers say, the nearest first; None where there is none."""
    marks = list(item.iter_markers("harness"))
    if not marks:
        return None
    marked: dict[str, Any] = {}
    for mark in reversed(marks):
        if mark.args:
            raise _wrong(item, f"it takes no positional arguments, and got {mark.args!r}")
        for name, value in mark.kwargs.items():
            _validate(item, name, value)
        marked.update(mark.kwargs)
    return marked


def _validate(item: pytest.Item, name: str, value: object) -> None:
    if name not in _KNOWN:
        raise _wrong(item, f"it has no setting {name!r}; there are {', '.join(_KNOWN)}")
    if name in _SECONDS and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9):
        raise _wrong(item, f"{name}={value!r} is not a number of seconds")
    if name == "transport" and value not in (None, "ssh", "serial"):
        raise _wrong(item, f"transport={value!r} is neither 'ssh' nor 'serial'")
    if name == "once" and not isinstance(value, bool):
        raise _wrong(item, f"once={value!r} is neither True nor False")


def _wrong(item: pytest.Item, why: str) -> pytest.UsageError:
    return pytest.UsageError(
        f"{item.path}:{(item.reportinfo()[1] or 0) + 1}: @pytest.mark.harness of {item.name}: {why}"
    )
