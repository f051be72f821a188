"""scipy and statsmodels, imported by whoever asks first: three seconds that only one worker of a run has to spend."""

from __future__ import annotations

from typing import Any


def scipy_stats() -> Any:
    """Return `scipy.stats`."""
    from scipy import stats

    return stats


def scipy_special() -> Any:
    """Return `scipy.special`."""
    from scipy import special

    return special


def survfunc() -> Any:
    """Return `statsmodels.duration.survfunc`."""
    from statsmodels.duration import survfunc as module

    return module


def multitest() -> Any:
    """Return `statsmodels.stats.multitest`."""
    from statsmodels.stats import multitest as module

    return module


def proportion() -> Any:
    """Return `statsmodels.stats.proportion`."""
    from statsmodels.stats import proportion as module

    return module
