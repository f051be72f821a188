"""How a verb that runs checks waits for its end: signals on the way, and threads that do not return."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from harness.deadline import Cancellation

T = TypeVar("T")


def until_done(
    work: Callable[[], Coroutine[Any, Any, T]], cancellation: Cancellation, abandon: Callable[[], None]
) -> T:
    """Runs the event loop. The first SIGINT or SIGTERM ends all waits and shuts down in order; the second leaves
    at once."""
    import asyncio
    import os
    import signal

    from harness.cli.interrupts import ending_signals

    def leave_at_once() -> None:
        # What gives the cursor back may wait for a lock that the interrupted code holds.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2)
        abandon()
        os._exit(130)  # machines end by themselves: their supervisors see that we are gone

    async def main() -> T:
        loop = asyncio.get_running_loop()

        def interrupted(name: str) -> None:
            # On the loop: here the main thread may hold the very lock that cancelling takes.
            loop.call_soon_threadsafe(cancellation.cancel, f"interrupted by {name}")

        with ending_signals(interrupted, leave_at_once):
            return await work()

    return asyncio.run(main())


def leave(code: int) -> int:
    """Returns the exit code, unless a check that pays no heed to its deadline still holds a thread: then everything
    is written, and the process ends without waiting for it."""
    import gc
    import os
    import threading
    import time

    from harness.engine import workers

    # The interpreter, as it ends, would go through all that there is in search of cycles: a tenth of a second for some
    # hundred checks.
    gc.freeze()
    end = time.monotonic() + 1.0
    stuck = [thread for thread in threading.enumerate() if thread.name.startswith(workers.NAME)]
    for thread in stuck:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in stuck):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
