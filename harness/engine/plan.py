"""What a run will do: targets times checks with their settings, as a plain value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.api.check import Check, Settings
from harness.engine.findings.rules import FindingRules, finding_rules
from harness.engine.needs import for_host, with_needs
from harness.inventory import Host
from harness.target.spec import TargetSpec, target_spec

_OVERRIDES = {
    "check_budget": "budget",
    "check_attempt_timeout": "attempt_timeout",
    "check_interval": "interval",
    "check_interval_max": "interval_max",
    "check_window": "window",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked of a run. Times are in seconds; None leaves the check's or the inventory's word.

    `at_once`: checks of one target side by side. `deadline`: the time of the whole run, `target_deadline` that of each
    target; `reach_timeout`: that in which a target that is taken to be up must answer at all.
    `shuffle`: checks start in an order drawn with `seed`. `keep`: machines are left up, for `keep_for` seconds
    where that is given; with `debug_on_failure` only when something has failed. `fail_fast_unchanged`: on a settled
    target a failure that stays the same while nothing moves there ends the check before its budget.
    """

    forks: int = 5
    keep: bool = False
    keep_for: float | None = None
    debug_on_failure: bool = False
    settle: bool | None = None
    timeout_scale: float | None = None
    budget: float | None = None
    window: float | None = None
    max_fail: int = 0
    seed: int = 0
    transport: str | None = None
    at_once: int | None = None
    deadline: float | None = None
    target_deadline: float | None = None
    reach_timeout: float | None = None
    shuffle: bool = False
    fail_fast_unchanged: bool = False


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One check on one target, with the settings that hold for it."""

    check: Check
    settings: Settings


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What a run does on one target."""

    host: Host
    spec: TargetSpec
    items: tuple[PlanItem, ...]
    findings: FindingRules = field(default_factory=FindingRules)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's whole work."""

    targets: tuple[TargetPlan, ...]
    options: Options

    @property
    def size(self) -> int:
        return sum(len(target.items) for target in self.targets)

    def plain(self) -> dict[str, Any]:
        """The plan in JSON's own types."""
        return {"targets": list(self.each_plain())}

    def each_plain(self) -> Iterator[dict[str, Any]]:
        """Yield each target's part of the plan in JSON's own types."""
        for target in self.targets:
            yield {
                "target": target.host.name,
                "groups": list(target.host.groups),
                "checks": [
                    {
                        "id": item.check.id,
                        "check": item.check.label,
                        "description": item.check.description,
                        "tags": sorted(item.check.tags),
                        "budget": item.settings.budget,
                        "window": item.settings.window,
                        "needs": list(item.check.needs),
                    }
                    for item in target.items
                ],
            }


def make_plan(
    hosts: Sequence[Host], checks: Sequence[Check], options: Options, *, available: Sequence[Check] | None = None
) -> Plan:
    """Every check on every host, with the checks that these need out of the `available` ones. Raises UsageError for a
    host whose variables cannot be used, and for needs that cannot be met: nothing is touched yet."""
    return Plan(tuple(_target_plan(host, checks, available or checks, options) for host in hosts), options)


def _target_plan(host: Host, checks: Sequence[Check], available: Sequence[Check], options: Options) -> TargetPlan:
    if any(check.variables for check in available):
        variables = host.resolved({name for check in available for name in check.variables.values()})
        checks, available = for_host(checks, variables), for_host(available, variables)
    chosen = with_needs(checks, available)
    items = tuple(PlanItem(check, settings_for(check, host, options)) for check in chosen)
    return TargetPlan(host, target_spec(host), items, finding_rules(host))


def settings_for(check: Check, host: Host, options: Options) -> Settings:
    """The check's own settings, then the inventory's, then the command line's; then scaled."""
    settings = check.settings
    for variable, name in _OVERRIDES.items():
        if variable in host.vars:
            settings = replace(settings, **{name: number(host, variable)})
    if options.budget is not None:
        settings = replace(settings, budget=options.budget)
    if options.window is not None:
        settings = replace(settings, window=options.window)
    return settings.scaled(scale_for(host, options))


def scale_for(host: Host, options: Options) -> float:
    """The factor by which the times allowed grow on this host."""
    return options.timeout_scale if options.timeout_scale is not None else number(host, "timeout_scale")


def number(host: Host, variable: str) -> float:
    """A variable of the inventory's table that is a number. Raises UsageError, with its place, where it is none."""
    value = host.setting(variable)
    assert isinstance(value, int | float), f"{variable} is no number in the table of variables"
    return float(value)
