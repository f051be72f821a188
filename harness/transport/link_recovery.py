"""Leaving a transport loudly, trying it again in the background, and taking it back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.deadline import Clock
from harness.errors import Cancelled
from harness.events.emitter import Emitter
from harness.transport.contract import Fallback, Transport
from harness.transport.errors import Cause, TransportError, Unavailable


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a left transport is tried again. Seconds; `jitter` is the share by which a
    wait may differ.
    """

    first: float = 1.0
    factor: float = 1.7
    longest: float = 30.0
    jitter: float = 0.2

    def delay(self, tries: int, chance: float) -> float:
        """The wait after that many failed tries; `chance` is from 0 to 1. Never above `longest`."""
        plain = min(self.longest, self.first * self.factor ** min(tries, 60))
        return min(self.longest, plain * (1 + self.jitter * (2 * chance - 1)))


@dataclass(slots=True)
class _Left:
    """A transport that was left: why, since when, how often it was tried again, and when it is next."""

    error: TransportError
    since: float
    tries: int
    next_at: float


class Recovery:
    """Which transports are left, why, and when each is tried again. All methods may be called from any thread.

    `attempt` tries a transport, and raises TransportError when it does not serve, or Cancelled. With
    `background`, a thread lives as
    long as a transport is left.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        *,
        events: Emitter,
        clock: Clock,
        backoff: Backoff,
        chance: Callable[[], float],
        attempt: Callable[[Transport], None],
        background: bool,
        name: str,
    ) -> None:
        self._transports = tuple(transports)
        self._events = events
        self._clock = clock
        self._backoff = backoff
        self._chance = chance
        self._attempt = attempt
        self._background = background
        self._name = name
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._left: dict[str, _Left] = {}
        self._recent: dict[str, tuple[int, float]] = {}
        self._closed = False
        self._counts = {"fallbacks": 0, "recoveries": 0, "probes": 0}

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened so far: fallbacks, recoveries, probes."""
        with self._lock:
            return dict(self._counts)

    @property
    def left(self) -> Mapping[str, Fallback]:
        """The transports that are left at present, and why."""
        with self._lock:
            return {name: note(state.error) for name, state in self._left.items()}

    def order(self) -> list[Transport]:
        """The transports in use, as they were given; then, as a last resort, those that are left."""
        if not self._left:
            return list(self._transports)
        with self._lock:
            return sorted(self._transports, key=lambda one: one.name in self._left)

    def leave(self, one: Transport, error: TransportError, heir: str) -> None:
        """Leaves `one` for the transport that is named `heir`. The only transport is never left: each
        command tries it anew.
        """
        if len(self._transports) == 1:
            return
        with self._lock:
            state = self._left.get(one.name)
            fresh = state is None
            if state is None:
                now = self._clock.monotonic()
                tries, back_at = self._recent.get(one.name, (0, 0.0))
                if now - back_at > 2 * self._backoff.longest:
                    tries = 0  # It served for a while; one that comes and goes keeps its long waits.
                delay = self._backoff.delay(tries, self._chance())
                self._left[one.name] = _Left(error, now, tries, now + delay)
                self._counts["fallbacks"] += 1
            else:
                state.error = error
        if fresh:
            self._events.emit(
                "link.fallback",
                f"{one.name} failed" + (f", falling back to {heir}" if heir else "") + f": {error.message}",
                level="warning",
                cause=str(error.cause),
                from_transport=one.name,
                to_transport=heir or None,
                may_have_run=error.may_have_run,
            )
            self._start()

    def back(self, one: Transport) -> None:
        """`one` served: it is taken back, if it was left."""
        if one.name not in self._left:
            return
        with self._lock:
            state = self._left.pop(one.name, None)
            if state is None:
                return
            self._counts["recoveries"] += 1
            now = self._clock.monotonic()
            self._recent[one.name] = (state.tries, now)
        away = now - state.since
        self._events.emit(
            "link.recovered",
            f"{one.name} recovered after {away:.1f} s ({state.tries} probe{'' if state.tries == 1 else 's'})",
            duration=away,
            tries=state.tries,
            recovered_transport=one.name,
            cause=str(state.error.cause),
        )

    def close(self, patience: float) -> None:
        """Ends the background's tries; waits up to `patience` seconds for one that is under way."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience)

    def probe_due(self) -> None:
        """Tries the left transports whose time has come. The background's thread calls this; so may a
        test with its own clock.
        """
        now = self._clock.monotonic()
        with self._lock:
            due = [one for one in self._transports if one.name in self._left and self._left[one.name].next_at <= now]
        for one in due:
            with self._lock:
                if self._closed:
                    return
                self._counts["probes"] += 1
            try:
                self._attempt(one)
            except Cancelled:
                return
            except TransportError as error:
                self._tried(one, error)
            except Exception as error:
                # Unreadable known_hosts, no descriptors left: told, and tried again; the background must not die of it.
                told = f"{type(error).__name__}: {error}"
                self._tried(one, Unavailable(told, cause=Cause.CONFIG, transport=one.name))
            else:
                self.back(one)

    def _tried(self, one: Transport, error: TransportError) -> None:
        with self._lock:
            state = self._left.get(one.name)
            if state is None:
                return
            state.tries += 1
            state.error = error
            delay = self._backoff.delay(state.tries, self._chance())
            state.next_at = self._clock.monotonic() + delay
        self._events.emit(
            "link.probe",
            f"{one.name} does not serve yet; next try in {delay:.1f} s: {error.message}",
            level="debug",
            cause=str(error.cause),
            probed_transport=one.name,
            tries=state.tries,
        )

    def _start(self) -> None:
        if not self._background:
            return
        with self._lock:
            if self._closed or self._thread is not None:
                self._wake.set()
                return
            self._wake.clear()
            self._thread = threading.Thread(target=self._probe_on, name=f"link-{self._name}", daemon=True)
            self._thread.start()

    def _probe_on(self) -> None:
        while True:
            with self._lock:
                if self._closed or not self._left:
                    self._thread = None
                    return
                pause = min(state.next_at for state in self._left.values()) - self._clock.monotonic()
            self._wake.wait(max(0.0, pause))
            self._wake.clear()
            self.probe_due()


def note(error: TransportError) -> Fallback:
    """What a result says about a transport that was passed over."""
    return Fallback(error.transport, str(error.cause), error.message)
