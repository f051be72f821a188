"""The sshd behind it: ordered after it, with no job left over, settled, and answering."""

from __future__ import annotations

from harness import Never, NotYet, Target, check
from harness.transport.errors import Unavailable

from ._pre_nixos import ONESHOT, sshd


@check(tags=["pre_nixos", "sshd", "ordering"])
def comes_after_it(target: Target) -> str:
    """sshd's service is ordered after the oneshot (`After=`): nobody is let in before."""
    unit = sshd(target)
    if ONESHOT not in unit.after:
        services = ", ".join(name for name in unit.after if name.endswith(".service"))
        raise Never(f"{unit.name} does not come after {ONESHOT}; its After= names the services {services or 'none'}")
    return f"{unit.name} comes after {ONESHOT}"


@check(tags=["pre_nixos", "sshd"])
def no_job_left(target: Target) -> str:
    """No job of sshd is left in the queue: what the oneshot asked for has been done."""
    unit = sshd(target)
    jobs = target.jobs()
    if any(job.unit == unit.name for job in jobs):
        target.unit_up(unit.name)  # raises with what the job waits for, or Never where that is in vain
        raise NotYet(f"{unit.name} had a job a moment ago")
    return f"no job for {unit.name} among {len(jobs)} queued"


@check(tags=["pre_nixos", "sshd"])
def settled(target: Target) -> str:
    """sshd is up, and has been the same invocation for a while."""
    unit = target.unit_settled(sshd(target).name)
    return f"{unit.name} {unit.reason}, {unit.restarts} restarts, invocation {unit.invocation}"


@check(tags=["pre_nixos", "sshd", "outside"])
def answers(target: Target) -> str:
    """Check that it sends its banner to the outside and accepts a login."""
    try:
        banner = target.ssh.banner()
        user = target.ssh.log_in("id -un")
    except Unavailable as refusal:
        unit = sshd(target)
        try:
            target.unit_up(unit.name)
        except Never as never:
            raise Never(f"{refusal.message}; {never}") from refusal
        except NotYet as pending:
            raise NotYet(f"{refusal.message}; {pending}") from refusal
        raise NotYet(f"{refusal.message}, although {unit.name} is up") from refusal
    assert user.ok, f"`id -un` ended with exit status {user.exit_status}: {user.err}"
    return f"{target.ssh}: {banner.software}; logged in as {user.out}"
