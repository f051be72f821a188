"""Mean time between failures."""

from __future__ import annotations

from dataclasses import dataclass

from harness.soak.statistics.distributions import chi_square_quantile
from harness.soak.statistics.rates import CONFIDENCE


@dataclass(frozen=True, slots=True)
class MeanTime:
    """Seconds between failures, with the interval that holds the true mean.

    `value` is None without a failure (then only `low` is known), `high` None where there is no upper bound.
    """

    failures: int
    exposure: float
    value: float | None
    low: float
    high: float | None


def mean_time_between(failures: int, exposure: float, confidence: float = CONFIDENCE) -> MeanTime | None:
    """The mean time between `failures` in `exposure` seconds, failures coming at a constant rate; None without time.

    The chi-square interval of a test that ends at a time, not at a failure (B. Epstein and M. Sobel, Life testing, JASA
    48 (1953), 486-502; NIST/SEMATECH e-Handbook 8.4.5.1): 2T/chi2(1 - a/2; 2r + 2) to 2T/chi2(a/2; 2r). Without any
    failure the lower bound is one-sided, 2T/chi2(confidence; 2).
    """
    if exposure <= 0:
        return None
    tail = (1 - confidence) / 2
    if not failures:
        return MeanTime(0, exposure, None, 2 * exposure / chi_square_quantile(confidence, 2), None)
    return MeanTime(
        failures,
        exposure,
        exposure / failures,
        2 * exposure / chi_square_quantile(1 - tail, 2 * failures + 2),
        2 * exposure / chi_square_quantile(tail, 2 * failures),
    )
