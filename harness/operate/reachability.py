"""Whether a target can be reached, by each of its transports, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from harness.diagnosis.ask import diagnose_ssh, observations_of
from harness.diagnosis.diagnose import Diagnosis, diagnose
from harness.diagnosis.evidence import Evidence, TransportObservation
from harness.diagnosis.rules import Certainty
from harness.diagnosis.text import one_line
from harness.errors import Cancelled, DeadlineExpired, HarnessError
from harness.target.target import Target
from harness.transport.errors import Contact, TransportError

T = TypeVar("T")

SSH_TIMEOUT = 20.0
"""Seconds that SSH has to answer."""
STOPPED_TIMEOUT = 4.0
"""Seconds that it has where the console's log ends with a panic or in the boot loader, or QEMU says that the machine
does not run: the log may be of an earlier boot."""
SLOW_TIMEOUT = 30.0
"""Seconds that it has once more, where nothing on the machine explains why it was not in time."""
_MAY_BE_SLOW = (Contact.SILENT, Contact.KEX, Contact.LOGIN_TIMED_OUT)
CONSOLE_TIMEOUT = 90.0
"""Seconds that a console has to give a shell."""
_RUNNING = ("", "running")
_PANIC = "kernel-panic"
_NOTHING_RUNS = (_PANIC, "no-boot-device", "grub-rescue", "grub-shell", "u-boot-shell", "uefi-shell")
"""Causes by the console after which no system runs that could be asked."""


@dataclass(frozen=True, slots=True)
class Reachability:
    """What came of each transport, and where one does not serve, why."""

    observations: tuple[TransportObservation, ...]
    diagnosis: Diagnosis

    @property
    def transport(self) -> str:
        """The first transport that answers; empty where none does."""
        return next((each.transport for each in self.observations if each.answered), "")

    @property
    def reached(self) -> bool:
        """Whether any transport answers."""
        return bool(self.transport)

    @property
    def whole(self) -> bool:
        """Whether every transport that was used answers."""
        return self.reached and not self.diagnosis.causes

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person reads: the cause first, then what it rests on, and what came of each transport."""
        transports = "; ".join(_transport_text(each) for each in self.observations)
        if not self.diagnosis.causes:
            return (transports,)
        lines = [line for line in self.diagnosis.lines if not line.startswith(("ssh: ", "serial: "))]
        hints = [f"to do: {one_line(each.hint, 300)}" for each in self.observations if each.hint and not each.answered]
        if self.diagnosis.causes[0].certainty is not Certainty.OUTSIDE:
            hints = []  # they are for who knows no more than what the transport met
        return (*lines, f"transports: {transports}", *hints)

    def plain(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        return {"reached": self.reached, "over": self.transport or None, "diagnosis": self.diagnosis.plain()}


def probe_transports(
    target: Target,
    *,
    transport: str | None = None,
    console: Callable[[], Sequence[str]] = lambda: (),
    qmp: Callable[[], str] = lambda: "",
) -> Reachability:
    """Use the target's transports until one answers, and make a diagnosis of those that do not.

    `transport` is the only one to use, where it is given. `console` returns the console's last lines, as they were
    logged, and `qmp` QEMU's run state. Where SSH answers, a console is not logged in to: that would be an action on the
    target which nobody needs. Raises Cancelled, UsageError.
    """
    wanted = [name for name in target.transports if transport in (None, name)]
    state, lines = qmp(), tuple(console())
    stopped = state not in _RUNNING or bool(_end_of_log(target.name, lines))
    if "ssh" not in wanted:
        return _over_console(target, wanted, state, lines, stopped)
    began = time.monotonic()
    try:
        target.run(":", transport="ssh", timeout=STOPPED_TIMEOUT if stopped else SSH_TIMEOUT)
    except (TransportError, DeadlineExpired) as error:
        failure = error if isinstance(error, TransportError) else _late(error)
    else:
        took = time.monotonic() - began
        address = f"{target.endpoint.user}@{target.endpoint}" if target.endpoint is not None else ""
        seen = [TransportObservation("ssh", Contact.ANSWERED, address, duration=took)]
        seen += [TransportObservation(name, Contact.NOT_TRIED) for name in wanted if name != "ssh"]
        return Reachability(tuple(seen), Diagnosis(target.name, observations=tuple(seen)))
    if stopped:
        seen = list(_ssh_observations(target, failure))
        return _stopped(target, tuple(seen), state, lines)
    others = tuple(name for name in wanted if name != "ssh")
    found = diagnose_ssh(target, failure, took=time.monotonic() - began, transports=others, console=console, qmp=state)
    if failure.contact in _MAY_BE_SLOW and found.first is not None and found.first.certainty <= Certainty.OUTSIDE:
        slow = _slow_ssh(target)
        if slow is not None:
            seen = [slow, *(each for each in found.observations if each.transport != "ssh")]
            return Reachability(tuple(seen), Diagnosis(target.name, observations=tuple(seen)))
    return Reachability(found.observations, found)


def _slow_ssh(target: Target) -> TransportObservation | None:
    """Return what came of a login that is given more time than `ansible_timeout`; None where that fails too.

    A healthy sshd under load may take longer than it has for each command.
    """
    if target.endpoint is None:
        return None
    spec = replace(target.endpoint.spec, connect_timeout=SLOW_TIMEOUT)
    endpoint = replace(target.endpoint, spec=spec, deadline=target.deadline.clamp(SLOW_TIMEOUT))
    began = time.monotonic()
    try:
        endpoint.log_in(":")
    except (TransportError, DeadlineExpired):
        return None
    address = f"{endpoint.user}@{endpoint}, slowly: longer than ansible_timeout allows"
    return TransportObservation("ssh", Contact.ANSWERED, address, duration=time.monotonic() - began)


def reach_and_explain(
    probe: Callable[[], Reachability], explain: Callable[[str], T]
) -> tuple[Reachability, T | HarnessError | None]:
    """Return whether a target can be reached, and what `explain` says over the transport that answers: None where none
    does, its error where it raised one.

    A transport may go away between the two, as when the machine panics. Then it is probed once more, since the cause is
    what the caller wants to know.
    """
    found = probe()
    for is_last in (False, True):
        if not found.reached:
            return found, None
        try:
            return found, explain(found.transport)
        except TransportError as error:
            if is_last:
                return found, error
        except Cancelled:
            raise
        except HarnessError as error:
            return found, error
        found = probe()
    raise AssertionError("the loop returns at its second turn")


def _over_console(
    target: Target, wanted: Sequence[str], state: str, lines: tuple[str, ...], stopped: bool
) -> Reachability:
    seen: list[TransportObservation] = []
    if stopped:
        return _stopped(target, (), state, lines)
    for name in wanted:
        try:
            target.run(":", transport=name, timeout=CONSOLE_TIMEOUT)
        except (TransportError, DeadlineExpired) as error:
            seen += observations_of(error if isinstance(error, TransportError) else _late(error))
        else:
            seen.append(TransportObservation(name, Contact.ANSWERED))
            break
    found = diagnose(Evidence(target.name, tuple(seen), console=lines, qmp=state))
    return Reachability(tuple(seen), found)


def _stopped(target: Target, ssh: tuple[TransportObservation, ...], state: str, lines: tuple[str, ...]) -> Reachability:
    """The machine has panicked, found no system to boot, or does not run: its console is not waited for."""
    contact, message = Contact.PANIC, "the console's log ends with a panic"
    if state not in _RUNNING:
        message = f"QEMU says {state!r}"
    elif _end_of_log(target.name, lines) != _PANIC:
        contact, message = Contact.NO_SHELL, "the console's log ends in the firmware or the boot loader"
    seen = (*ssh, TransportObservation("serial", contact, message=message))
    return Reachability(seen, diagnose(Evidence(target.name, seen, console=lines, qmp=state)))


def _end_of_log(name: str, lines: tuple[str, ...]) -> str:
    """Return the cause that the console's log ends with, where nothing runs that could be asked; else nothing."""
    seen = (TransportObservation("serial", Contact.NO_SHELL),)
    causes = [each.name for each in diagnose(Evidence(name, seen, console=lines)).causes]
    return next((each for each in causes if each in _NOTHING_RUNS), "")


def _ssh_observations(target: Target, error: TransportError) -> tuple[TransportObservation, ...]:
    endpoint = target.endpoint
    return observations_of(
        error, address=str(endpoint) if endpoint is not None else "", user=endpoint.user if endpoint is not None else ""
    )


def _late(error: DeadlineExpired) -> TransportError:
    from harness.transport.errors import Cause, Unavailable

    return Unavailable(error.message, cause=Cause.TIMEOUT, transport="ssh", contact=Contact.LOGIN_TIMED_OUT)


_TOLD: Mapping[Contact, str] = {
    Contact.ANSWERED: "answers",
    Contact.NOT_TRIED: "not used, another transport answers",
}


def _transport_text(seen: TransportObservation) -> str:
    words = _TOLD.get(seen.contact, seen.contact.value.replace("_", " "))
    if seen.answered:
        details = [seen.address] if seen.address else []
        details += [f"{seen.duration:.1f} s"] if seen.duration is not None else []
        return f"{seen.transport} {words} ({', '.join(details)})" if details else f"{seen.transport} {words}"
    message = f" ({one_line(seen.message, 200)})" if seen.message else ""
    return f"{seen.transport}: {words}{message}"
