"""How many events are sent at once: as many as the sink takes, fewer after trouble, and again more."""

from __future__ import annotations

_MOST_PATIENCE = 256


class Pace:
    """Halves when a batch is too large or refused, doubles after successes.

    A receiver's own limit would be met again and again by doubling at once, so each new failure doubles the number of
    batches that must go well before the next try. One outage counts as one failure, however often it is tried.
    """

    def __init__(self, most: int) -> None:
        self.size = most
        self._most = most
        self._patience = 0
        self._well = 0
        self._troubled = False

    def failed(self, count: int) -> None:
        """A batch of `count` events was refused, or got no answer however often it was sent."""
        self.size = max(1, count // 2)
        self._well = 0
        if not self._troubled:
            self._troubled = True
            self._patience = min(_MOST_PATIENCE, max(1, self._patience * 2))

    def taken(self) -> None:
        """A batch was acknowledged."""
        self._troubled = False
        self._well += 1
        if self._well > self._patience:
            self._well = 0
            self.size = min(self._most, self.size * 2)
            if self.size == self._most:
                self._patience = 0

    def explained(self) -> None:
        """The trouble was a bad event, and that is out of the way: nothing speaks against large batches."""
        self._troubled = False
        self._patience = self._well = 0
        self.size = min(self._most, self.size * 2)
