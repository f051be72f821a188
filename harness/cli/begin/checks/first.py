"""The first checks: a function with @check looks at a target, and returns where all is well.

An assertion that fails is tried again until the check's budget (seconds) is spent: a machine may still be coming up.
"""

from harness import Target, check


@check
def kernel_runs(target: Target) -> str:
    """It answers a command. What is returned is kept in the record."""
    return target.read("uname -sr")


@check
def root_has_space(target: Target) -> str:
    """At least 100 MB are left on the root file system."""
    kilobytes = int(target.read("df -Pk / | awk 'NR == 2 { print $4 }'"))
    assert kilobytes > 100_000
    return f"{kilobytes // 1000} MB are free"


@check(window=3, tags=["sshd"])
def sshd_stays_up(target: Target) -> object:
    """sshd is up, and stays the same process for three seconds."""
    return target.unit_up("ssh.service").identity
