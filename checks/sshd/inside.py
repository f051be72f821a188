"""sshd as the machine itself sees it: its units, its settings, its sockets, its keys, its journal."""

from __future__ import annotations

import shlex
from collections import Counter

from harness import Never, NotYet, Skip, Target, check
from harness.target.target import ERROR
from harness.transport.errors import Unavailable

from ._sshd import ask_sshd, explain_silence, parse_settings, sshd_units, sshd_up

# sshd's own safe answers; a target that means otherwise says so in its host variable `sshd_settings`.
UNSAFE_SETTINGS = {"permitemptypasswords": "yes", "strictmodes": "no", "ignorerhosts": "no"}


@check(tags=["sshd", "inside"], window=3.0)
def unit_settled(target: Target) -> str:
    """The unit is up and stays the same invocation, with no restart and no job queued, for the whole window."""
    up = sshd_up(target)
    unit = up.leading
    return f"{unit.name} {unit.reason}, invocation {unit.invocation or 'none'}, {unit.restarts} restarts"


@check(tags=["sshd", "inside"])
def no_job_queued(target: Target) -> str:
    """systemd has no job waiting or running for sshd."""
    units = sshd_units(target).all
    names = {unit.name for unit in units}
    jobs = target.jobs()
    mine = [job for job in jobs if job.unit in names]
    if mine:
        raise NotYet("; ".join(str(target.why(job.unit)) for job in mine))
    return f"no job for {', '.join(sorted(names))} among {len(jobs)} queued"


@check(tags=["sshd", "inside", "config"])
def config_valid(target: Target) -> str:
    """`sshd -t` finds nothing wrong with the settings and keys."""
    result = ask_sshd(target, "-t")
    if result.exit_status == 127:
        raise Never("the program sshd is not installed")
    said = result.err or result.out
    if not result.ok:
        raise Never(f"`sshd -t` ended with exit status {result.exit_status}: {said or 'no message'}")
    assert not said, f"`sshd -t` accepts the settings, but complains: {said}"
    return "`sshd -t` is clean"


@check(tags=["sshd", "inside", "config"])
def effective_settings(target: Target) -> str:
    """What sshd makes of its settings is safe, listens where we connect, and is as `sshd_settings` wants it."""
    settings = _settings(target)
    for name, unsafe in UNSAFE_SETTINGS.items():
        assert unsafe not in settings.get(name, ()), f"sshd's effective {name} is {unsafe}"
    wanted = target.vars.get("sshd_settings", {})
    if not isinstance(wanted, dict):
        raise Never(f"the variable sshd_settings must be a mapping of settings to values, not {wanted!r}")
    for name, value in wanted.items():
        word = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
        actual = " ".join(settings.get(str(name).lower(), ()))
        assert actual == word, f"sshd's effective {name} is {actual or 'not set'}; sshd_settings wants {word}"
    assert settings.get("hostkey"), "sshd has no host key configured"
    shown = {
        name: " ".join(settings.get(name, ()))
        for name in ("port", "permitrootlogin", "passwordauthentication", "pubkeyauthentication")
    }
    return ", ".join(f"{name} {value}" for name, value in shown.items() if value)


@check(tags=["sshd", "inside", "network"])
def listening_sockets(target: Target) -> str:
    """Each port that sshd is set to listens, and its owner is sshd (or systemd, where the socket is activated)."""
    units = sshd_up(target)
    ports = sorted(_socket_ports(target, units.socket.name) if units.socket else _settings(target).get("port", ()))
    assert ports, "neither sshd's settings nor its socket name a port"
    owner = "systemd" if units.socket else "sshd"
    listing = target.run("ss -H -l -t -n -p")
    if listing.exit_status == 127:
        return _listening_by_proc(target, ports)
    if not listing.ok:
        raise NotYet(f"`ss` ended with exit status {listing.exit_status}: {listing.err}")
    found = []
    for port in ports:
        rows = [row.split() for row in listing.out.splitlines()]
        mine = [row for row in rows if len(row) >= 5 and row[3].rsplit(":", 1)[-1] == port]
        shown = ", ".join(row[3] for row in rows if len(row) > 3) or "no listener"
        assert mine, f"nothing listens on port {port}; `ss` shows: {shown}"
        for row in mine:
            users = " ".join(row[5:])
            assert f'"{owner}"' in users, f"{row[3]} is not owned by {owner}: {users or 'owner not shown'}"
            found.append(row[3])
    return f"{owner} listens on {', '.join(found)}"


@check(tags=["sshd", "inside", "keys"])
def host_keys_safe(target: Target) -> str:
    """Host keys are there, and each of them belongs to root and can be read by nobody else."""
    # Settings that sshd cannot read say nothing of its keys: then those in the usual places are looked at.
    listed = ask_sshd(target, "-T")
    if listed.ok:
        files = parse_settings(listed.out).get("hostkey", ())
    else:
        files = tuple(target.run("ls -d /etc/ssh/ssh_host_*_key").out.split())
    present = []
    for file in files:
        result = target.run(f"stat -L -c '%a %U %s' {shlex.quote(file)}")
        if not result.ok:
            continue
        mode, owner, size = result.out.split()
        assert owner == "root", f"{file} belongs to {owner}, not to root"
        assert int(mode, 8) & 0o077 == 0, f"{file} has mode {mode}: others than its owner can reach it"
        assert int(size) > 0, f"{file} is empty"
        present.append(file.rsplit("/", 1)[-1])
    assert present, f"none of the configured host keys is there: {', '.join(files) or 'none configured'}"
    return f"{', '.join(present)}: owner root, mode 0600 or stricter"


@check(tags=["sshd", "inside", "outside", "keys"])
def host_keys_match(target: Target) -> str:
    """The host keys on the machine are those that the wire offers: we talk to this machine and to no other."""
    try:
        offered = target.ssh.host_keys()
    except Unavailable as refusal:
        explain_silence(target, refusal)
    stored = {}
    for file in _settings(target).get("hostkey", ()):
        result = target.run(f"cat {shlex.quote(file)}.pub 2>/dev/null || ssh-keygen -y -f {shlex.quote(file)}")
        words = result.out.split()
        if result.ok and len(words) >= 2:
            stored[words[0]] = words[1]
    assert stored, "no public host key could be read on the machine"
    for kind, key in offered.items():
        assert kind in stored, (
            f"the wire offers a {kind} host key ({key.fingerprint}) that the machine does not have: {', '.join(stored)}"
        )
        assert stored[kind] == key.base64, (
            f"the {kind} host key on the wire ({key.fingerprint}) is not the one on the machine"
        )
    return f"{', '.join(sorted(offered))}: the same on the machine and on the wire"


@check(tags=["sshd", "inside", "journal"])
def journal_clean(target: Target) -> str:
    """sshd's journal of this boot holds no errors, but those that our own refused logins leave."""
    journals = sshd_units(target).journals
    entries = target.journal(*journals, priority=ERROR)
    errors = [entry for entry in entries if not _ours(entry.message)]
    if errors:
        counted = Counter(entry.message for entry in errors)
        shown = " | ".join(f"{message}{f' ({count} times)' if count > 1 else ''}" for message, count in counted.items())
        raise Never(f"{journals[0]} has {len(errors)} errors in this boot's journal: {shown}")
    return f"no errors in the journal of {journals[0]} since boot"


@check(tags=["sshd", "inside", "ordering"])
def ordering(target: Target) -> str:
    """No unit that sshd is ordered after has a job queued: nothing is left to wait for."""
    units = sshd_units(target)
    unit = units.leading
    queue = {job.unit: job for job in target.jobs()}
    waiting = [queue[name] for name in unit.after if name in queue]
    if waiting:
        raise NotYet(
            f"{unit.name} comes after " + ", ".join(f"{job.unit} ({job.type} job {job.state})" for job in waiting)
        )
    services = [name for name in unit.after if name.endswith(".service")]
    named = ", ".join(sorted(services)) or "none"
    return f"{unit.name} comes after {len(unit.after)} units (services: {named}); none of them has a job"


def _settings(target: Target) -> dict[str, tuple[str, ...]]:
    """sshd's effective settings, as `sshd -T` prints them."""
    result = ask_sshd(target, "-T")
    if not result.ok:
        raise Never(f"`sshd -T` ended with exit status {result.exit_status}: {result.err or 'no message'}")
    return parse_settings(result.out)


def _socket_ports(target: Target, socket: str) -> set[str]:
    listing = target.read(f"systemctl show -p Listen --value -- {shlex.quote(socket)}")
    return {line.split()[0].rsplit(":", 1)[-1] for line in listing.splitlines() if "(Stream)" in line}


def _listening_by_proc(target: Target, ports: list[str]) -> str:
    """Without `ss`: the kernel's own table (proc(5)); state 0A is LISTEN, ports are in hexadecimal. It names no
    owner."""
    table = target.read("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; true")
    open_ports = {
        str(int(row.split()[1].rsplit(":", 1)[-1], 16))
        for row in table.splitlines()
        if len(row.split()) > 3 and row.split()[3] == "0A"
    }
    for port in ports:
        assert port in open_ports, f"nothing listens on port {port} (/proc/net/tcp)"
    raise Skip(f"ports {', '.join(ports)} listen, but without `ss` their owner cannot be told")


def _ours(message: str) -> bool:
    """What sshd logs as an error when a client, such as these checks, breaks a connection off on purpose."""
    expected = (
        "MaxStartups throttling",
        "kex_exchange_identification:",
        "kex_protocol_error:",
        "banner exchange:",
        "maximum authentication attempts",
    )
    return any(word in message for word in expected)
