"""How a verb that runs checks waits for its end, also where threads do not return."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


T = TypeVar("T")


def until_done(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the event loop until the work is done. Signals are handled by :class:`DeferredSignals`, which the loop leaves
    in their place: it wakes for what they cancel."""
    import asyncio

    async def main() -> T:
        return await work()

    return asyncio.run(main())


def leave(code: int) -> int:
    """Returns the exit code, unless a check that pays no heed to its deadline still holds a thread: then everything
    is written, and the process ends without waiting for it."""
    import gc
    import os
    import threading
    import time

    from harness.cli.streams import give_up_streams
    from harness.engine import workers

    # The interpreter, as it ends, would go through all that there is in search of cycles: a tenth of a second for some
    # hundred checks.
    gc.freeze()
    end = time.monotonic() + 1.0
    stuck = [thread for thread in threading.enumerate() if thread.name.startswith(workers.NAME)]
    for thread in stuck:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in stuck):
        give_up_streams()
        os._exit(code)
    return code
