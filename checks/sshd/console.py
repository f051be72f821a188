"""sshd as the serial console shows it: the way that is left when SSH is not there."""

from __future__ import annotations

from harness import NotYet, Skip, Target, check
from harness.transport.errors import TransportError

from ._sshd import sshd_units


@check(tags=["sshd", "console"], transport="serial")
def login_on_console(target: Target) -> str:
    """A login on the serial console works and runs a command."""
    if "serial" not in target.transports:
        raise Skip("the host has no serial console")
    result = target.run("id -un")
    assert result.ok, f"`id -un` ended with exit status {result.exit_status}: {result.err}"
    return f"logged in as {result.out}"


@check(tags=["sshd", "console"], transport="serial")
def same_over_console(target: Target) -> str:
    """The console tells the same of sshd's unit as SSH does."""
    if set(target.transports) != {"ssh", "serial"}:
        raise Skip(f"the host has {' and '.join(target.transports)} only")
    seen = sshd_units(target).leading
    try:
        other = sshd_units(target.over("ssh")).leading
    except TransportError as error:
        raise Skip(f"SSH does not serve, so there is nothing to compare with: {error.message}") from error
    if seen.identity != other.identity:
        raise NotYet(f"the console says that {seen.name} {seen.reason}, SSH that it {other.reason}")
    return f"{seen.name} {seen.reason}, over both"
