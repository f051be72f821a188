"""sshd as the serial console shows it: the way that is left when SSH is not there."""

from __future__ import annotations

from harness import NotYet, Skip, Target, check
from harness.transport.errors import TransportError

from ._sshd import sshd_units


@check(tags=["sshd", "console"], transport="serial")
def same_over_console(target: Target) -> str:
    """A login on the console works, and it tells the same of sshd's unit as SSH does."""
    if set(target.transports) != {"ssh", "serial"}:
        raise Skip(f"the host has {' and '.join(target.transports)} only")
    seen = sshd_units(target).leading
    try:
        other = sshd_units(target.over("ssh")).leading
    except TransportError as error:
        return f"{seen.name} {seen.reason} (SSH does not serve, so it cannot be compared: {error.message})"
    if seen.identity != other.identity:
        raise NotYet(f"the console says that {seen.name} {seen.reason}, SSH that it {other.reason}")
    return f"{seen.name} {seen.reason}, over both"
