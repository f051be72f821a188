"""What a target's checks talk to: its transports in order, the one in use, and the rules for leaving it
and coming back.

A transport is left when it cannot serve (:class:`~harness.transport.errors.Unavailable`) or went away
under a command
(:class:`~harness.transport.errors.TransportLost`); never for an exit status, never for a command's own
time-out. Leaving
is loud: an event with its cause, and a note in every result that another transport served meanwhile.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from harness.deadline import SYSTEM_CLOCK, Cancellation, Clock, Deadline
from harness.errors import Cancelled, DeadlineExpired, HarnessError, UsageError
from harness.events.emitter import Emitter
from harness.transport.contract import (
    CommandResult,
    CountsReconnects,
    Damage,
    Fallback,
    FileResult,
    Followed,
    Follows,
    Interactive,
    Interacts,
    Progress,
    Transport,
    Window,
)
from harness.transport.errors import Cause, TransportError, TransportLost, Unavailable
from harness.transport.link_ledger import Ledger
from harness.transport.link_recovery import Backoff, Recovery, note
from harness.transport.link_refusals import RefusedLogins
from harness.transport.ssh.hostkeys import HostKey, read_host_keys

__all__ = ["Backoff", "Link", "Unreachable"]

T = TypeVar("T")

PROBE_BOUND = 15.0
"""Seconds that one try in the background to get a transport back may take."""


@runtime_checkable
class Opens(Protocol):
    """A transport that can be opened apart from a command, so that a dead one costs a bounded share of
    the deadline.
    """

    def open(self, deadline: Deadline) -> None:
        """Opens it, unless it is open. Raises what `run` raises."""


@runtime_checkable
class PinsHostKeys(Protocol):
    """A transport that refuses hosts whose key it does not know, and can be told the key."""

    @property
    def unknown_host_key(self) -> HostKey | None:
        """The key that was shown and is not known; None when there is no such question."""

    def pin_host_keys(self, keys: tuple[HostKey, ...]) -> None:
        """From now on the host must show one of these keys."""


class Unreachable(Unavailable):
    """No transport could serve. `errors` holds each one's own error, in the order in which they were
    tried.
    """

    def __init__(self, name: str, errors: Sequence[TransportError]) -> None:
        reasons = "; ".join(f"{error.transport}: {error.message.partition(chr(10))[0]}" for error in errors)
        super().__init__(
            f"{name or 'the target'} cannot be reached: {reasons or 'no transport could be tried'}",
            cause=errors[0].cause if errors else Cause.TIMEOUT,
            transport="+".join(error.transport for error in errors),
            seen=errors[-1].seen if errors else b"",
            may_have_run=any(error.may_have_run for error in errors),
            hint=next((error.hint for error in errors if error.hint), ""),
            contact=errors[0].contact if errors else None,
        )
        self.errors = tuple(errors)


class Link:
    """The transports of one target, in order of preference. All methods may be called from any thread.

    `open_share` is the part of a deadline that opening a transport may take while others are left to try,
    `open_bound` its most in seconds.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        *,
        events: Emitter,
        clock: Clock = SYSTEM_CLOCK,
        name: str = "",
        backoff: Backoff | None = None,
        open_share: float = 1 / 3,
        open_bound: float = 15.0,
        background: bool = True,
        chance: Callable[[], float] = random.random,
        unauthenticated: Collection[str] = (),
    ) -> None:
        """`unauthenticated` names the transports on which anybody may answer in the target's place: host keys are not
        learnt over them."""
        if not transports:
            raise UsageError(f"{name or 'the target'} has no transport", hint="Give it ansible_host or serial_socket.")
        self._transports = tuple(transports)
        self._events = events
        self._clock = clock
        self._name = name
        self._unauthenticated = frozenset(unauthenticated)
        self._open_share = open_share
        self._open_bound = open_bound
        self._pinning = threading.Lock()
        self._cancel = Cancellation()
        # Looked up once: to ask a protocol takes longer than all else here.
        self._openers: dict[str, Opens] = {one.name: one for one in transports if isinstance(one, Opens)}
        self._counters = tuple(one for one in transports if isinstance(one, CountsReconnects))
        self._recovery = Recovery(
            self._transports,
            events=events,
            clock=clock,
            backoff=backoff or Backoff(),
            chance=chance,
            attempt=self._attempt,
            background=background,
            name=name,
        )
        self._ledger = Ledger()
        self._refusals = RefusedLogins(clock)

    # -- what is asked of every transport

    @property
    def current(self) -> str:
        """The name of the transport that serves the next command."""
        return self._order(None)[0].name

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened so far: those of the :class:`~harness.transport.link_ledger.Ledger`, and fallbacks,
        recoveries, probes.
        """
        return {**self._ledger.counts, **self._recovery.counts}

    @property
    def left(self) -> Mapping[str, Fallback]:
        """The transports that are left at present, and why."""
        return self._recovery.left

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        stdin: bytes | None = None,
        transport: str | None = None,
        repeatable: bool = False,
        events: Emitter | None = None,
    ) -> CommandResult:
        """Runs a command over the first transport that serves, or over the named one only.

        A command that may have run on a transport that was then lost is run again on another only when
        `repeatable`.
        Raises Timeout, TransportLost (it may have run), :class:`Unreachable`, Cancelled, UsageError.
        Each call is one
        `command` event; its stdin is never recorded.
        It goes to `events` where the caller has an emitter of its own (an attempt's).
        """
        began = self._clock.monotonic()
        try:
            result, attempts, notes = self._serve(
                lambda one, until: one.run(command, deadline=until, stdin=stdin),
                deadline=deadline,
                insist=transport,
                repeatable=repeatable,
            )
        except HarnessError as error:
            self._charge(error)
            self._ledger.command_failed(events or self._events, command, error, self._clock.monotonic() - began)
            raise
        if reconnects := self._take_reconnects():
            result = replace(result, damage=result.damage + Damage(reconnects=reconnects))
        if attempts > 1 or notes:
            result = replace(result, attempts=result.attempts + attempts - 1, fallbacks=(*notes, *result.fallbacks))
        self._ledger.command(events or self._events, result)
        return result

    def put(
        self,
        data: bytes | Path,
        path: str,
        *,
        deadline: Deadline,
        mode: int = 0o600,
        progress: Progress | None = None,
        transport: str | None = None,
        events: Emitter | None = None,
    ) -> FileResult:
        """Writes a file on the target, verified; may be done twice, so any loss leads to the next
        transport. One `file.put` event. Raises also OSError, with what the target said.
        """

        def carry(one: Transport, until: Deadline) -> tuple[str, int, None]:
            one.put(data, path, deadline=until, mode=mode, progress=progress)
            return one.name, data.stat().st_size if isinstance(data, Path) else len(data), None

        return self._carry("file.put", path, carry, deadline, transport, events or self._events)

    def get(
        self,
        path: str,
        *,
        deadline: Deadline,
        progress: Progress | None = None,
        transport: str | None = None,
        events: Emitter | None = None,
    ) -> FileResult:
        """Reads a file of the target, verified: the result's `content`. One `file.get` event. Raises also OSError."""

        def carry(one: Transport, until: Deadline) -> tuple[str, int, bytes]:
            content = one.get(path, deadline=until, progress=progress)
            return one.name, len(content), content

        return self._carry("file.get", path, carry, deadline, transport, events or self._events)

    def _carry(
        self,
        action: str,
        path: str,
        carry: Callable[[Transport, Deadline], tuple[str, int, bytes | None]],
        deadline: Deadline,
        insist: str | None,
        events: Emitter,
    ) -> FileResult:
        started, began = self._clock.time(), self._clock.monotonic()
        try:
            (served, size, content), attempts, notes = self._serve(
                carry, deadline=deadline, insist=insist, repeatable=True
            )
        except (HarnessError, OSError) as error:
            self._charge(error)
            self._ledger.file_failed(events, action, path, error, self._clock.monotonic() - began)
            raise
        result = FileResult(
            path=path,
            size=size,
            transport=served,
            started=started,
            ended=self._clock.time(),
            duration=self._clock.monotonic() - began,
            content=content,
            attempts=attempts,
            damage=Damage(reconnects=self._take_reconnects()),
            fallbacks=notes,
        )
        self._ledger.file(events, action, result)
        return result

    def follow(self, command: str, *, deadline: Deadline, on_word: Callable[[], None]) -> Followed | None:
        """Follows a program over the transport in use, beside its commands; None where that one cannot."""
        one = self._order(None)[0]
        return one.follow(command, deadline=deadline, on_word=on_word) if isinstance(one, Follows) else None

    def interactive(
        self, command: str, window: Window | None, *, deadline: Deadline, on_word: Callable[[], None]
    ) -> Interactive:
        """A shell for a person, over the first transport that carries one: see
        :class:`~harness.transport.contract.Interacts`. There is no other to fall back to. Raises UsageError where there
        is none at all, Unavailable, TransportLost, Cancelled."""
        one = next((one for one in self._transports if isinstance(one, Interacts)), None)
        if one is None:
            raise UsageError(f"{self._name or 'the target'} has no SSH", hint="Give it an ansible_host.")
        try:
            return one.interactive(command, window, deadline=deadline, on_word=on_word)
        except Unavailable as error:
            if not self._learn_host_key(one, error, deadline):
                raise self._not_believed(one, error) from None
            return one.interactive(command, window, deadline=deadline, on_word=on_word)

    def close(self) -> None:
        """Closes all transports and ends the background's tries. Safe to call twice."""
        self._cancel.cancel("the link was closed")
        for transport in self._transports:
            transport.close()
        self._recovery.close(PROBE_BOUND)

    def probe_due(self) -> None:
        """Tries the left transports whose time has come; the background does so by itself."""
        self._recovery.probe_due()

    # -- choosing

    def _order(self, insist: str | None) -> list[Transport]:
        """Whom to ask: the named one; else those in use in order, then, as a last resort, those that
        were left.
        """
        if insist is not None:
            chosen = [one for one in self._transports if one.name == insist]
            if not chosen:
                have = ", ".join(one.name for one in self._transports)
                raise UsageError(f"{self._name or 'the target'} has no transport {insist!r}", hint=f"It has: {have}.")
            return chosen
        return self._recovery.order()

    def _serve(
        self,
        call: Callable[[Transport, Deadline], T],
        *,
        deadline: Deadline,
        insist: str | None,
        repeatable: bool,
    ) -> tuple[T, int, tuple[Fallback, ...]]:
        """Calls over one transport after the other. The answer, how often the call was made, and who was
        passed over.
        """
        order = self._order(insist)
        notes = {} if insist else dict(self._recovery.left)
        errors: list[TransportError] = []
        calls = 0
        for index, one in enumerate(order):
            others = len(order) - index - 1
            if errors and deadline.expired:
                break
            try:
                self._refusals.check(one.name)
                self._open(one, deadline, others)
                calls += 1
                answer = self._call_again_once(call, one, deadline, repeatable and len(order) == 1)
            except (Unavailable, TransportLost) as error:
                if deadline.cancellation.cancelled:
                    raise Cancelled(deadline.cancellation.reason) from None
                errors.append(error)
                self._refusals.note(one.name, error)
                if deadline.expired and error.cause is Cause.TIMEOUT:
                    break  # Too little time was given; that is no fault of the transport.
                heir = order[index + 1].name if others else ""
                self._recovery.leave(one, error, heir)
                if insist is not None or (error.may_have_run and not repeatable):
                    raise
                notes[one.name] = note(error)
                continue
            self._recovery.back(one)
            self._refusals.forget(one.name)
            notes.pop(one.name, None)
            return answer, calls, tuple(notes.values())
        raise Unreachable(self._name, errors)

    def _take_reconnects(self) -> int:
        """Return the reconnects of all transports that no call was charged with yet."""
        return sum(one.take_reconnects() for one in self._counters)

    def _charge(self, error: Exception) -> None:
        """Have an error tell, and the counts know, what was mended before the call failed."""
        reconnects = self._take_reconnects()
        if isinstance(error, TransportError):
            error.damage += Damage(reconnects=reconnects)
        self._ledger.reconnected(reconnects)

    def _attempt(self, one: Transport) -> None:
        """One try in the background."""
        deadline = Deadline.after(PROBE_BOUND, cancellation=self._cancel)
        self._refusals.check(one.name)
        try:
            self._open(one, deadline, 0)
            one.run(":", deadline=deadline)
        except TransportError as error:
            self._refusals.note(one.name, error)
            raise
        self._refusals.forget(one.name)

    def _open(self, one: Transport, deadline: Deadline, others: int) -> None:
        opener = self._openers.get(one.name)
        if opener is None:
            return
        bound = deadline
        if others:
            bound = deadline.clamp(min(self._open_bound, deadline.remaining() * self._open_share))
            if bound.allowance is not None:
                # Another transport is left to try: setting this one up has its share, and no time beside it.
                bound = replace(bound, allowance=None)
        try:
            if bound.allowance is None and deadline.allowance is not None:
                began = deadline.allowance.begin()
                opened = False
                try:
                    opener.open(bound)
                    opened = True
                finally:
                    took = self._clock.monotonic() - began
                    deadline.allowance.end(began, {"connecting": took} if opened else {})
            else:
                opener.open(bound)
        except Unavailable as error:
            if not self._learn_host_key(one, error, deadline):
                raise self._not_believed(one, error) from None
            opener.open(deadline)

    def _call_again_once(
        self, call: Callable[[Transport, Deadline], T], one: Transport, deadline: Deadline, again: bool
    ) -> T:
        """Where there is no other transport, a lost connection is made anew once for what may be repeated."""
        try:
            return call(one, deadline)
        except TransportLost:
            if not again or deadline.expired or deadline.cancellation.cancelled:
                raise
            self._ledger.repeated()
            return call(one, deadline)

    def _not_believed(self, one: Transport, error: Unavailable) -> Unavailable:
        """The error, with why an unknown host key was not read over another transport where that could have been."""
        others = [other.name for other in self._transports if other is not one and other.name in self._unauthenticated]
        if error.cause is Cause.HOST_KEY and others and isinstance(one, PinsHostKeys) and one.unknown_host_key:
            error.hint = (
                f"{error.hint} It is not read over {others[0]}: anybody in the network may answer there. Where that"
                " network can be trusted, say serial_trusted=true."
            ).strip()
        return error

    def _learn_host_key(self, one: Transport, error: Unavailable, deadline: Deadline) -> bool:
        """An unknown host key is read from the machine itself, over another transport, and pinned. True
        when it was.
        """
        if error.cause is not Cause.HOST_KEY or not isinstance(one, PinsHostKeys):
            return False
        with self._pinning:
            shown = one.unknown_host_key
            if shown is None:
                return False
            for other in self._transports:
                if other is one or other.name in self._unauthenticated:
                    continue
                try:
                    keys = read_host_keys(partial(other.run, deadline=deadline))
                except (TransportError, DeadlineExpired):
                    continue
                if keys:
                    one.pin_host_keys(keys)
                    self._events.emit(
                        "link.host_key_pinned",
                        f"read {len(keys)} host keys over {other.name}; {one.name} must show one of them",
                        over=other.name,
                        host_keys=[str(key) for key in keys],
                        shown=str(shown),
                    )
                    return True
        return False
