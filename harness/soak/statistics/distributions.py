"""The distributions that the other files need: normal, chi-square, binomial, hypergeometric."""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_STEPS = 100_000
_TINY = 1e-300
_EPSILON = 1e-16


def normal_quantile(p: float) -> float:
    """The z below which a share `p` (0 < p < 1) of a standard normal lies (Wichura's AS 241, in Python's library)."""
    return _NORMAL.inv_cdf(p)


def two_sided(z: float) -> float:
    """The chance that a standard normal lies at least as far from 0 as `z`."""
    return math.erfc(abs(z) / math.sqrt(2))


def z_of(confidence: float) -> float:
    """The z of a two-sided interval of that confidence (0.95 gives 1.96)."""
    return normal_quantile(0.5 + confidence / 2)


def gamma_share(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(a, x), for a > 0 and x >= 0.

    A series below a + 1 and Lentz's continued fraction above (Press et al., Numerical Recipes, 3rd ed., 6.2; DLMF
    8.7.1 and 8.9.2).
    """
    if x <= 0:
        return 0.0
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _STEPS):
            term *= x / (a + n)
            total += term
            if term < total * _EPSILON:
                break
        return min(1.0, total * scale)
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    fraction = d
    for n in range(1, _STEPS):
        factor = -n * (n - a)
        b += 2
        d = 1 / _not_zero(factor * d + b)
        c = _not_zero(b + factor / c)
        fraction *= d * c
        if abs(d * c - 1) < _EPSILON * 4:
            break
    return max(0.0, 1 - scale * fraction)


def chi_square_quantile(p: float, degrees: float) -> float:
    """The value below which a share `p` (0 < p < 1) of a chi-square distribution lies.

    Bisection of P(degrees/2, x/2) around Wilson and Hilferty's approximation (PNAS 17, 1931): slow and sure.
    """
    z = normal_quantile(p)
    guess = max(degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3, 1e-8)
    low = high = guess
    while gamma_share(degrees / 2, low / 2) > p:
        low /= 2
    while gamma_share(degrees / 2, high / 2) < p:
        high *= 2
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if gamma_share(degrees / 2, middle / 2) < p:
            low = middle
        else:
            high = middle


def chi_square_tail(x: float) -> float:
    """The chance that a chi-square with one degree of freedom is at least `x`: that of a normal beyond its root."""
    return math.erfc(math.sqrt(max(x, 0.0) / 2))


def beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0 and 0 < x < 1, by Lentz's continued fraction on
    the side where it is quick (Press et al., Numerical Recipes, 3rd ed., 6.4; DLMF 8.17.22)."""
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return min(1.0, math.exp(log) * _beta_fraction(a, b, x) / a)
    return max(0.0, 1 - math.exp(log) * _beta_fraction(b, a, 1 - x) / b)


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _STEPS):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + factor * d)
            c = _not_zero(1 + factor / c)
            fraction *= d * c
        if abs(d * c - 1) < _EPSILON * 4:
            break
    return fraction


def binomial_share(k: int, n: int, p: float) -> float:
    """The chance of at most `k` of `n`, each with the chance `p` (0 < p < 1), as an incomplete beta function (DLMF
    8.17.5): as quick for a million runs as for ten."""
    return 1.0 if k >= n else beta_share(n - k, k + 1, 1 - p)


def hypergeometric_tail(k: int, drawn: int, marked: int, total: int) -> float:
    """The chance of at least `k` marked among `drawn` out of `total` that hold `marked`."""
    first, last = max(k, drawn + marked - total, 0), min(drawn, marked)
    return min(1.0, math.fsum(_hypergeometric(i, drawn, marked, total) for i in range(first, last + 1)))


def fisher_two_sided(k: int, drawn: int, marked: int, total: int) -> float:
    """Fisher's exact test: the chance of a table at most as likely as the one seen, with the same margins (Fisher,
    Statistical Methods for Research Workers, 1934, section 21.02; two-sided as R and scipy have it)."""
    if not 0 < drawn < total:
        return 1.0
    seen = _hypergeometric(k, drawn, marked, total) * (1 + 1e-7)
    first, last = max(0, drawn + marked - total), min(drawn, marked)
    terms = (_hypergeometric(i, drawn, marked, total) for i in range(first, last + 1))
    return min(1.0, math.fsum(term for term in terms if term <= seen))


def _hypergeometric(k: int, drawn: int, marked: int, total: int) -> float:
    return math.exp(_log_choose(marked, k) + _log_choose(total - marked, drawn - k) - _log_choose(total, drawn))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
