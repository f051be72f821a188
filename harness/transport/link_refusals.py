"""Logins that were refused, and that are not tried again at once."""

from __future__ import annotations

from harness.deadline import Clock
from harness.transport.errors import Cause, TransportError, Unavailable

REFUSED = frozenset((Cause.LOGIN, Cause.PASSWORD_EXPIRED))
PAUSE = 60.0
"""Seconds for which a login that was refused is not tried again. Waiting cures no wrong password; each try may bring an
account nearer to being locked, and ends the getty, which systemd starts five times in ten seconds at most
(`DefaultStartLimitBurst=` of systemd-system.conf(5))."""


class RefusedLogins:
    """The last refusal of each transport. May be used from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: dict[str, tuple[TransportError, float]] = {}

    def check(self, transport: str) -> None:
        """Raise the transport's refusal again, where it is younger than :data:`PAUSE`."""
        known = self._refused.get(transport)
        if known is None:
            return
        error, at = known
        if self._clock.monotonic() - at >= PAUSE:
            self._refused.pop(transport, None)
            return
        raise Unavailable(error.message, cause=error.cause, transport=transport, seen=error.seen, hint=error.hint)

    def note(self, transport: str, error: TransportError) -> None:
        """Take what a transport could not be opened for; the first refusal counts until its time is over."""
        if error.cause in REFUSED and transport not in self._refused:
            self._refused[transport] = error, self._clock.monotonic()

    def forget(self, transport: str) -> None:
        """The transport serves: it is tried at any time again."""
        self._refused.pop(transport, None)
