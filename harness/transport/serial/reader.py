"""The last bytes of a console and a way to wait for more: what logging in is made of."""

from __future__ import annotations

import re
import threading
from collections import deque

from harness.deadline import Deadline
from harness.errors import Cancelled
from harness.transport.errors import TransportError

_KEPT = 16384
_STARTS = 256


def again(error: TransportError) -> TransportError:
    """The same error as a new object: each thread that waits raises one of its own."""
    return type(error)(
        error.message,
        cause=error.cause,
        transport=error.transport,
        seen=error.seen,
        may_have_run=error.may_have_run,
        hint=error.hint,
    )


def _stands_in(wanted: bytes | re.Pattern[bytes], text: bytes) -> bool:
    return wanted in text if isinstance(wanted, bytes) else wanted.search(text) is not None


class Reader:
    """A listener that keeps the tail of the stream. Waits raise TransportError at once when the console is lost."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._tail = b""
        self._total = 0
        self._last = 0.0
        self._starts: deque[tuple[int, float]] = deque(maxlen=_STARTS)
        self._lost: TransportError | None = None

    def feed(self, data: bytes, at: float) -> None:
        with self._condition:
            self._tail = (self._tail + data)[-_KEPT:]
            self._starts.append((self._total, at))
            self._total += len(data)
            self._last = at
            self._condition.notify_all()

    def lost(self, error: TransportError) -> None:
        with self._condition:
            self._lost = error
            self._condition.notify_all()

    @property
    def total(self) -> int:
        """Bytes heard so far; a place in the stream for `since`."""
        return self._total

    @property
    def last(self) -> float:
        """When something was heard last, by the monotonic clock; 0 for never."""
        return self._last

    def first_after(self, place: int) -> float:
        """When the first byte behind that place was heard (of the last 256 pieces), by the monotonic clock."""
        with self._condition:
            return next((at for start, at in self._starts if start >= place), self._last)

    def wait_for_more(self, place: int, deadline: Deadline, *, at_most: float) -> None:
        """Wait until anything stands after `place`; at most `at_most` seconds, or until the deadline."""
        end = deadline.clamp(at_most)
        with _woken_by(deadline, self._condition), self._condition:
            while self._total <= place and not end.expired:
                self._check(deadline)
                self._condition.wait(end.remaining())

    def since(self, place: int) -> bytes:
        """What was heard after that place (at most the last 16 KiB)."""
        with self._condition:
            count = self._total - place
            return self._tail[-count:] if count > 0 else b""

    def wait_until(self, wanted: bytes | re.Pattern[bytes], place: int, deadline: Deadline, *, at_most: float) -> bool:
        """Waits until `wanted` (bytes or a pattern) stands after `place`; false when `at_most` seconds or the
        deadline went by."""
        end = deadline.clamp(at_most)
        with _woken_by(deadline, self._condition), self._condition:
            while not _stands_in(wanted, self.since(place)):
                self._check(deadline)
                if end.expired:
                    return False
                self._condition.wait(end.remaining())
        return True

    def wait_while_talking(
        self, wanted: re.Pattern[bytes], place: int, deadline: Deadline, *, quiet: float
    ) -> re.Match[bytes] | None:
        """Wait until `wanted` stands after `place`; None once nothing was heard for `quiet` seconds, or the deadline
        passed. So a slow line is waited for as long as it carries something."""
        began = deadline.clock.monotonic()
        with _woken_by(deadline, self._condition), self._condition:
            while True:
                found = wanted.search(self.since(place))
                if found is not None:
                    return found
                self._check(deadline)
                rest = quiet - (deadline.clock.monotonic() - max(began, self._last))
                if rest <= 0 or deadline.expired:
                    return None
                self._condition.wait(min(rest, deadline.remaining()))

    def settle(self, place: int, deadline: Deadline, *, quiet: float, at_most: float) -> bool:
        """Waits until something came after `place` and then nothing for `quiet` seconds; at most `at_most`.

        False where it did not fall quiet: something came, and more, until the time was over.
        """
        end = deadline.clamp(at_most)
        with _woken_by(deadline, self._condition), self._condition:
            while not end.expired:
                self._check(deadline)
                rest = end.remaining()
                if self._total > place:
                    silent = deadline.clock.monotonic() - self._last
                    if silent >= quiet:
                        return True
                    rest = min(rest, quiet - silent)
                self._condition.wait(rest)
            return self._total <= place

    def _check(self, deadline: Deadline) -> None:
        if self._lost is not None:
            raise again(self._lost)
        if deadline.cancellation.cancelled:
            raise Cancelled(deadline.cancellation.reason)


class _woken_by:  # noqa: N801 - reads as a verb where it is used
    """While held, cancelling the deadline wakes the condition's waiters."""

    def __init__(self, deadline: Deadline, condition: threading.Condition) -> None:
        self._deadline = deadline
        self._condition = condition

    def __enter__(self) -> None:
        self._forget = self._deadline.cancellation.on_cancel(self._wake)

    def __exit__(self, *_: object) -> None:
        self._forget()

    def _wake(self) -> None:
        # From a thread of its own: a cancellation must not wait for whoever holds the condition (a signal handler
        # runs in the very thread that may hold it).
        threading.Thread(target=self._notify, daemon=True).start()

    def _notify(self) -> None:
        with self._condition:
            self._condition.notify_all()


woken_by = _woken_by
