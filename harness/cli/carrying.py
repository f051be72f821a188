"""How a verb that runs checks waits for its end, also where threads do not return."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from threading import Thread
    from typing import Any


T = TypeVar("T")


def until_done(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the event loop until the work is done. Signals are handled by :class:`DeferredSignals`, which the loop leaves
    in their place: it wakes for what they cancel."""
    import asyncio

    async def main() -> T:
        return await work()

    return asyncio.run(main())


def worker_threads() -> frozenset[Thread]:
    """Return the threads that run attempts of checks at present."""
    import threading

    from harness.engine import workers

    return frozenset(thread for thread in threading.enumerate() if thread.name.startswith(workers.NAME))


def leave(code: int, earlier: frozenset[Thread]) -> int:
    """Return the exit code, unless a check that ignores its deadline still holds a thread: then everything is written,
    and the process ends without waiting for it. `earlier` are the threads of others, from before the run."""
    import gc
    import os
    import time

    from harness.cli.streams import give_up_streams

    # The interpreter, as it ends, would go through all that there is in search of cycles: a tenth of a second for some
    # hundred checks.
    gc.freeze()
    end = time.monotonic() + 1.0
    stuck = worker_threads() - earlier
    for thread in stuck:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in stuck):
        give_up_streams()
        os._exit(code)
    return code
