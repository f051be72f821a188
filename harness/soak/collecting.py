"""When a soak collects from a target that failed: at the first failure of each kind, and not for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable

from harness.engine.failed import Collect, Failed
from harness.soak.signature import signature

MOST = 5
"""Collections of one target in a soak, in all its parts together: each takes time and some hundred kilobytes."""


class FirstOfEachKind:
    """Lets a failure be collected when its signature is new on its target, and the target was not asked MOST times."""

    def __init__(self, collect: Collect, had: Callable[[str], int], most: int = MOST) -> None:
        """`had` says how many collections of a target there are already."""
        self._collect = collect
        self._had = had
        self._most = most
        self._seen: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def __call__(self, failed: Failed) -> str:
        name = failed.host.name
        kinds = {(name, f"{each.label} {signature(each.message, [name])}") for each in failed.failures} or {(name, "")}
        with self._lock:
            if kinds <= self._seen or self._had(name) >= self._most:
                return ""
            self._seen |= kinds
        return self._collect(failed)
