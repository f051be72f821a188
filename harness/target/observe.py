"""What can be seen of any target, whatever its init: sockets that listen, and lines that were logged. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.patterns import LinearPattern
from harness.target.journal import JournalEntry
from harness.tolerant import count

SOCKETS = (
    "head -c 6 /proc/self/exe | tail -c 1 | tr '\\001\\002' 'lb'; "
    'for t in tcp tcp6 udp udp6 unix; do echo; echo "== $t"; cat /proc/net/$t 2>/dev/null; done; true'
)
"""The kernel's own tables (proc(5)), which need no `ss`; and whether the machine is little-endian (`l`) or big (`b`),
as an ELF file's sixth byte has it: the addresses stand there as its own 32-bit words."""
_INET = re.compile(r"^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) ")
_UNIX = re.compile(r"^[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ ([0-9A-F]{8}) [0-9A-F]+ [0-9A-F]+ +\d+ (.+)$")
_LISTENS = {"tcp": "0A", "udp": "07"}
_ACCEPTS = 0x10000

SYSLOG = "logread 2>/dev/null || cat /var/log/messages /var/log/syslog 2>/dev/null | tail -n @LINES@"
"""Where a target without systemd keeps its log: busybox's ring, or the usual files."""
_SYSLOG = re.compile(
    r"^(?:<\d+>)?(?:\w{3} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) "
    r"(?:[^\s:\[\]]+ )?(?:[a-z0-9]+\.[a-z]+ )?(\S+?)(?:\[(\d+)\])?: (.*)$"
)


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A socket that listens (TCP, Unix) or is bound (UDP). A Unix socket's `address` is its path, and its `port` 0."""

    protocol: str
    address: str
    port: int = 0

    def __str__(self) -> str:
        if self.protocol == "unix":
            return self.address
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol}://{host}:{self.port}"


def parse_sockets(text: str) -> tuple[Listener, ...]:
    """Reads what `SOCKETS` prints: who listens, in the order of protocol, address and port."""
    found: set[Listener] = set()
    big_endian = text.startswith("b")
    protocol = ""
    for line in text.split("\n"):
        if line.startswith("== "):
            protocol = line[3:].rstrip("6")
        elif match := _INET.match(line):
            address, port, state = match.groups()
            if state == _LISTENS.get(protocol):
                found.add(Listener(protocol, _address(address, big_endian), int(port, 16)))
        elif (match := _UNIX.match(line)) and int(match[1], 16) & _ACCEPTS:
            found.add(Listener(protocol, match[2]))
    return tuple(sorted(found))


def parse_log(text: str) -> tuple[JournalEntry, ...]:
    """Reads lines of syslog; a line of another form is an entry of nobody's."""
    entries = []
    for line in text.split("\n"):
        match = _SYSLOG.match(line)
        who, pid, message = match.groups() if match else ("unknown", None, line)
        entries.append(JournalEntry(who, message, 6, 0.0, count(pid)))
    return tuple(entries)


def last_match(entries: Iterable[JournalEntry], pattern: str) -> JournalEntry | None:
    """The newest entry whose message holds the pattern, a regular expression."""
    sought = LinearPattern(pattern)
    return next((entry for entry in reversed(tuple(entries)) if sought.search(entry.message)), None)


def _address(words: str, big_endian: bool) -> str:
    data = bytes.fromhex(words)
    if not big_endian:
        data = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
    return str(ipaddress.ip_address(data))
