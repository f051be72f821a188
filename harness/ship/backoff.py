"""How long to wait before a batch is sent again: tenacity's rules, and what the receiver itself asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_never, wait_fixed, wait_random_exponential

from harness.ship.sink import Unavailable

_LEAST = 0.1  # seconds
_FIRST = 0.4
_FIRST_LOST = 0.02
_MOST = 30.0
MOST_ASKED = 3600.0

_Answer = TypeVar("_Answer")


class Backoff:
    """Calls until it is no longer Unavailable. The pauses grow, with jitter, from half a second to half a minute, so
    that many shippers do not come back at one moment; a receiver that asks for more (Retry-After) gets up to an hour.

    A connection that broke (`Unavailable.lost`) is made again sooner, from some milliseconds on: on a link that loses
    connections the next one is as good as any. Those pauses grow to half a minute too.

    Everything else that is raised, also by `sleep`, ends it.
    """

    def __init__(self, sleep: Callable[[float], None], failed: Callable[[Unavailable, int], None]) -> None:
        """`sleep` waits so many seconds; `failed` is called for each failure with its number in a row."""
        growing = wait_fixed(_LEAST) + wait_random_exponential(multiplier=_FIRST, max=_MOST)

        quick = wait_random_exponential(multiplier=_FIRST_LOST, max=_MOST)

        def pause(state: RetryCallState) -> float:
            error = _error(state)
            own = quick(state) if error.lost else growing(state)
            return max(own, min(error.wait or 0.0, MOST_ASKED))

        self._retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=pause,
            stop=stop_never,
            sleep=sleep,
            before_sleep=lambda state: failed(_error(state), state.attempt_number),
        )

    def __call__(self, call: Callable[..., _Answer], *arguments: Any) -> _Answer:
        return self._retrying(call, *arguments)


def _error(state: RetryCallState) -> Unavailable:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, Unavailable)
    return error
