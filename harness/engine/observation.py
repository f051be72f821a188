"""What a check may return: an observation, and no verdict. A check fails by what it raises, and by nothing else."""

from __future__ import annotations

import inspect


class NotAnObservation(TypeError):
    """A check returned something that looks like a verdict, or like work that nobody has done."""


def refuse_as_observation(value: object) -> None:
    """Raise NotAnObservation for what its author must have meant otherwise.

    A truth value: `return host.service("nginx").is_running` reads like a verdict and is none, whatever it is. numpy's
    is no `bool` of Python's. A coroutine, a generator: the body of the check has not run.
    """
    kind = type(value)
    if isinstance(value, bool) or (kind.__name__ in ("bool", "bool_") and kind.__module__.partition(".")[0] == "numpy"):
        raise NotAnObservation(
            f"the check returned {bool(value)}, and what a check returns is not its verdict: assert it "
            "(`assert …`, not `return …`)"
        )
    if inspect.iscoroutine(value) or inspect.isgenerator(value) or inspect.isasyncgen(value):
        if inspect.iscoroutine(value):
            value.close()  # else Python warns of it, long after
        raise NotAnObservation(
            f"the check returned a {kind.__name__.replace('_', ' ')}, so its body has not run: a check is a plain "
            "function, without `async` and `yield`"
        )
