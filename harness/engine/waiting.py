"""How a check waits without a thread: for time to pass, for a call on a worker thread, and for word from the target.

A pause ends early when the target's :class:`Signals` ring: something happened there, so it is worth a look. A ring that
comes while the check is looking is not lost: the next pause is cut short for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from harness.deadline import SYSTEM_CLOCK, Cancellation, Clock

CANCEL_GRACE = 1.0
"""Seconds that a call has to notice a cancellation: transports need a tenth of one, a check's own sleep all of it."""
SHORTEST_REST = 0.02
"""Seconds between a look and the next one, however often the target rings."""
LONGEST_REST = 0.5
"""The same where it rings all the time, as a console does that prints without a pause: each look that comes early for
a ring, right after another one that did, comes twice as late."""
LOOK_AGAIN = 5.0
"""Seconds after which a call is looked at again that has no thread yet, or whose end has moved."""
HEAD_START = 1.0
"""Seconds that the first look at a target is given to be over; one that takes longer holds up no other."""


class Signals:
    """A target's bell. It may be rung from any thread; those who wait hear it in the event loop."""

    def __init__(self) -> None:
        self.rings = 0
        self._loop = asyncio.get_running_loop()
        self._waiting: set[Waiter] = set()
        self._on_first: Callable[[], None] | None = None

    def ring(self) -> None:
        """Something happened on the target."""
        self.rings += 1
        if self._waiting and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def listen(self, waiter: Waiter) -> None:
        """Wakes it at each ring from now on."""
        self._waiting.add(waiter)
        if self._on_first is not None:
            first, self._on_first = self._on_first, None
            first()

    def forget(self, waiter: Waiter) -> None:
        """Wakes it no more."""
        self._waiting.discard(waiter)

    def when_awaited(self, call: Callable[[], None]) -> None:
        """Calls back once, when somebody waits for the first time: nothing is followed on a target that needs no
        waiting for.
        """
        self._on_first = call

    def _wake(self) -> None:
        for waiter in tuple(self._waiting):
            waiter.wake()


class FirstLook:
    """Lets the first look at a target go ahead. It opens the connection that all of them need: those that come
    meanwhile wait for it here, for a moment, and not on a thread each, which are then left to other targets.
    """

    def __init__(self) -> None:
        self._begun = False
        self._over = asyncio.Event()

    async def __aenter__(self) -> None:
        if self._begun and not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), HEAD_START)
        self._begun = True

    async def __aexit__(self, *_: object) -> None:
        self._over.set()


class Waits(Protocol):
    """What a check's attempts need of time; a fake one makes them exact in tests."""

    async def pause(self, seconds: float, shortest: float = 0.0) -> None:
        """Rests that long; or until the target rings, but `shortest` seconds even then, so that a target that rings
        all the time is left some of it. Raises :class:`~harness.errors.Cancelled` at once.
        """

    async def call(self, call: Future[Any], left: Callable[[], float]) -> bool:
        """Whether a call on a worker thread ends before `left` gives no more seconds; a cancelled one has a moment more
        to notice. The end of the call must be told in the event loop.
        """

    def close(self) -> None:
        """Gives back what it holds."""


class Waiter:
    """The waits of one check, one at a time."""

    __slots__ = ("_cancellation", "_clock", "_early", "_forget", "_heard", "_loop", "_signals", "_woken")

    def __init__(self, cancellation: Cancellation, signals: Signals, clock: Clock = SYSTEM_CLOCK) -> None:
        self._cancellation = cancellation
        self._clock = clock
        self._signals = signals
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] | None = None
        self._heard = signals.rings
        self._early = 0  # pauses in a row that a ring has cut short
        self._forget = cancellation.on_cancel(self._wake_from_anywhere)

    async def pause(self, seconds: float, shortest: float = 0.0) -> None:
        self._cancellation.check()
        began = self._clock.monotonic()
        if self._signals.rings == self._heard:
            await self._wait(seconds, listen=True)
        rest = min(LONGEST_REST, SHORTEST_REST * 2**self._early)
        left = min(seconds, max(shortest, rest)) - (self._clock.monotonic() - began)
        self._early = min(self._early + 1, 10) if self._clock.monotonic() - began < min(seconds, LONGEST_REST) else 0
        if left > 0 and not self._cancellation.cancelled:
            await self._wait(left, listen=False)
        self._cancellation.check()
        # What rings from here on happened after the look that comes now has begun.
        self._heard = self._signals.rings

    async def call(self, call: Future[Any], left: Callable[[], float]) -> bool:
        call.add_done_callback(lambda _call: self.wake())
        while not call.done() and not self._cancellation.cancelled:
            seconds = left()
            if seconds <= 0:
                break
            await self._wait(min(seconds, LOOK_AGAIN), listen=False)
        if not call.done() and self._cancellation.cancelled:
            end = self._clock.monotonic() + CANCEL_GRACE
            while not call.done() and (seconds := end - self._clock.monotonic()) > 0:
                await self._wait(seconds, listen=False)
        return call.done()

    def close(self) -> None:
        self._forget()

    async def _wait(self, seconds: float, *, listen: bool) -> None:
        self._woken = woken = self._loop.create_future()
        timer = self._loop.call_later(seconds, self.wake)
        if listen:
            self._signals.listen(self)
        try:
            await woken
        finally:
            timer.cancel()
            self._woken = None
            if listen:
                self._signals.forget(self)

    def wake(self) -> None:
        """Ends the present wait, where there is one."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _wake_from_anywhere(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake)
