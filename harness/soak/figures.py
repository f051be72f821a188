"""The figures of some trials: of one check on one target, over one transport or all, or of a whole soak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.soak.statistics.between import MeanTime, mean_time_between
from harness.soak.statistics.drift import Trend, linear_trend, rising
from harness.soak.statistics.rates import CONFIDENCE, Rate, runs_needed, wilson
from harness.soak.statistics.survival import Quantile, Step, Times, kaplan_meier, quantile
from harness.soak.trial import JUDGED, Settling, Trial, TrialOutcome

SHARES = (0.5, 0.9, 0.99)
"""The shares of which it is told by when they have settled."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How sure the intervals are, and which pass rate is to be shown."""

    confidence: float = CONFIDENCE
    rate: float = 0.99


@dataclass(frozen=True, slots=True)
class Settle:
    """Time to settle: how many settled, were cut off by a time-out, or never would; and the quantiles, in seconds."""

    settled: int
    censored: int
    never: int
    quantiles: tuple[Quantile, ...]
    curve: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the end of a fault to the pass: of how many trials, the middle one, the longest."""

    count: int
    median: float
    longest: float


@dataclass(frozen=True, slots=True)
class Thirds:
    """The median time to settle in the first and in the last third of the trials that settled, in seconds."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What some trials come to. `check`, `target` and `transport` are empty where all are meant.

    `clean` is the pass rate: clean passes among the verdicts on the target; `flaky` the flaky ones among them. Trials
    without a verdict on the target (skipped, unreachable, error, infrastructure, internal) stand in `outcomes` only.
    `needed` clean runs more would show the demanded rate. `attempts` counts the trials by their attempts. `between` is
    the mean time between failures, flaky ones included. `per_thousand` has fallbacks, re-reads and reconnects for each
    1,000 commands; empty without commands.
    """

    check: str
    target: str
    transport: str
    trials: int
    outcomes: dict[str, int]
    clean: Rate
    flaky: Rate
    needed: int
    settle: Settle
    attempts: dict[int, int]
    between: MeanTime | None
    commands: int
    per_thousand: dict[str, float]
    recovery: Recovery | None
    failing_trend: Trend | None
    settle_trend: Trend | None
    thirds: Thirds | None

    @property
    def judged(self) -> int:
        return self.clean.total

    @property
    def applied(self) -> int:
        """Trials that were meant to come to a verdict: all but the skipped ones."""
        return self.trials - self.outcomes["skipped"]

    @property
    def failed(self) -> int:
        return self.outcomes["failed"]

    @property
    def unclean(self) -> int:
        """Trials that failed, and those that passed and were flaky."""
        return self.clean.total - self.clean.count


def figures(
    trials: Sequence[Trial],
    exposure: float,
    demand: Demand,
    *,
    check: str = "",
    target: str = "",
    transport: str = "",
) -> Figures:
    """The figures of these trials, in the order in which they were made; `exposure` is the time that they were
    part of, in seconds."""
    outcomes = dict.fromkeys((outcome.value for outcome in TrialOutcome), 0)
    for trial in trials:
        outcomes[trial.outcome.value] += 1
    judged = [trial for trial in trials if trial.outcome in JUDGED]
    clean = sum(trial.clean for trial in judged)
    commands = sum(trial.commands for trial in trials)
    settled = [t.seconds for t in trials if t.settling is Settling.SETTLED and t.seconds is not None]
    recoveries = [trial.recovery for trial in trials if trial.recovery is not None]
    third = len(settled) // 3
    return Figures(
        check=check,
        target=target,
        transport=transport,
        trials=len(trials),
        outcomes=outcomes,
        clean=wilson(clean, len(judged), demand.confidence),
        flaky=wilson(sum(trial.flaky for trial in judged), len(judged), demand.confidence),
        needed=runs_needed(len(judged) - clean, len(judged), demand.rate, demand.confidence),
        settle=_settle(trials, demand.confidence),
        attempts=dict(sorted(Counter(trial.attempts for trial in trials if trial.attempts).items())),
        between=mean_time_between(len(judged) - clean, exposure, demand.confidence),
        commands=commands,
        per_thousand=_per_thousand(trials, commands),
        recovery=Recovery(len(recoveries), median(recoveries), max(recoveries)) if recoveries else None,
        failing_trend=linear_trend([float(each.iteration) for each in judged], [not each.clean for each in judged]),
        settle_trend=rising(settled),
        thirds=Thirds(median(settled[:third]), median(settled[-third:])) if third else None,
    )


def times(trials: Sequence[Trial]) -> Times:
    """What the trials tell of the time to settle."""
    known = [(trial.settling, trial.seconds) for trial in trials if trial.seconds is not None]
    return Times(
        tuple(seconds for settling, seconds in known if settling is Settling.SETTLED),
        tuple(seconds for settling, seconds in known if settling is Settling.CENSORED),
        sum(settling is Settling.NEVER for settling, _ in known),
    )


def _settle(trials: Sequence[Trial], confidence: float) -> Settle:
    found = times(trials)
    curve = kaplan_meier(found)
    quantiles = tuple(quantile(curve, share, confidence) for share in SHARES)
    return Settle(len(found.settled), len(found.censored), found.never, quantiles, curve)


def _per_thousand(trials: Sequence[Trial], commands: int) -> dict[str, float]:
    if not commands:
        return {}
    return {
        "fallbacks": 1000 * sum(trial.fallbacks for trial in trials) / commands,
        "re_reads": 1000 * sum(trial.re_reads for trial in trials) / commands,
        "reconnects": 1000 * sum(trial.reconnects for trial in trials) / commands,
    }
