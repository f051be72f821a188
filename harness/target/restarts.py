"""Automatic restarts of a target's units, as its journal has them: within a run, or still going on."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.target.look import Entry, parse_restarts, restarts_command
from harness.target.settle import is_expected
from harness.target.target import Target
from harness.target.values import listed, seconds
from harness.target.why import LOGOUTS, is_getty

SHOWN = 3
"""Times that are named, the last ones."""
REGULAR = 3
"""So many restarts are needed to know that they go on."""
STILL = 1.5
"""Times the usual distance of two restarts, after which another one should have been seen."""
NOBODY_LOGS_OUT = 1.5
"""Seconds between two restarts of a getty: more often, in a row, nobody logs in and out."""


@dataclass(frozen=True, slots=True)
class UnitRestarts:
    """A unit that systemd has restarted by itself; `ago` are the seconds since each time, the oldest first."""

    unit: str
    ago: tuple[float, ...]

    def __str__(self) -> str:
        count = len(self.ago)
        times = listed([seconds(each) for each in self.ago[-SHOWN:]], SHOWN)
        last = "the last ones " if count > SHOWN else ""
        return f"{self.unit} was restarted {'once' if count == 1 else f'{count} times'} by systemd: {last}{times} ago"


def restarted_units(
    entries: Sequence[Entry], now_us: int, within: float, expected: Sequence[str] = ()
) -> tuple[UnitRestarts, ...]:
    """Return the units that were restarted in the last `within` seconds, and those whose restarts go on: they came
    again and again, and the next one is not overdue. Pure.

    `expected` are patterns of units that may restart. A getty is restarted by each logout, which is not a fault.
    """
    ago: dict[str, list[float]] = {}
    for entry in entries:
        for unit in entry.units:
            if now_us and entry.at_us and not is_expected(unit, expected):
                ago.setdefault(unit, []).append(max(0.0, (now_us - entry.at_us) / 1e6))
    found: list[UnitRestarts] = []
    for unit, times in ago.items():
        times.sort(reverse=True)
        recent = [each for each in times if each < within]
        gaps = [before - after for before, after in itertools.pairwise(times)]
        if is_getty(unit):
            short = [gap for gap in gaps[-LOGOUTS:] if gap < NOBODY_LOGS_OUT]
            if not recent or len(short) < LOGOUTS:
                continue
        elif not recent:
            if len(times) < REGULAR or times[-1] > STILL * statistics.median(gaps[1 - REGULAR :]):
                continue
            recent = times
        found.append(UnitRestarts(unit, tuple(recent)))
    return tuple(found)


def look_for_restarts(target: Target, within: float, expected: Sequence[str] = ()) -> tuple[UnitRestarts, ...]:
    """Ask the target, by one command, for its units' restarts. Raises Skip where it is not run by systemd, NotYet, and
    the transports' errors."""
    entries, now_us = parse_restarts(target.read(restarts_command()))
    return restarted_units(entries, now_us, within, expected)
