"""scipy and statsmodels, imported by whoever asks first: three seconds that only one worker of a run has to spend."""

from __future__ import annotations

import gc
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


def holm_adjusted(values: Any) -> list[float]:
    """Return the p-values as statsmodels adjusts them by Holm's method.

    Each call of `multipletests` collects garbage, which takes a tenth of a second in a session of thousands of tests;
    what is there already is kept from that.
    """
    from statsmodels.stats.multitest import multipletests

    gc.freeze()
    return list(multipletests(values, method="holm")[1])


def proportion() -> Any:
    """Return `statsmodels.stats.proportion`."""
    from statsmodels.stats import proportion as module

    return module
