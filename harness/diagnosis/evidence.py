"""What is known of a machine when a diagnosis is made: values only, each with where it comes from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.transport.errors import Contact


class Origin(StrEnum):
    """Who caused what was observed."""

    HARNESS = "harness"
    """An action of the harness itself: its own connection, its own login."""
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class TransportObservation:
    """What came of one use of a transport.

    `message` is the transport's own account, `received` what the peer sent (text, as it came), `ago` the seconds that
    had passed since then when the machine was asked, `duration` the seconds that it took.
    """

    transport: str
    contact: Contact
    address: str = ""
    user: str = ""
    message: str = ""
    received: str = ""
    hint: str = ""
    ago: float = 0.0
    duration: float | None = None
    origin: Origin = Origin.HARNESS

    @property
    def answered(self) -> bool:
        """Whether the transport can be used."""
        return self.contact is Contact.ANSWERED


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the machine's own log. `priority` is syslog's, `ago` the seconds since it was written by the machine's
    own clock (None: not known)."""

    message: str
    identifier: str = ""
    priority: int = 6
    ago: float | None = None
    origin: Origin = Origin.MACHINE


@dataclass(frozen=True, slots=True)
class TcpListener:
    """A TCP socket that listens. `owner` is the program's name, empty where it is not known; `waiting` connections have
    not been accepted by it yet, of at most `backlog` (None: not known)."""

    address: str
    port: int
    owner: str = ""
    waiting: int | None = None
    backlog: int | None = None

    @property
    def any_address(self) -> bool:
        """Whether it listens on every address."""
        return self.address in ("0.0.0.0", "::", "*", "[::]")  # noqa: S104 - what a machine listens on

    @property
    def is_loopback(self) -> bool:
        """Whether only the machine itself can connect to it."""
        return self.address.startswith("127.") or self.address in ("::1", "[::1]")

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address and not self.address.startswith("[") else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface. `carrier` is None where the kernel does not tell (an interface that is down)."""

    name: str
    up: bool = True
    carrier: bool | None = None
    operstate: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FilterRule:
    """A rule, or a policy, of the packet filter that drops or rejects. `packets` counts what it met, None where it does
    not count. `ports` are the TCP ports that it names, empty where it names none. `only` says that it names none and
    has other conditions, so that it need not concern a new connection to sshd. `spared` are the ports that its chain
    accepts before it."""

    text: str
    action: str
    hook: str = ""
    packets: int | None = None
    ports: tuple[int, ...] = ()
    only: bool = False
    spared: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """The account that logs in. Days are counted from 1970-01-01 (shadow(5)); None where a field is empty.

    `password` is `set`, `locked`, `empty`, or nothing where /etc/shadow could not be read.
    """

    name: str
    exists: bool = True
    uid: int | None = None
    home: str = ""
    shell: str = ""
    shell_runs: bool = True
    password: str = ""
    changed: int | None = None
    longest: int | None = None
    grace: int | None = None
    expires: int | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A path on the way to the authorized keys, or the file itself. `mode` is as `ls -l` prints it."""

    path: str
    exists: bool = True
    mode: str = ""
    uid: int | None = None
    is_file: bool = False
    keys: int | None = None
    has_ours: bool | None = None


@dataclass(frozen=True, slots=True)
class FilesystemSpace:
    """Free space: kilobytes and inodes, None where they are not counted."""

    mount: str
    free_kb: int | None = None
    free_inodes: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class UnitSeen:
    """A unit's state in systemd's own words; `tasks` of `most_tasks` it has (None: not counted, no limit)."""

    name: str
    load: str = ""
    active: str = ""
    sub: str = ""
    result: str = ""
    tasks: int | None = None
    most_tasks: int | None = None


@dataclass(frozen=True, slots=True)
class MachineState:
    """What the machine said of itself, over the transport that is left. `sections` are those that it answered: what is
    not among them is not known, which is another thing than empty. `by` is the user that asked."""

    over: str
    sections: frozenset[str] = frozenset()
    uid: int | None = None
    today: int | None = None
    log: tuple[LogLine, ...] = ()
    log_complaint: str = ""
    units: tuple[UnitSeen, ...] = ()
    unit_log: tuple[str, ...] = ()
    """What the last start of a unit of sshd's that has failed wrote to the journal, the newest line last."""
    system_state: str = ""
    listeners: tuple[TcpListener, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[str, ...] = ()
    filter_rules: tuple[FilterRule, ...] = ()
    traffic_drops: tuple[tuple[str, int], ...] = ()
    """Interfaces on which traffic control (tc(8)) drops packets that come in, and how many it has dropped."""
    hosts_deny: tuple[str, ...] = ()
    hosts_allow: tuple[str, ...] = ()
    tcp_wrappers: bool | None = None
    account: Account | None = None
    nologin: tuple[tuple[str, str], ...] = ()
    keys: tuple[KeyFile, ...] = ()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings_complaint: str = ""
    spaces: tuple[FilesystemSpace, ...] = ()
    memory_total_kb: int | None = None
    memory_free_kb: int | None = None
    load: float | None = None
    cpus: int | None = None
    threads: int | None = None
    most_threads: int | None = None
    root_read_only: bool | None = None
    nameservers: tuple[str, ...] = ()
    sshd_states: tuple[str, ...] = ()
    """The states of sshd's processes, as in /proc/PID/stat (proc(5)); `frozen` where their cgroup is frozen."""
    sshd_there: bool | None = None

    def knows(self, section: str) -> bool:
        """Whether the machine answered this part of the question."""
        return section in self.sections


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a diagnosis is made from. `port` is the port on the machine's own side, None where it is not known (a
    forwarded port); `outer_port` is the one that we connect to. `console` are the console's last lines, the newest
    last. `qmp` is QEMU's run state (`query-status`). `sshd_unit` is why sshd's unit is not up, in a sentence (a job
    that waits, down to its root; or its result and last words), empty where that is not known; `sshd_unit_waits`:
    waiting may end it. `not_asked` are questions that nobody could put, and why."""

    target: str
    observations: tuple[TransportObservation, ...] = ()
    machine: MachineState | None = None
    port: int | None = None
    outer_port: int = 22
    host: str = ""
    console: tuple[str, ...] = ()
    qmp: str = ""
    sshd_unit: str = ""
    sshd_unit_waits: bool = False
    not_asked: tuple[tuple[str, str], ...] = ()

    def of(self, transport: str) -> TransportObservation | None:
        """The last observation of a transport."""
        return next((each for each in reversed(self.observations) if each.transport == transport), None)
