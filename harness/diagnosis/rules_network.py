"""Causes between a connection and sshd: who listens, the link, the packet filter, the TCP wrappers. Pure."""

from __future__ import annotations

import ipaddress
import re

from harness.diagnosis.evidence import (
    Evidence,
    FilterRule,
    Interface,
    MachineState,
    TcpListener,
    TransportObservation,
    UnitSeen,
)
from harness.diagnosis.rules import (
    BEFORE_GREETING,
    HUNG_UP,
    NO_ANSWER,
    Certainty,
    Found,
    StateRule,
)
from harness.diagnosis.text import gravest, listed, quoted
from harness.transport.errors import Contact

SSH_PROGRAMS = frozenset(("sshd", "systemd", "dropbear", "tinysshd", "sshd-listener", "init", "inetd", "xinetd", "lxd"))
"""Programs that serve SSH, or hold the socket for it."""
_ENDS = BEFORE_GREETING | {Contact.CLOSED_AFTER_TEXT, Contact.NOT_SSH}


def _port(evidence: Evidence) -> int:
    """Return sshd's port on the machine: behind a forwarded port, the one that we connect to where somebody listens on
    it there, else the usual one."""
    if evidence.port is not None:
        return evidence.port
    listening = {each.port for each in evidence.machine.listeners} if evidence.machine is not None else set()
    return evidence.outer_port if evidence.outer_port in listening else 22


def _at_port(evidence: Evidence, machine: MachineState) -> list[TcpListener]:
    return [each for each in machine.listeners if each.port == _port(evidence)]


def _of_sshd(machine: MachineState) -> list[TcpListener]:
    return [each for each in machine.listeners if each.owner in ("sshd", "dropbear", "tinysshd")]


def _shown(listeners: list[TcpListener]) -> str:
    return listed([f"{each}{f' ({each.owner})' if each.owner else ''}" for each in listeners]) or "nobody"


def qemu_state(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """QEMU itself says that the machine does not run."""
    del seen
    said = {
        "paused": "the machine is paused: QEMU has stopped its CPUs",
        "io-error": "the machine is stopped: QEMU cannot write to its disk (io-error); is the host's disk full?",
        "internal-error": "the machine is stopped: QEMU has met an internal error",
        "guest-panicked": "the kernel has panicked",
        "shutdown": "the machine is shut down",
        "suspended": "the machine is suspended",
        "watchdog": "the machine is stopped: its watchdog has fired",
        "inmigrate": "the machine has not started: QEMU waits for a migration",
        "prelaunch": "the machine has not started: QEMU waits before the first instruction",
    }.get(evidence.qmp)
    return Found(said, Certainty.SAID, (f"QMP query-status: {evidence.qmp}",)) if said else None


def other_program(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """Another program listens on sshd's port."""
    machine = evidence.machine
    if machine is None or not machine.knows("listen"):
        return None
    others = [each for each in _at_port(evidence, machine) if each.owner and each.owner not in SSH_PROGRAMS]
    mine = [each for each in _at_port(evidence, machine) if each.owner in SSH_PROGRAMS]
    if not others or mine:
        return None
    text = f"; it sent {quoted(seen.received)}" if seen.received.strip() else ""
    return Found(
        f"on port {_port(evidence)} of the machine {quoted(others[0].owner)} listens, and not sshd",
        Certainty.SAID,
        (f"listening: {_shown(others)}{text}",),
    )


def other_port(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """sshd listens, but not on the port that we connect to."""
    machine = evidence.machine
    if machine is None or not machine.knows("listen") or _at_port(evidence, machine):
        return None
    ssh = _of_sshd(machine)
    configured = machine.settings.get("port", ())
    if not ssh:
        return None
    del seen
    ports = listed([str(port) for port in sorted({each.port for each in ssh})])
    found = [f"listening: {_shown(ssh)}"]
    if configured:
        found.append(f"`sshd -T`: Port {' '.join(configured)}")
    certainty = Certainty.SAID if evidence.port is not None else Certainty.POSSIBLE
    return Found(f"sshd listens on port {ports}, and not on port {_port(evidence)}", certainty, tuple(found))


def loopback_only(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """sshd listens on the port, but only the machine itself can connect to it."""
    machine = evidence.machine
    if machine is None or not machine.knows("listen"):
        return None
    del seen
    there = _at_port(evidence, machine)
    if not there or not all(each.is_loopback for each in there):
        return None
    found = [f"listening: {_shown(there)}"]
    if machine.settings.get("listenaddress"):
        found.append(f"`sshd -T`: ListenAddress {listed(machine.settings['listenaddress'])}")
    return Found(
        f"sshd listens on {there[0].address} only, where nobody but the machine itself can connect (ListenAddress)",
        Certainty.SAID,
        tuple(found),
    )


def other_address(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """sshd listens on one address, and it is none that the machine has, or not the one that we connect to."""
    machine = evidence.machine
    if machine is None or not machine.knows("listen") or not machine.knows("addresses"):
        return None
    del seen
    there = _at_port(evidence, machine)
    if not there or any(each.any_address or each.is_loopback for each in there):
        return None
    own = {address.partition("/")[0] for face in machine.interfaces for address in face.addresses}
    listening = {each.address.strip("[]") for each in there}
    if evidence.host in listening or (listening & own and not _is_address(evidence.host)):
        return None
    if listening & own and evidence.port is not None:
        return None  # behind a forwarded port it is not known which address is asked for
    return Found(
        f"sshd listens on {listed(sorted(listening))} only, and not on the address that we connect to (ListenAddress)",
        Certainty.SHOWN,
        (f"listening: {_shown(there)}", f"addresses: {listed(sorted(own)) or 'none'}"),
    )


def nobody_listens(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """Nothing listens on the port, and sshd nowhere."""
    machine = evidence.machine
    if machine is None or not machine.knows("listen") or _at_port(evidence, machine) or _of_sshd(machine):
        return None
    if not all(each.owner for each in machine.listeners):
        certainty = Certainty.SHOWN if not machine.listeners else Certainty.POSSIBLE
    else:
        certainty = Certainty.SHOWN
    del seen
    units = [f"{each.name} is {each.active} ({each.sub})" for each in machine.units if each.load == "loaded"]
    if machine.sshd_there is False:
        return Found(
            "sshd is not installed: nothing listens on its port",
            Certainty.SAID,
            ("no program sshd in the usual places", *units),
        )
    return Found(
        f"nothing listens on port {_port(evidence)} of the machine, and sshd listens nowhere",
        certainty,
        (f"listening: {_shown(list(machine.listeners))}", *units),
    )


def sshd_unit_down(machine: MachineState) -> UnitSeen | None:
    """Return the unit of sshd's to explain, where none of them is active; None where one is, or none is loaded."""
    loaded = [each for each in machine.units if each.load not in ("", "not-found")]
    if not loaded or any(each.active == "active" for each in loaded):
        return None
    return min(loaded, key=lambda each: _GRAVEST.index(each.active) if each.active in _GRAVEST else len(_GRAVEST))


_GRAVEST = ("failed", "activating", "reloading", "deactivating")
"""States of a unit, the one to explain first."""


def unit_not_up(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """sshd's unit does not run."""
    machine = evidence.machine
    if machine is None or not machine.units:
        return None
    del seen
    worst = sshd_unit_down(machine)
    if worst is None:
        if any(each.load not in ("", "not-found") for each in machine.units):
            return None
        return Found("sshd has no unit on the machine: it is not installed", Certainty.SHOWN, ("LoadState=not-found",))
    words = {
        "masked": f"{worst.name} is masked: it cannot be started",
        "error": f"{worst.name} cannot be loaded",
        "bad-setting": f"{worst.name} cannot be loaded: a setting of the unit is not valid",
    }.get(worst.load)
    state = f"LoadState={worst.load}, ActiveState={worst.active}"
    if evidence.sshd_unit and worst.load == "loaded":
        words = evidence.sshd_unit
        if machine.unit_log and (said := gravest(machine.unit_log)) not in words:
            words += f"; its log has {quoted(said)}"
        return Found(words, Certainty.SHOWN, (state,))
    if words is None and worst.active == "failed":
        words = f"{worst.name} has failed (Result={worst.result or 'unknown'})"
        if machine.unit_log:
            return Found(f"{words}; it said: {quoted(gravest(machine.unit_log))}", Certainty.SHOWN, (state,))
    elif words is None and worst.active in ("activating", "reloading", "deactivating"):
        words = f"{worst.name} is {worst.active} ({worst.sub})"
    elif words is None and machine.system_state in ("initializing", "starting"):
        words = f"the boot is not finished: {worst.name} has not been started yet"
    elif words is None:
        words = f"{worst.name} does not run: it is {worst.active} ({worst.sub})"
    return Found(words, Certainty.SHOWN, (state,))


def stopped_process(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """sshd's process is stopped by a signal, frozen, or waits for a disk."""
    machine = evidence.machine
    if machine is None or not machine.sshd_states:
        return None
    del seen
    if "frozen" in machine.sshd_states:
        return Found(
            "sshd's processes are frozen (`systemctl freeze`, or the freezer of their cgroup): they accept nothing",
            Certainty.SAID,
            ("cgroup.events: frozen 1",),
        )
    if set(machine.sshd_states) <= {"T", "t"}:
        return Found(
            "sshd's process is stopped (SIGSTOP, or a debugger): it accepts nothing",
            Certainty.SAID,
            ("/proc/PID/stat: state T",),
        )
    if set(machine.sshd_states) == {"D"}:
        return Found(
            "sshd's process hangs in the kernel (state D), as when its disk does not answer",
            Certainty.SHOWN,
            ("/proc/PID/stat: state D",),
        )
    return None


def queue_full(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """Connections pile up that sshd does not accept."""
    machine = evidence.machine
    if machine is None:
        return None
    del seen
    for each in _at_port(evidence, machine):
        if each.waiting is not None and each.backlog and each.waiting > each.backlog:
            return Found(
                f"sshd does not accept connections: {each.waiting} wait in the queue of port {each.port}, "
                "which is full",
                Certainty.SAID,
                (f"ss: Recv-Q {each.waiting}, Send-Q {each.backlog}",),
            )
    return None


def _outer(machine: MachineState) -> list[Interface]:
    return [each for each in machine.interfaces if each.name != "lo"]


def link_down(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """No interface has a link."""
    machine = evidence.machine
    if machine is None or not machine.knows("link"):
        return None
    del seen
    faces = [
        each
        for each in _outer(machine)
        if not each.name.startswith(("sit", "tunl", "dummy", "ip6tnl", "gre", "erspan"))
    ]
    if not faces:
        return Found("the machine has no network interface but loopback", Certainty.SHOWN, ("/sys/class/net: lo only",))
    if any(each.up and each.carrier is not False for each in faces):
        return None
    down = [each for each in faces if not each.up]
    dead = [each for each in faces if each.up]
    if dead:
        return Found(
            f"the link of {listed([each.name for each in dead])} is down: it has no carrier",
            Certainty.SAID,
            tuple(f"/sys/class/net/{each.name}: carrier 0, operstate {each.operstate or 'unknown'}" for each in dead),
        )
    return Found(
        f"the network interface {listed([each.name for each in down])} is not set up (it is administratively down)",
        Certainty.SAID,
        tuple(f"/sys/class/net/{each.name}: not UP, operstate {each.operstate or 'unknown'}" for each in down),
    )


def no_address(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """The link is up, and the machine has no address."""
    machine = evidence.machine
    if machine is None or not machine.knows("addresses") or not _outer(machine):
        return None
    del seen
    outer = _outer(machine)
    known = [address for each in outer for address in each.addresses if not address.lower().startswith("fe80:")]
    if known or not any(each.up for each in outer):
        return None
    return Found(
        f"{listed([each.name for each in outer if each.up])} has no IP address: the network is not configured",
        Certainty.SAID,
        tuple(f"{each.name}: {listed(each.addresses) or 'no address'}" for each in outer),
    )


def wrong_address(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """The machine does not have the address that we connect to."""
    machine = evidence.machine
    if machine is None or not machine.knows("addresses") or not _is_address(evidence.host) or evidence.port is not None:
        return None
    del seen
    own = [address.partition("/")[0] for each in machine.interfaces for address in each.addresses]
    outer = [address for each in _outer(machine) for address in each.addresses]
    if evidence.host in own or not outer:
        return None
    if ipaddress.ip_address(evidence.host).is_loopback:
        return None  # a forwarded port
    return Found(
        f"the machine does not have the address {evidence.host} that we connect to",
        Certainty.POSSIBLE,
        (f"addresses: {listed(outer)}",),
        ("the address may be translated on the way",),
    )


_FORWARDED_TO = "10.0.2.15"
"""The address to which QEMU's user network forwards a port (qemu(1), `-netdev user`, hostfwd without an address)."""


def not_forwarded_to(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """The machine does not have the address to which QEMU's user network forwards our connection."""
    machine = evidence.machine
    if machine is None or not machine.knows("addresses") or evidence.port is None or not _is_address(evidence.host):
        return None
    del seen
    if not ipaddress.ip_address(evidence.host).is_loopback:
        return None
    outer = [address for each in _outer(machine) for address in each.addresses if not address.startswith("fe80:")]
    if not outer or _FORWARDED_TO in [each.partition("/")[0] for each in outer]:
        return None
    return Found(
        f"the machine does not have the address {_FORWARDED_TO} to which QEMU forwards connections; it has "
        f"{listed(outer)}",
        Certainty.SHOWN,
        ("`ip addr`",),
    )


def no_route(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """The machine has no route back."""
    machine = evidence.machine
    if machine is None or not machine.knows("routes") or machine.routes:
        return None
    del seen
    return Found("the machine has no route: its answers reach nobody", Certainty.SHOWN, ("`ip route` prints nothing",))


_DISCARDS = re.compile(r"^(blackhole|unreachable|prohibit) (\S+)")
_GATEWAY = re.compile(r"^default via (\S+)")


def discarding_route(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """A route discards what the machine sends. Container networks have such routes for their own addresses, and IPv6
    has one by default, so one that does not hold a gateway's address need not concern us."""
    machine = evidence.machine
    if machine is None:
        return None
    del seen
    gateways = [match[1] for line in machine.routes if (match := _GATEWAY.match(line))]
    for line in machine.routes:
        match = _DISCARDS.match(line)
        if match is None or (match[2] == "default" and "dev lo" in line):
            continue
        concerns = match[2] == "default" or any(_holds(match[2], each) for each in gateways)
        return Found(
            f"the machine has a route that discards what it sends to {match[2]} ({match[1]})",
            Certainty.SHOWN if concerns else Certainty.POSSIBLE,
            (f"`ip route`: {quoted(line)}",),
        )
    return None


def _holds(network: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


def packet_filter(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """A rule of the packet filter drops or rejects new connections to sshd."""
    machine = evidence.machine
    if machine is None or not machine.filter_rules:
        return None
    port = _port(evidence)
    rejecting = seen.contact in HUNG_UP or seen.contact is Contact.NO_ROUTE
    ranked: list[tuple[int, FilterRule]] = []
    for rule in machine.filter_rules:
        if rule.action == "drop" and rejecting:
            continue
        if rule.action == "reject" and seen.contact in NO_ANSWER:
            continue
        if port in rule.spared or (rule.ports and port not in rule.ports) or rule.only:
            continue
        if rule.hook not in ("input", "output", "prerouting", "postrouting", "ingress"):
            continue
        weight = 2 if port in rule.ports else 1
        ranked.append((weight + (1 if rule.packets else 0), rule))
    if not ranked:
        return None
    weight, rule = max(ranked, key=lambda pair: pair[0])
    certainty = Certainty.SAID if weight >= 2 else Certainty.SHOWN
    against: tuple[str, ...] = ()
    if rule.packets == 0:
        certainty, against = Certainty.POSSIBLE, ("its counter is 0: it has met no packet",)
    counted = f" ({rule.packets} packets so far)" if rule.packets else ""
    verb = {"drop": "drops", "reject": "rejects"}.get(rule.action, rule.action)
    return Found(
        f"the machine's packet filter {verb} connections to port {port}{counted}",
        certainty,
        (f"the rule: {quoted(rule.text)}",),
        against,
    )


def traffic_control(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """A filter of traffic control drops packets that come in."""
    machine = evidence.machine
    if machine is None or not machine.traffic_drops:
        return None
    del seen
    name, dropped = max(machine.traffic_drops, key=lambda each: each[1])
    return Found(
        f"the machine's traffic control drops packets that come in on {name} (tc filter)",
        Certainty.SAID if dropped else Certainty.POSSIBLE,
        (f"`tc -s filter show dev {name} ingress`: action drop, {dropped} packets dropped",),
    )


_DAEMONS = re.compile(r"^\s*([^:]+?)\s*:\s*(.+?)\s*(?::.*)?$")


def hosts_deny(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """/etc/hosts.deny matches sshd, and sshd has the TCP wrappers."""
    machine = evidence.machine
    if machine is None or machine.tcp_wrappers is False:
        return None
    del seen

    def about_sshd(line: str) -> bool:
        match = _DAEMONS.match(line)
        return bool(match) and bool({"all", "sshd"} & set(re.split(r"[,\s]+", match[1].lower()))) if match else False

    denied = [line for line in machine.hosts_deny if about_sshd(line)]
    if not denied:
        return None
    allowed = [line for line in machine.hosts_allow if about_sshd(line)]
    against = (f"/etc/hosts.allow may allow it: {quoted(allowed[0])}",) if allowed else ()
    linked = (
        "sshd is linked with libwrap" if machine.tcp_wrappers else "whether sshd is linked with libwrap is not known"
    )
    certainty = Certainty.SHOWN if machine.tcp_wrappers and not allowed else Certainty.POSSIBLE
    return Found(
        f"the TCP wrappers refuse the connection: /etc/hosts.deny has {quoted(denied[0])}",
        certainty,
        (linked,),
        against,
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


NETWORK_RULES: tuple[StateRule, ...] = (
    StateRule("link-down", _ENDS | {Contact.LOST}, link_down),
    StateRule("no-address", _ENDS | {Contact.LOST}, no_address),
    StateRule("other-program", _ENDS, other_program, lasting=True),
    StateRule("other-port", HUNG_UP | NO_ANSWER, other_port, lasting=True),
    StateRule("listen-address", HUNG_UP | NO_ANSWER, loopback_only, lasting=True),
    StateRule("listen-address", HUNG_UP | NO_ANSWER, other_address, lasting=True),
    StateRule(
        "process-stopped",
        NO_ANSWER | {Contact.CLOSED, Contact.LOST, Contact.LOGIN_TIMED_OUT, Contact.KEX},
        stopped_process,
    ),
    StateRule("accept-queue-full", NO_ANSWER, queue_full),
    StateRule("packet-filter", BEFORE_GREETING, packet_filter, lasting=True),
    StateRule("traffic-control", NO_ANSWER, traffic_control, lasting=True),
    StateRule("unit-not-up", BEFORE_GREETING, unit_not_up),
    StateRule("nobody-listens", HUNG_UP, nobody_listens),
    StateRule("hosts-deny", frozenset((Contact.CLOSED, Contact.RESET)), hosts_deny, lasting=True),
    StateRule("discarding-route", NO_ANSWER | {Contact.NO_ROUTE}, discarding_route),
    StateRule("no-route", NO_ANSWER | {Contact.NO_ROUTE}, no_route),
    StateRule("wrong-address", NO_ANSWER | {Contact.NO_ROUTE}, not_forwarded_to),
    StateRule("wrong-address", NO_ANSWER | {Contact.NO_ROUTE}, wrong_address),
)
