"""The figures of some trials: of one check on one target, over one transport or all, or of a whole soak."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from harness.soak.statistics.between import MeanTime, mean_time_between
from harness.soak.statistics.drift import Trend, linear_trend, rising
from harness.soak.statistics.rates import CONFIDENCE, Rate, runs_needed, wilson
from harness.soak.statistics.survival import Quantile, Step, Times, kaplan_meier, quantile, steps_of
from harness.soak.trial import JUDGED, Settling, Trial, TrialOutcome

SHARES = (0.5, 0.9, 0.99)
"""The shares of trials for which the time to settle is reported."""


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
    times: Times

    @property
    def curve(self) -> tuple[Step, ...]:
        """The share that is still unsettled after each time; made anew at each access, since it is large."""
        return kaplan_meier(self.times)


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
    """Figures of some trials. `check`, `target` and `transport` are empty where all are meant.

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
        """Trials that should have had a verdict: all but the skipped ones."""
        return self.trials - self.outcomes["skipped"]

    @property
    def failed(self) -> int:
        return self.outcomes["failed"]

    @property
    def unclean(self) -> int:
        """Trials that failed, and those that passed and were flaky."""
        return self.clean.total - self.clean.count


class _Columns:
    """What figures need of trials, as counts and columns of numbers: some 20 bytes a trial."""

    def __init__(self, trials: Iterable[Trial]) -> None:
        self.trials = 0
        self.outcomes = dict.fromkeys((outcome.value for outcome in TrialOutcome), 0)
        self.clean = 0
        self.flaky = 0
        self.attempts: Counter[int] = Counter()
        self.totals = dict.fromkeys(("commands", "fallbacks", "re_reads", "reconnects"), 0)
        self.iterations = array("d")  # of the trials with a verdict
        self.unclean = bytearray()
        self.recoveries = array("d")
        self.settled = array("d")
        self.censored = array("d")
        self.never = 0
        for trial in trials:
            self._add(trial)

    def _add(self, trial: Trial) -> None:
        self.trials += 1
        self.outcomes[trial.outcome.value] += 1
        if trial.outcome in JUDGED:
            self.clean += trial.clean
            self.flaky += trial.flaky
            self.iterations.append(trial.iteration)
            self.unclean.append(not trial.clean)
        if trial.attempts:
            self.attempts[trial.attempts] += 1
        if trial.recovery is not None:
            self.recoveries.append(trial.recovery)
        self.totals["commands"] += trial.commands
        self.totals["fallbacks"] += trial.fallbacks
        self.totals["re_reads"] += trial.re_reads
        self.totals["reconnects"] += trial.reconnects
        if trial.seconds is not None:
            if trial.settling is Settling.SETTLED:
                self.settled.append(trial.seconds)
            elif trial.settling is Settling.CENSORED:
                self.censored.append(trial.seconds)
            self.never += trial.settling is Settling.NEVER

    @property
    def times(self) -> Times:
        return Times(array("d", sorted(self.settled)), self.censored, self.never)


def figures(
    trials: Iterable[Trial],
    exposure: float,
    demand: Demand,
    *,
    check: str = "",
    target: str = "",
    transport: str = "",
) -> Figures:
    """The figures of these trials, in the order in which they were made; `exposure` is the time that they were
    part of, in seconds. They are gone through once."""
    found = _Columns(trials)
    judged, commands, settled = len(found.unclean), found.totals["commands"], found.settled
    third = len(settled) // 3
    return Figures(
        check=check,
        target=target,
        transport=transport,
        trials=found.trials,
        outcomes=found.outcomes,
        clean=wilson(found.clean, judged, demand.confidence),
        flaky=wilson(found.flaky, judged, demand.confidence),
        needed=runs_needed(judged - found.clean, judged, demand.rate, demand.confidence),
        settle=_settle(found.times, demand.confidence),
        attempts=dict(sorted(found.attempts.items())),
        between=mean_time_between(judged - found.clean, exposure, demand.confidence),
        commands=commands,
        per_thousand={
            name: 1000 * found.totals[name] / commands for name in ("fallbacks", "re_reads", "reconnects") if commands
        },
        recovery=Recovery(len(found.recoveries), median(found.recoveries), max(found.recoveries))
        if found.recoveries
        else None,
        failing_trend=linear_trend(found.iterations, found.unclean),
        settle_trend=rising(settled),
        thirds=Thirds(median(settled[:third]), median(settled[-third:])) if third else None,
    )


def _settle(times: Times, confidence: float) -> Settle:
    quantiles = tuple(quantile(steps_of(times), share, confidence) for share in SHARES)
    return Settle(len(times.settled), len(times.censored), times.never, quantiles, times)
