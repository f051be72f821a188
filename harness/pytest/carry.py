"""A test as the engine carries a check: it becomes a check's function, and its attempts stay on pytest's own thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar
from unittest import SkipTest

import pytest

from harness.api.check import Skip
from harness.errors import Cancelled
from harness.target.target import Target

P = ParamSpec("P")
T = TypeVar("T")


class Attempts:
    """A test as a check's function. Called with the target, it runs the test once; what escaped it last is `error`."""

    def __init__(self, function: Callable[..., Any], arguments: Callable[[Target], dict[str, Any]]) -> None:
        self._function = function
        self._arguments = arguments
        self.__code__ = inspect.unwrap(function).__code__  # where the engine looks for the line that failed
        self.error: BaseException | None = None
        self._traceback: TracebackType | None = None

    def __call__(self, target: Target) -> Any:
        """pytest's own words become the engine's: `fail` is an assertion, `skip` and `xfail` end the attempts."""
        __tracebackhide__ = True
        self.error = None
        try:
            return self._function(**self._arguments(target))
        except BaseException as error:
            # The engine drops the traceback of what it has judged.
            self.error, self._traceback = error, error.__traceback__
            if isinstance(error, pytest.xfail.Exception):  # before `fail`, of which it is a kind
                raise Skip(f"xfail: {error.msg}") from error
            if isinstance(error, pytest.fail.Exception):
                raise AssertionError(error.msg) from error
            if isinstance(error, pytest.skip.Exception | SkipTest):
                raise Skip(str(error)) from error
            if self.interrupted:
                raise Cancelled("interrupted") from error
            raise

    def reraise(self) -> None:
        """Raises what escaped it last, where something did, as if the test had just been called."""
        __tracebackhide__ = True
        if self.error is not None:
            raise self.error.with_traceback(self._traceback)

    @property
    def interrupted(self) -> bool:
        """Whether it was ended by Ctrl-C or `pytest.exit`, which end the session too."""
        return isinstance(self.error, KeyboardInterrupt | pytest.exit.Exception)


class CallingThread:
    """A pool that is the thread which calls `serve`: a test may hold what belongs to a thread, as pytest's own do."""

    def __init__(self, on_interrupt: Callable[[BaseException], None]) -> None:
        """`on_interrupt` is told what arrives between two calls; it is to see that the serving ends soon."""
        self.free = asyncio.Semaphore(1)
        self._on_interrupt = on_interrupt
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Leaves a call for the thread that serves; what comes of it is told in the event loop."""
        future: Future[T] = Future()
        loop = asyncio.get_running_loop()
        self._calls.put(partial(_call, loop, future, partial(function, *args, **kwargs)))
        return future

    def replace(self) -> None:
        """There is only one such thread; what it does not return from is waited for after all."""

    def serve(self) -> None:
        """Makes the calls that are left here, until told that it is over."""
        while True:
            try:
                call = self._calls.get()
                if call is None:
                    return
                call()
            except BaseException as interrupt:  # Ctrl-C, or a time-out of pytest's: at any instruction
                self._on_interrupt(interrupt)

    def over(self) -> None:
        """No more calls will come."""
        self._calls.put(None)


def _call(loop: asyncio.AbstractEventLoop, future: Future[T], function: Callable[[], T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            result = function()
        except BaseException as error:  # what a test raises is in the result; this came from outside
            _tell(loop, future.set_exception, Cancelled(f"interrupted by {type(error).__name__}"))
            raise
        _tell(loop, future.set_result, result)


def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[[T], None], word: T) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(tell, word)
