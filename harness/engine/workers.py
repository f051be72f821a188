"""Threads for calls that block: bounded, and none that a stuck call can take away for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NAME = "harness-worker"
"""What the names of the threads begin with."""


class WorkerPool:
    """A bounded pool of worker threads for blocking calls."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.free = asyncio.Semaphore(size)
        """Held while a thread is asked for, so that those who wait for one hold no more than a place in a queue, and
        their time begins when it is there."""
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=NAME)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a call on one of the threads."""
        return self._executor.submit(function, *args, **kwargs)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking call on one of the threads, and waits for it without one."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def replace(self) -> None:
        """Starts afresh beside a thread that does not come back; what it had taken on is still done."""
        given_up, self._executor = self._executor, ThreadPoolExecutor(self._size, thread_name_prefix=NAME)
        given_up.shutdown(wait=False)

    def shutdown(self) -> None:
        """Takes no more work; a thread that is stuck in a check is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
