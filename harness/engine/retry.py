"""tenacity's retrying over an event loop, with nothing but its own public pieces."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from tenacity import BaseRetrying, DoAttempt, DoSleep, RetryCallState


class Attempts(Protocol):
    """What is retried: one look after the other, with the rules that hold for it."""

    async def attempt(self) -> bool:
        """One look; true when it is the last one."""

    def rest(self, seconds: float) -> Awaitable[None]:
        """Waits until the next one."""

    def over(self) -> bool:
        """Whether there is no time left for another one."""

    def pause(self) -> float:
        """Seconds until the next one."""


class Retry(BaseRetrying):
    """Drives attempts on an event loop. One for all of them: what belongs to one stands in its call state.

    tenacity's own `AsyncRetrying` asks before each step whether each rule is a coroutine, and each of its objects holds
    a dictionary for every thread: that costs more than all else in an attempt that is answered at once.
    """

    def __init__(self) -> None:
        super().__init__(
            stop=lambda state: _of(state).over(),
            wait=lambda state: _of(state).pause(),
            retry=lambda state: state.outcome is not None and not state.outcome.result(),
            retry_error_callback=lambda _state: False,
        )

    def __call__(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Not for blocking calls. Raises TypeError."""
        raise TypeError("Retry.drive carries attempts on an event loop")

    async def drive(self, attempts: Attempts) -> bool:
        """Looks until one is the last (true) or the time is over (false); an exception ends it."""
        self.begin()
        state = RetryCallState(retry_object=self, fn=None, args=(attempts,), kwargs={})
        while True:
            step = self.iter(retry_state=state)
            if isinstance(step, DoAttempt):
                state.set_result(await attempts.attempt())
            elif isinstance(step, DoSleep):
                state.prepare_for_next_attempt()
                await attempts.rest(step)
            else:
                return bool(step)


def _of(state: RetryCallState) -> Attempts:
    attempts: Attempts = state.args[0]
    return attempts
