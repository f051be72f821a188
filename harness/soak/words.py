"""The status of a soak in lines for people: at its end, and for `harness status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.soak.statistics.rates import Rate
from harness.soak.tally import CheckTally, Spread, Tally, TargetTally


def summary(tally: Tally) -> Iterator[str]:
    """A few lines for each target: the verdict, what it took, and each check that was not always clean."""
    for name, target in tally.targets.items():
        count = target.iterations
        clean = f"{count - target.bad_iterations} passed{of(target.rate)}"
        yield f"{name}: {plural(count, 'iteration')} in {span(target.seconds)}, {clean}"
        yield f"    {'; '.join(_facts(target))}"
        for label, check in target.checks.items():
            if check.flaky or check.bad or check.known:
                yield f"    {_check(label, check)}"


def _facts(target: TargetTally) -> Iterator[str]:
    if target.settle.count:
        yield f"settled after {quantiles(target.settle)}"
    if target.reset.count:
        yield f"reset in {quantiles(target.reset)}"
    named = (
        ("commands", "commands"),
        ("fallbacks", "fallbacks"),
        ("re_reads", "re-reads"),
        ("reconnects", "reconnects"),
    )
    yield ", ".join(f"{target.links[key]} {word}" for key, word in named)
    if target.faults:
        told = ", ".join(f"{count} {name}" for name, count in sorted(target.faults.items()))
        yield f"{plural(sum(target.faults.values()), 'fault')} ({told})"
        if target.recovery.count:
            yield f"served again after {quantiles(target.recovery)}"
        if target.unrecovered:
            yield f"{target.unrecovered} times not"
    if target.missed:
        told = ", ".join(f"{count} {name}" for name, count in sorted(target.missed.items()))
        yield f"{plural(sum(target.missed.values()), 'fault')} missed ({told})"


def _check(label: str, check: CheckTally) -> str:
    judged = ", ".join(f"{count} {word}" for word, count in sorted(check.outcomes.items()) if word != "passed")
    parts = [f"{check.outcomes['passed']} passed"]
    if check.flaky:
        parts.append(f"{check.flaky} of them flaky")
    if judged:
        parts.append(judged)
    known = f"; {check.known} known" if check.known else ""
    return f"{label}: {', '.join(parts)}{of(check.rate, 'clean ')}{known}"


def of(rate: Rate, word: str = "") -> str:
    """A rate with its interval: ` (clean 97.0 %, 91.5 to 99.0 %)`; nothing where there is none."""
    if rate.value is None:
        return ""
    return f" ({word}{100 * rate.value:.1f} %, {100 * rate.low:.1f} to {100 * rate.high:.1f} %)"


def quantiles(spread: Spread) -> str:
    """The median and the 99th percentile."""
    if not spread.count:
        return "-"
    middle, late = spread.quantile(0.5), spread.quantile(0.99)
    return f"{_short(middle)} (p99 {_short(late)})"


def _short(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def span(seconds: float) -> str:
    """A time in words: `42 s`, `12 min`, `3 h 20 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def counted(counts: Mapping[str, int]) -> str:
    """`16 passed, 1 failed`."""
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def remaining(tally: Tally, iterations: int | None, seconds: float | None, ran: float) -> float | None:
    """Seconds until the ending that can be foreseen; None where there is none, or nothing is known yet."""
    found: list[float] = [] if seconds is None else [max(0.0, seconds - ran)]
    if iterations is not None:
        paces = [
            (iterations - target.iterations) * target.seconds / target.iterations
            for target in tally.targets.values()
            if target.iterations
        ]
        found += [max(0.0, max(paces))] if paces and len(paces) == len(tally.targets) else []
    return min(found, default=None)
