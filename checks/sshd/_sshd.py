"""What the checks of sshd share: which units there are, and what an unanswered port means."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import NoReturn

from harness import Never, NotYet, Skip, Target
from harness.api.check import with_diagnosis
from harness.diagnosis.ask import diagnose_ssh
from harness.errors import DeadlineExpired
from harness.target.standing import Standing
from harness.target.units import UnitState
from harness.transport.contract import CommandResult
from harness.transport.errors import TransportError, Unavailable

SSHD = 'PATH="$PATH:/usr/sbin:/usr/local/sbin"; sshd'
SERVICES = ("ssh.service", "sshd.service")
SOCKETS = ("ssh.socket", "sshd.socket")


@dataclass(frozen=True, slots=True)
class SshdUnits:
    """sshd's service and, where the socket is what is started, its socket."""

    service: UnitState | None
    socket: UnitState | None

    @property
    def all(self) -> tuple[UnitState, ...]:
        """Those that there are, the one that must be up for the port to answer first."""
        return tuple(unit for unit in (self.socket, self.service) if unit is not None)

    @property
    def leading(self) -> UnitState:
        """The unit that must be up for the port to answer."""
        return self.all[0]

    @property
    def journals(self) -> tuple[str, ...]:
        """Whose journal is sshd's: its units', and, where each connection has a service of its own, those."""
        stems = {unit.name.partition(".")[0] for unit in self.all}
        return (*(unit.name for unit in self.all), *(f"{stem}@*.service" for stem in sorted(stems)))


def sshd_units(target: Target) -> SshdUnits:
    """Finds sshd under Debian's and under everybody else's name, activated by socket or not.

    Raises Never when no such unit is installed.
    """
    states = target.units(*SERVICES, *SOCKETS)
    services = [state for state in states[: len(SERVICES)] if state.load_state != "not-found"]
    sockets = [state for state in states[len(SERVICES) :] if state.load_state == "loaded"]
    if not services and not sockets:
        raise Never(f"sshd has no unit here: none of {', '.join((*SERVICES, *SOCKETS))} is installed")
    # One is often an alias of the other; systemd then answers twice with the same Id.
    service = min(services, key=_rank, default=None)
    socket = min((state for state in sockets if state.active_state != "inactive"), key=_rank, default=None)
    if (
        service is not None
        and service.standing is Standing.UP
        and socket is not None
        and socket.standing is not Standing.UP
    ):
        socket = None  # it serves by itself
    if service is None and socket is None:
        raise Never(f"{sockets[0].name} {sockets[0].reason}, and there is no service that could serve without it")
    return SshdUnits(service, socket)


def _rank(state: UnitState) -> tuple[int, int]:
    """Which of several units is the one that serves: the one that is up, else the one that should have been. A masked
    one serves for no other, and its alias, which cannot be loaded for that, says less of it."""
    order = (Standing.UP, Standing.COMING, Standing.NEVER, Standing.IDLE)
    alias = state.load_state == "error" and state.file_state.startswith("masked")
    return (2 if alias else int(state.load_state == "masked"), order.index(state.standing))


def sshd_up(target: Target) -> SshdUnits:
    """sshd's units when it is up. Raises NotYet or Never with the reason, its result and its own last words."""
    units = sshd_units(target)
    target.unit_up(units.leading.name)
    return units


def explain_silence(target: Target, refusal: Unavailable, *, took: float = 20.0) -> NoReturn:
    """Raise Never or NotYet with the cause of a refusal, seen from inside; `took` is how long ago the attempt began, in
    seconds.

    Where sshd's unit is not up, that is the cause. Where it is, the machine is asked more, over each other transport:
    what sshd has logged, who listens, the link, the packet filter, the account, its settings. Never is raised where the
    machine itself gives a reason that waiting does not end.
    """
    try:
        sshd_up(target)
    except Never as never:
        raise Never(f"{never}; seen from outside: {refusal.message}") from refusal
    except NotYet as pending:
        raise NotYet(f"{pending}; seen from outside: {refusal.message}") from refusal
    except (Skip, TransportError, DeadlineExpired):
        pass  # no systemd, or nobody answers (in time): what was seen from outside is known all the same
    found = diagnose_ssh(target, refusal, took=took)
    outside = refusal.message.partition("\n")[0]
    said = found.headline if outside in found.headline else f"{found.headline}; seen from outside: {outside}"
    error: Exception = Never(said) if found.lasting else NotYet(said)
    raise with_diagnosis(error, found) from refusal


def ask_sshd(target: Target, option: str) -> CommandResult:
    """Asks the program sshd, whether or not its service runs."""
    result = target.run(f"{SSHD} {option}")
    for _ in range(5):
        missing = re.match(r"Missing privilege separation directory: (/\S+)", result.err)
        if missing is None:
            break
        # Its service makes this folder, and takes it away when it stops. Where a socket starts sshd there is none
        # before the first connection, which says nothing of the settings: the question gets one. It stays, because a
        # service that starts meanwhile takes it for its own, and fails without it.
        result = target.run(f"mkdir -p -m 0755 {shlex.quote(missing[1])} && {SSHD} {option}")
    return result


def parse_settings(text: str) -> dict[str, tuple[str, ...]]:
    """Each setting with its values, names in lower case; a setting that is given twice has two."""
    settings: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        settings[name.lower()] = (*settings.get(name.lower(), ()), value)
    return settings
