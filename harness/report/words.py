"""Numbers as people read them."""

from __future__ import annotations

import math

from harness.soak.statistics.between import MeanTime
from harness.soak.statistics.rates import Rate
from harness.soak.statistics.survival import Quantile

DASH = "\u2013"
NONE = DASH


def percent(share: float | None) -> str:
    """A share in percent. What is not all is never rounded to 100 %, what is not nothing never to 0 %."""
    if share is None:
        return NONE
    for digits in (1, 2, 3, 4):
        text = f"{100 * share:.{digits}f}"
        if (float(text) < 100 or share >= 1) and (float(text) > 0 or share <= 0):
            break
    return f"{text.removesuffix('.0') if share in (0, 1) else text} %"


def points(share: float) -> str:
    """A share that somebody chose, as they would write it."""
    return f"{100 * share:g} %"


def interval(rate: Rate) -> str:
    """The bounds of a rate."""
    return f"{percent(rate.low).removesuffix(' %')}{DASH}{percent(rate.high)}" if rate.total else NONE


def seconds(value: float | None) -> str:
    """A length of time in the unit that suits it."""
    if value is None:
        return NONE
    if math.isinf(value):
        return "∞"
    if value < 0.0995:
        return f"{1000 * value:.0f} ms"
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 89.95:
        return f"{value:.1f} s"
    if value < 5397:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h" if value < 129_600 else f"{value / 86_400:.1f} d"


def by_when(found: Quantile) -> str:
    """The time by which a share has settled; with a question mark where too few runs were made to bound it above."""
    return seconds(found.value) + ("?" if found.value is not None and found.high is None else "")


def span(found: Quantile) -> str:
    """The bounds of a quantile."""
    if found.low is None:
        return NONE
    return f"{seconds(found.low)} to {'?' if found.high is None else seconds(found.high)}"


def between(found: MeanTime | None) -> str:
    """A mean time between failures; what is known of it where there was none."""
    if found is None:
        return NONE
    return f"> {seconds(found.low)}" if found.value is None else seconds(found.value)


def between_span(found: MeanTime | None) -> str:
    """Its bounds."""
    if found is None or found.value is None:
        return "no failure yet" if found else NONE
    return f"{seconds(found.low)} to {seconds(found.high)}"


def chance(p: float) -> str:
    """A p-value."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def many(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def per_thousand(value: float | None) -> str:
    """Something for each 1,000 commands."""
    return NONE if value is None else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def some(items: list[str] | tuple[str, ...], most: int = 4) -> str:
    """A list that does not grow for ever."""
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown


def ranges(numbers: list[int] | tuple[int, ...], most: int = 8) -> str:
    """Whole numbers, those that follow each other put together: `3, 5-9, 12`, with a dash for the hyphen."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return some([f"{low}{DASH}{high}" if high > low else str(low) for low, high in found], most)
