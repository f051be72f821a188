"""Threads for calls that block: bounded, none that a stuck call can take away for good, and few that are woken.

A thread that is woken for each call, and an event loop that is woken for each answer, cost more than a short call: both
want the interpreter at once, and hand it to and fro. So calls are handed over together, at the end of a turn of the
loop, to one thread; more are woken for those that it has not come to within a moment; and answers come back together,
when there is nothing left to take.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from harness.errors import InfrastructureError

P = ParamSpec("P")
T = TypeVar("T")

NAME = "harness-worker"
"""What the names of the threads begin with."""
TICK = 0.001
"""Seconds between two looks at what waits, while something does: the shortest that an event loop knows."""
FEW = 32
"""Threads up to which more are made for what waits. Beyond that a thread costs short calls more than it gives, so more
are made only when all of these are held up: twice as many each time."""
HELD_UP = 0.2
"""Seconds in which no call was taken, after which the threads count as held up: by calls that wait for a target."""
QUEUED = 2
"""Places for each of these threads: so many calls are on one or wait for one, enough to see that the threads are held
up. A long queue would have more threads woken than short calls are worth."""
LONGEST_TURN = 0.02
"""Seconds that one turn of the event loop counts for in that. A loop that comes later was kept from running itself, by
threads that compute or a busy machine: that says nothing about calls, and more threads would make it worse."""
TICKS_TO_WAIT = 5
"""What the threads that are awake will have taken after so many more of them is left to them."""


@dataclass(slots=True)
class _Call:
    """One call, its answer, and who waits for it."""

    work: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)
    answer: Any = None
    error: BaseException | None = None

    def carry_out(self) -> bool:
        """Whether there is an answer to tell: nobody waits for a call that was cancelled before."""
        if not self.future.set_running_or_notify_cancel():
            return False
        try:
            self.answer = self.work()
        except BaseException as error:  # a thread must outlive whatever a call raises: it is told to who waits
            self.error = error
        return True

    def tell(self) -> None:
        if self.error is None:
            self.future.set_result(self.answer)
        else:
            self.future.set_exception(self.error)


class Places:
    """A fair semaphore whose hand-over takes constant time. asyncio's own looks at all that were woken but have not run
    yet with each release, which is quadratic where hundreds of attempts end in one turn of the loop."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._release()  # cancelled in the moment in which it got its place
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def add(self, more: int) -> None:
        """Let so many more in."""
        for _ in range(more):
            self._release()

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._left += 1


class WorkerPool:
    """A bounded pool of worker threads for blocking calls, used from one event loop at a time."""

    def __init__(self, size: int) -> None:
        self._most = size
        self._few = min(size, FEW)
        self._places = min(size, QUEUED * self._few)
        self.free = Places(self._places)
        """Held while a thread is asked for, so that those who wait for one hold no more than a place in a queue."""
        self._held_up = 0.0  # seconds since a call was last taken, as far as the loop ran
        self._tended = 0.0  # when that was looked at, in the loop's time
        self._threads = 0
        self._resting = 0
        self._lock = threading.Lock()  # over the two counts
        self._asked: deque[_Call] = deque()
        self._answered: deque[_Call] = deque()
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taken = 0
        self._told = False
        self._turn = False
        self._tick = False
        self._closed = False

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a call on one of the threads. What is to be done when it ends is done in the event loop."""
        if self._closed:
            raise RuntimeError("the pool was shut down")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._turn, self._tick, self._told = loop, False, False, False
        call = _Call(lambda: function(*args, **kwargs))
        if not self._asked:
            self._held_up, self._tended = 0.0, loop.time()
        self._asked.append(call)
        if not self._turn:
            self._turn = True
            loop.call_soon(self._begin)
        return call.future

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking call on one of the threads, and waits for it without one."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def replace(self) -> None:
        """Lets one more thread be made, beside one that does not come back."""
        with self._lock:
            self._most += 1
            self._few += 1
        self._places += 1
        self.free.add(1)

    def shutdown(self) -> None:
        """Takes no more work and begins none; a thread that is stuck in a call is not waited for."""
        self._closed = True
        while self._asked:
            self._asked.popleft().future.cancel()
        with self._lock:
            for _ in range(self._threads):
                self._bell.put(False)

    # -- in the event loop ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Has what was asked in this turn of the loop taken, by one thread at first."""
        self._turn = False
        self._wake(1, unless_awake=True)
        self._tend_later()

    def _tend(self) -> None:
        """Tells the answers that have come, and wakes more threads where those awake do not come to what is left."""
        self._tick = False
        self._tell()
        taken, self._taken = self._taken, 0
        assert self._loop is not None
        self._count_held_up(taken)
        left = len(self._asked)
        self._wake(left, unless_awake=left <= taken * TICKS_TO_WAIT)
        self._tend_later()

    def _count_held_up(self, taken: int) -> None:
        """Allow twice as many threads as there are where those have taken nothing for a while."""
        assert self._loop is not None
        now = self._loop.time()
        self._held_up = 0.0 if taken else self._held_up + min(now - self._tended, LONGEST_TURN)
        self._tended = now
        if self._held_up >= HELD_UP:
            self._held_up = 0.0
            with self._lock:
                self._few = min(self._most, max(self._few, 2 * self._threads))
            places = min(self._most, QUEUED * self._few)
            self.free.add(places - self._places)
            self._places = places

    def _tend_later(self) -> None:
        """As long as there is something to tend to."""
        if not self._tick and ((self._asked and not self._all_busy()) or self._answered):
            assert self._loop is not None
            self._tick = True
            self._loop.call_later(TICK, self._tend)

    def _tell(self) -> None:
        self._told = False
        while self._answered:
            self._answered.popleft().tell()

    def _wake(self, wanted: int, *, unless_awake: bool) -> None:
        with self._lock:
            if unless_awake and self._threads > self._resting:
                return
            woken = min(wanted, self._resting)
            self._resting -= woken
            made = max(0, min(wanted - woken, self._few - self._threads))
            self._threads += made
        for _ in range(woken):
            self._bell.put(True)
        for number in range(made):
            try:
                threading.Thread(target=self._work, name=NAME, daemon=True).start()
            except (RuntimeError, MemoryError) as error:  # the system gives no more of them
                self._refused(made - number, error)
                return

    def _refused(self, missing: int, error: Exception) -> None:
        """Go on with the threads that there are. Without any, what was asked for fails: nobody would ever do it."""
        with self._lock:
            self._threads -= missing
            there = self._threads
        if there:
            return
        while self._asked:
            call = self._asked.popleft()
            if call.future.set_running_or_notify_cancel():
                call.error = InfrastructureError(
                    f"no worker thread can be started: {error}",
                    hint="Raise the limit of processes (`ulimit -u`, the container's pids limit) or free memory.",
                )
                self._answered.append(call)
        if self._loop is not None and not self._told:
            self._told = True
            self._loop.call_soon(self._tell)

    def _all_busy(self) -> bool:
        with self._lock:
            return self._resting == 0 and self._threads >= self._most

    # -- on the threads ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._closed:
            try:
                call = self._asked.popleft()
            except IndexError:
                if not self._rest():
                    return
                continue
            self._taken += 1  # not exact, nor does it need to be
            if call.carry_out():
                self._answered.append(call)
            if not self._asked or self._all_busy():
                self._ring()

    def _rest(self) -> bool:
        """Waits until there is something to take; false when there is nothing more."""
        with self._lock:
            if self._asked:
                return True
            self._resting += 1
        return self._bell.get()

    def _ring(self) -> None:
        """Has the loop tell the answers. A ring that was not heard yet holds for this one too."""
        if self._told or self._loop is None:
            return
        self._told = True
        try:
            self._loop.call_soon_threadsafe(self._tell)
        except RuntimeError:  # the loop was closed: nobody waits any more
            self._told = False
