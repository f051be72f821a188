"""What the checks of the oneshot share: its names, what it says of itself, and why it has not got there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from harness import Never, NotYet, Target
from harness.target.standing import Standing
from harness.target.units import UnitState

ONESHOT = "pre-nixos.service"
STATUS = "/run/pre-nixos/status"
SSHD = ("ssh.service", "sshd.service")
STEPS = ("begin", "lan", "address", "storage", "sshd", "end")
"""What it tells of in the journal, in this order; others may stand between."""


@dataclass(frozen=True, slots=True)
class Step:
    """One structured entry of its journal. `state` is ok, missing or failed."""

    name: str
    state: str
    message: str
    fields: Mapping[str, str]


def sshd(target: Target) -> UnitState:
    """sshd's service, under Debian's or everybody else's name. Raises Never where it has none."""
    for state in target.units(*SSHD):
        if state.load_state != "not-found":
            return state
    raise Never(f"sshd has no service here: neither {' nor '.join(SSHD)} is installed")


def not_there(target: Target, words: str) -> NoReturn:
    """What is missing, and why the oneshot has not made it: raises Never where it never will, else NotYet."""
    why = target.why(ONESHOT)
    raise (Never if why.standing is Standing.NEVER else NotYet)(f"{words}; {why}")


def read_status(target: Target) -> dict[str, str]:
    """The status file of its newest run. Raises Never or NotYet, with the reason, where there is none."""
    result = target.run(f"cat {STATUS}")
    if not result.ok:
        not_there(target, f"{STATUS} cannot be read ({result.err})")
    status = parse_status(result.out)
    invocation = target.unit(ONESHOT).invocation
    if status.get("INVOCATION") != invocation:
        not_there(target, f"{STATUS} is of another run ({status.get('INVOCATION') or 'it does not say which'})")
    return status


def parse_status(text: str) -> dict[str, str]:
    """Lines of `KEY=VALUE`. Raises Never for a line that is none."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not (equals and key.isidentifier()):
            raise Never(f"{STATUS} has a line that is no KEY=VALUE: {line!r}")
        values[key] = value
    return values


def read_steps(target: Target) -> tuple[Step, ...]:
    """What its newest run has told the journal, oldest first. Raises NotYet where the journal cannot be read."""
    invocation = target.unit(ONESHOT).invocation
    words = f"SYSLOG_IDENTIFIER=pre-nixos PRE_NIXOS_INVOCATION={invocation}"
    try:
        return parse_steps(target.read(f"journalctl -b -q -o json --no-pager {words}"))
    except ValueError as error:
        raise NotYet(f"the journal of {ONESHOT} could not be read: {error}") from error


def parse_steps(text: str) -> tuple[Step, ...]:
    """Reads one JSON object a line (systemd.journal-fields(7)). Raises ValueError for a line that is no entry."""
    steps = []
    for line in text.splitlines():
        entry: dict[str, Any] = json.loads(line)
        own = {key: str(value) for key, value in entry.items() if key.startswith("PRE_NIXOS_")}
        name, state = own.pop("PRE_NIXOS_STEP", ""), own.pop("PRE_NIXOS_STATE", "")
        steps.append(Step(name, state, str(entry.get("MESSAGE") or ""), own))
    return tuple(steps)
