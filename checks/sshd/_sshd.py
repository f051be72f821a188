"""What the checks of sshd share: which units there are, and what an unanswered port means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from harness import Never, NotYet, Skip, Target
from harness.target.units import Standing, UnitState
from harness.transport.errors import TransportError, Unavailable

SERVICES = ("ssh.service", "sshd.service")
SOCKETS = ("ssh.socket", "sshd.socket")


@dataclass(frozen=True, slots=True)
class SshdUnits:
    """sshd's service and, where the socket is what is started, its socket."""

    service: UnitState
    socket: UnitState | None

    @property
    def leading(self) -> UnitState:
        """The unit that must be up for the port to answer."""
        return self.socket or self.service


def sshd_units(target: Target) -> SshdUnits:
    """Finds sshd under Debian's and under everybody else's name, activated by socket or not.

    Raises Never when no such unit is installed.
    """
    states = target.units(*SERVICES, *SOCKETS)
    services = [state for state in states[: len(SERVICES)] if state.load_state != "not-found"]
    sockets = [state for state in states[len(SERVICES) :] if state.load_state in ("loaded",)]
    if not services:
        raise Never(f"sshd has no unit here: neither {' nor '.join(SERVICES)} is installed")
    # One is often an alias of the other; systemd then answers twice with the same Id.
    service = next((state for state in services if state.standing is not Standing.IDLE), services[0])
    started = [state for state in sockets if state.standing is not Standing.IDLE and state.active_state != "inactive"]
    return SshdUnits(service, started[0] if started else None)


def sshd_up(target: Target) -> SshdUnits:
    """sshd's units when it is up. Raises NotYet or Never with the reason, its result and its own last words."""
    units = sshd_units(target)
    target.unit_up(units.leading.name)
    return units


def explain_silence(target: Target, refusal: Unavailable) -> NoReturn:
    """Why sshd does not answer, seen from inside; raises Never when waiting cannot help, else NotYet.

    An outside check that only said "connection refused" would leave the person where they were.
    """
    said = refusal.message
    try:
        sshd_up(target)
    except Never as never:
        raise Never(f"{said}; {never}") from refusal
    except NotYet as pending:
        raise NotYet(f"{said}; {pending}") from refusal
    except (Skip, TransportError) as blind:
        raise NotYet(f"{said}; why could not be seen from inside: {blind}") from refusal
    raise NotYet(f"{said}, although {sshd_units(target).leading.name} is up") from refusal
