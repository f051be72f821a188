"""Watching a console that somebody else holds: its log, as it grows. Nothing is typed, and nobody is disturbed."""

from __future__ import annotations

from collections.abc import Callable

from harness.operate.console_log import ConsoleLog

PAUSE = 0.1
"""Seconds between two looks at the log."""


def watch(
    log: ConsoleLog, show: Callable[[bytes], None], pause: Callable[[float], bool], going_on: Callable[[], bool]
) -> bool:
    """Shows what the log says from its `position` on, and what comes, until nothing is `going_on` any more (True), or
    `pause` says that nobody watches any more (False). `pause` waits for so many seconds; it and `show` may raise."""
    while True:
        living = going_on()  # asked first: what is written before the end is shown
        data = log.more()
        if data:
            show(data)
        elif not living:
            return True
        if not pause(0.0 if data else PAUSE):
            return False
