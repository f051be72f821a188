"""Reads what the script of `script` prints into a :class:`~harness.diagnosis.evidence.MachineState`. Pure.

Nothing in it is believed to be well formed: a line that cannot be read costs that line.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping

from harness import tolerant
from harness.diagnosis.evidence import (
    Account,
    FilesystemSpace,
    FilterRule,
    Interface,
    KeyFile,
    LogLine,
    MachineState,
    TcpListener,
    UnitSeen,
)
from harness.target.journal import parse_journal
from harness.target.observe import parse_log, parse_sockets

_SECTION = re.compile(r"^=== (\w+)\n", re.MULTILINE)
_DAY = 86400
_UP = 0x1
_SS_OWNER = re.compile(r'users:\(\("((?:[^"\\]|\\.)*)"')
_NEW_COMPLAINT = re.compile(
    r"Missing privilege separation directory|no hostkeys available|Permission denied", re.IGNORECASE
)


def parse_answer(text: str, *, over: str, log_since: float = math.inf) -> MachineState:
    """Return what the machine said of itself, over the named transport. Of its log only lines that are at most
    `log_since` seconds old are taken, by its own clock: older ones are about other attempts than ours."""
    pieces = _SECTION.split(text)
    parts: dict[str, str] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        parts[name] = parts.get(name, "") + body
    known = set(parts)
    settings, complaint = _settings(parts)
    account, today, nologin = _account(parts.get("account", ""))
    listeners = _listeners(parts)
    if "sockets" in parts:
        known.add("listen")
    log, log_complaint = _log(parts)
    log = tuple(line for line in log if line.ago is None or line.ago <= log_since)
    if "syslog" in parts:
        known.add("log")
    if log_complaint:
        known.discard("log")
    if parts.keys() & {"iptables", "ip6tables"}:
        known.add("filter")
    uid = _number(parts.get("who", ""))
    if uid not in (None, 0):
        known.discard("filter")  # only root may list the rules
    if "ifconfig" in parts:
        known.add("addresses")
    total, free = _memory(parts.get("memory", ""))
    load, cpus, threads, most = _load(parts.get("load", ""))
    return MachineState(
        over=over,
        sections=frozenset(known),
        uid=uid,
        today=today,
        log=log,
        log_complaint=log_complaint,
        units=_units(parts.get("units", "")),
        unit_log=_lines(parts.get("unit_log", "")),
        system_state=parts.get("system", "").strip(),
        listeners=listeners,
        interfaces=_interfaces(parts),
        routes=tuple(line for line in parts.get("routes", "").split("\n") if line.strip()),
        filter_rules=(
            *parse_nft(parts.get("filter", "")),
            *parse_iptables(parts.get("iptables", "")),
            *parse_iptables(parts.get("ip6tables", "")),
        ),
        traffic_drops=parse_tc(parts.get("traffic", "")),
        hosts_deny=_lines(parts.get("hosts_deny", "")),
        hosts_allow=_lines(parts.get("hosts_allow", "")),
        tcp_wrappers="libwrap" in parts["program"].split() if "there" in parts.get("program", "") else None,
        account=account,
        nologin=nologin,
        keys=_keys(parts.get("keys", "")),
        settings=settings,
        settings_complaint=complaint,
        spaces=_spaces(parts.get("df", ""), parts.get("inodes", "")),
        memory_total_kb=total,
        memory_free_kb=free,
        load=load,
        cpus=cpus,
        threads=threads,
        most_threads=most,
        root_read_only=_read_only(parts.get("root", "")),
        nameservers=tuple(
            words[1] for words in map(str.split, parts.get("resolver", "").split("\n")) if len(words) > 1
        ),
        sshd_states=tuple(parts.get("processes", "").split()),
        sshd_there=None if "program" not in parts else "there" in parts["program"].split(),
    )


def whole_sections(text: str) -> str:
    """Return an answer that was cut off without its last section, which may not be whole; empty where none is whole."""
    starts = [match.start() for match in _SECTION.finditer(text)]
    return text[: starts[-1]] if len(starts) > 1 else ""


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _log(parts: Mapping[str, str]) -> tuple[tuple[LogLine, ...], str]:
    if "log_failed" in parts:
        return (), parts["log_failed"].strip()
    if "log" in parts:
        found: list[LogLine] = []
        now = _number(parts.get("clock", ""))
        for line in parts["log"].split("\n"):
            # journalctl's own remarks (which journals are not readable) stand among the entries.
            with contextlib.suppress(ValueError):
                found += [
                    LogLine(each.message, each.identifier, each.priority, _ago(each.at, now))
                    for each in parse_journal(line)
                ]
        return tuple(found), ""
    entries = parse_log(parts.get("syslog", "").strip("\n")) if parts.get("syslog", "").strip() else ()
    return tuple(LogLine(each.message, each.identifier, each.priority) for each in entries), ""


def _ago(at: float, now: int | None) -> float | None:
    """Return the seconds since a moment; None where either is not known."""
    return max(0.0, now - at) if now is not None and at > 0 else None


def _units(text: str) -> tuple[UnitSeen, ...]:
    found: dict[str, UnitSeen] = {}
    for block in re.split(r"\n\s*\n", text.strip()):
        fields = dict(line.partition("=")[::2] for line in block.split("\n") if "=" in line)
        name = fields.get("Id", "")
        if name:
            found.setdefault(
                name,
                UnitSeen(
                    name,
                    fields.get("LoadState", ""),
                    fields.get("ActiveState", ""),
                    fields.get("SubState", ""),
                    fields.get("Result", ""),
                    _number(fields.get("TasksCurrent", "")),
                    _number(fields.get("TasksMax", "")),
                ),
            )
    return tuple(found.values())


def _listeners(parts: Mapping[str, str]) -> tuple[TcpListener, ...]:
    if "listen" not in parts:
        sockets = parse_sockets(parts.get("sockets", "").lstrip("\n"))
        return tuple(TcpListener(each.address, each.port) for each in sockets if each.protocol == "tcp")
    found: list[TcpListener] = []
    for line in parts["listen"].split("\n"):
        words = line.split()
        if len(words) < 5 or words[0] != "LISTEN":
            continue
        address, _, port = words[3].rpartition(":")
        number = _number(port)
        if number is None:
            continue
        owner = _SS_OWNER.search(line)
        found.append(
            TcpListener(
                address.strip("[]").partition("%")[0],
                number,
                owner[1] if owner else "",
                _number(words[1]),
                _number(words[2]),
            )
        )
    return tuple(found)


def _interfaces(parts: Mapping[str, str]) -> tuple[Interface, ...]:
    addresses: dict[str, list[str]] = {}
    for line in parts.get("addresses", "").split("\n"):
        words = line.split()
        if len(words) > 3 and words[2] in ("inet", "inet6"):
            addresses.setdefault(words[1].partition("@")[0], []).append(words[3])
    name = ""
    for line in parts.get("ifconfig", "").split("\n"):
        if line and not line[0].isspace():
            name = line.split()[0].rstrip(":")
        elif match := re.search(r"inet6? (?:addr:\s*)?([0-9a-fA-F.:]+)", line):
            addresses.setdefault(name, []).append(match[1])
    found = []
    for line in parts.get("link", "").split("\n"):
        fields = line.split("\t")
        if len(fields) != 4:
            continue
        try:
            flags = int(fields[3], 16)
        except ValueError:
            flags = _UP
        carrier = {"0": False, "1": True}.get(fields[1].strip())
        found.append(Interface(fields[0], bool(flags & _UP), carrier, fields[2], tuple(addresses.get(fields[0], ()))))
    return tuple(found)


# -- the packet filter


def parse_tc(text: str) -> tuple[tuple[str, int], ...]:
    """Return the interfaces on which filters of traffic control drop packets that come in, each with the number of
    packets that were dropped so far. `text` are sections of `tc -s filter show dev NAME ingress` (tc(8)), each with a
    line `dev NAME` before it."""
    found: dict[str, int] = {}
    name = ""
    drops = False
    for line in text.split("\n"):
        if match := re.match(r"dev (\S+)$", line):
            name, drops = match[1], False
        elif line.startswith("filter "):
            drops = bool(re.search(r"\baction drop\b|\bdrop *$", line))
        elif re.search(r"action (?:drop|shot)\b|action order \d+: gact action drop", line):
            drops = True
        if name and drops:
            count = re.search(r"\(dropped (\d+)", line)
            found[name] = found.get(name, 0) + (int(count[1][:15]) if count else 0)
    return tuple(found.items())


_CHAIN = re.compile(r"^\s*chain (\S+) \{")
_HOOK = re.compile(r"type (\S+) hook (\w+) .*?(?:policy (\w+))?;?\s*$")
_VERDICT = re.compile(r"(?:^|\s)(drop|reject)(?:\s|;|$)")
_COUNTER = re.compile(r"counter packets (\d+)")
_DPORT = re.compile(r"(?:tcp |th )?dport (?!!=)(\{[^}]*\}|\S+)")
_STATE = re.compile(r"ct state (?!.*\bnew\b)\S+")
_SOURCE = re.compile(r"\b(saddr|daddr|iif(?:name)?|oif(?:name)?|sport|@\w+)\b")
_CONDITIONS = re.compile(
    r"\b(saddr|daddr|iif(?:name)?|oif(?:name)?|udp|icmp|icmpv6|sport|limit|ct state|meta l4proto|protocol|@\w+)\b"
)


def parse_nft(text: str) -> tuple[FilterRule, ...]:
    """Return the rules and policies of `nft list ruleset` that drop or reject, of the chains that packets pass."""
    rules: dict[str, list[str]] = {}
    hooks: dict[str, str] = {}
    policies: dict[str, str] = {}
    chain = table = ""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith("table "):
            table = stripped.rstrip(" {")
        elif match := _CHAIN.match(line):
            chain = f"{table} {match[1]}"
            rules[chain] = []
        elif chain and stripped.startswith("type ") and (match := _HOOK.search(stripped)):
            if match[1] != "nat":
                hooks[chain], policies[chain] = match[2], match[3] or "accept"
        elif stripped == "}":
            chain = ""
        elif chain and stripped:
            rules[chain].append(stripped)
    found: list[FilterRule] = []
    for name, body in rules.items():
        hook = hooks.get(name) or _nft_hook_of(name, rules, hooks)
        if not hook:
            continue
        walked = _Chain(hook)
        for rule in body:
            if re.search(r"(?:^|\s)accept(?:\s|;|$)", rule):
                conditions = bool(_CONDITIONS.search(rule)) or bool(_STATE.search(rule))
                walked.accept(_ports(rule), conditions, bool(_SOURCE.search(rule)))
            elif (verdict := _VERDICT.search(rule)) and not _STATE.search(rule) and not re.search(r"\budp\b", rule):
                counter = _COUNTER.search(rule)
                packets = int(counter[1]) if counter else None
                walked.refuse(rule, verdict[1], packets, _ports(rule), bool(_CONDITIONS.search(_COUNTER.sub("", rule))))
        if policies.get(name) == "drop":
            walked.refuse(f"chain {name.split()[-1]}: policy drop", "drop", None, (), False)
        found += walked.found
    return tuple(found)


def _nft_hook_of(name: str, rules: Mapping[str, list[str]], hooks: Mapping[str, str]) -> str:
    """Return the hook of a base chain that jumps to this one; empty where none does."""
    jump = re.compile(rf"(?:jump|goto) {re.escape(name.split()[-1])}(?:\s|$)")
    return next((hook for chain, hook in hooks.items() if any(jump.search(rule) for rule in rules.get(chain, ()))), "")


class _Chain:
    """A chain as it is walked through: what it has accepted before, and what it refuses."""

    def __init__(self, hook: str) -> None:
        self.found: list[FilterRule] = []
        self._hook = hook
        self._spared: set[int] = set()
        self._accepts_all = False

    def accept(self, ports: tuple[int, ...], conditions: bool, source: bool) -> None:
        """Take a rule that accepts."""
        if ports and not source:
            self._spared |= set(ports)
        elif not ports and not conditions:
            self._accepts_all = True

    def refuse(self, text: str, action: str, packets: int | None, ports: tuple[int, ...], conditions: bool) -> None:
        """Take a rule that drops or rejects."""
        if not self._accepts_all:
            only = conditions and not ports
            spared = tuple(sorted(self._spared))
            self.found.append(FilterRule(text, action, self._hook, packets, ports, only, spared))


def _ports(rule: str) -> tuple[int, ...]:
    match = _DPORT.search(rule)
    if match is None:
        return ()
    found: list[int] = []
    for word in re.split(r"[\s,{}]+", match[1]):
        low, _, high = word.partition("-")
        word = {"ssh": "22"}.get(word, word)
        if word.isdigit():
            found.append(int(word))
        elif low.isdigit() and high.isdigit() and int(high) - int(low) < 65536:
            found += range(int(low), int(high) + 1)
    return tuple(found)


def _nft_rule(rule: str, hook: str) -> FilterRule | None:
    verdict = _VERDICT.search(rule)
    if verdict is None or _STATE.search(rule) or re.search(r"\budp\b", rule):
        return None
    counter = _COUNTER.search(rule)
    ports = _ports(rule)
    rest = _COUNTER.sub("", rule)
    only = bool(_CONDITIONS.search(rest)) and not ports
    return FilterRule(rule, verdict[1], hook, int(counter[1]) if counter else None, ports, only)


def parse_iptables(text: str) -> tuple[FilterRule, ...]:
    """Return the rules, and policies, of `iptables-save -c` that drop or reject."""
    policies: dict[str, tuple[str, int]] = {}
    table = ""
    jumps: dict[str, str] = {}
    rules: list[tuple[int, str, str]] = []
    for line in text.split("\n"):
        if line.startswith("*"):
            table = line[1:].strip()
        elif match := re.match(r":(\S+) (ACCEPT|DROP) \[(\d+):", line):
            if table in ("filter", "raw", "mangle"):
                policies[match[1]] = (match[2], int(match[3]))
        elif match := re.match(r"\[(\d+):\d+\] -A (\S+) (.*)$", line):
            rules.append((int(match[1]), match[2], match[3]))
            if target := re.search(r"-[jg] (\S+)", match[3]):
                jumps.setdefault(target[1], match[2])
    chains: dict[str, _Chain] = {}
    for packets, chain, rule in rules:
        target = re.search(r"-j (\S+)", rule)
        hook = _hook_of(chain, jumps)
        if target is None or not hook or re.search(r"--(?:ct)?state (?!\S*NEW)\S+", rule):
            continue
        walked = chains.setdefault(chain, _Chain(hook))
        source = bool(re.search(r"(?:^|\s)(?:! )?-[sdio] \S|--sport|-m (?:set|recent)", rule))
        conditions = source or bool(re.search(r"-p (?:udp|icmp)|-m limit", rule))
        if target[1] in ("DROP", "REJECT"):
            walked.refuse(f"-A {chain} {rule}", target[1].lower(), packets, _iptables_ports(rule), conditions)
        elif target[1] == "ACCEPT":
            walked.accept(_iptables_ports(rule), conditions, source)
    for chain, (policy, packets) in policies.items():
        if policy == "DROP" and chain in ("INPUT", "OUTPUT", "PREROUTING"):
            walked = chains.setdefault(chain, _Chain(chain.lower()))
            walked.refuse(f"{chain}: policy DROP", "drop", packets, (), False)
    return tuple(each for walked in chains.values() for each in walked.found)


def _hook_of(chain: str, jumps: Mapping[str, str]) -> str:
    """Return the built-in chain that leads to this one, in lower case; empty where none does."""
    for _ in range(10):
        if chain in ("INPUT", "OUTPUT", "PREROUTING", "POSTROUTING"):
            return chain.lower()
        if chain not in jumps:
            return ""
        chain = jumps[chain]
    return ""


def _iptables_ports(rule: str) -> tuple[int, ...]:
    match = re.search(r"--dports? (\S+)", rule)
    if match is None or re.search(r"! --dport", rule):
        return ()
    found: list[int] = []
    for word in match[1].split(","):
        low, _, high = word.partition(":")
        if word.isdigit():
            found.append(int(word))
        elif low.isdigit() and high.isdigit() and int(high) - int(low) < 65536:
            found += range(int(low), int(high) + 1)
    return tuple(found)


# -- the account, the settings, the keys


def _account(text: str) -> tuple[Account | None, int | None, tuple[tuple[str, str], ...]]:
    fields: dict[str, list[str]] = {}
    nologin: list[tuple[str, str]] = []
    missing = False
    for line in text.split("\n"):
        name, *rest = line.split("\t")
        if name == "nologin" and len(rest) >= 1:
            nologin.append((rest[0], rest[1] if len(rest) > 1 else ""))
        elif name == "shell_missing":
            missing = True
        elif name:
            fields.setdefault(name, rest)
    now = _number(fields.get("now", [""])[0]) if "now" in fields else None
    today = None if now is None else now // _DAY
    if "passwd" not in fields:
        absent = Account("", exists=False) if "none" in fields else None
        return absent, today, tuple(nologin)
    passwd = [*fields["passwd"], "", "", ""]
    shadow = [*fields.get("shadow", []), *[""] * 5]
    account = Account(
        name="",
        uid=_number(passwd[0]),
        home=passwd[1],
        shell=passwd[2],
        shell_runs=not missing,
        password=shadow[0] if shadow[0] in ("set", "locked", "empty") else "",
        changed=_number(shadow[1]),
        longest=_number(shadow[2]),
        grace=_number(shadow[3]),
        expires=_number(shadow[4]),
        groups=tuple(fields.get("groups", [""])[0].split()),
    )
    return account, today, tuple(nologin)


def _settings(parts: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], str]:
    complaint = parts.get("settings_failed", "").strip()
    if _NEW_COMPLAINT.search(complaint):
        complaint = ""  # that says nothing of the settings
    found: dict[str, tuple[str, ...]] = {}
    for line in parts.get("settings", "").split("\n"):
        name, _, value = line.strip().partition(" ")
        if name:
            found[name.lower()] = (*found.get(name.lower(), ()), value)
    return found, complaint


def _keys(text: str) -> tuple[KeyFile, ...]:
    paths: dict[str, KeyFile] = {}
    for line in text.split("\n"):
        name, *rest = line.split("\t")
        if name == "path" and len(rest) > 1:
            words = rest[1].split()
            uid = _number(words[2]) if len(words) > 3 else None
            paths[rest[0]] = KeyFile(rest[0], mode=words[0] if words else "", uid=uid)
        elif name == "file" and len(rest) > 2:
            known = paths.get(rest[0], KeyFile(rest[0]))
            ours = {"0": False, "1": True}.get(rest[2].strip())
            paths[rest[0]] = KeyFile(
                known.path, mode=known.mode, uid=known.uid, is_file=True, keys=_number(rest[1]), has_ours=ours
            )
        elif name == "missing" and rest:
            paths[rest[0]] = KeyFile(rest[0], exists=False, is_file=True)
    return tuple(paths.values())


# -- what is left


def _spaces(df: str, inodes: str) -> tuple[FilesystemSpace, ...]:
    free = {row[5]: row for row in _df_rows(df)}
    nodes = {row[5]: row for row in _df_rows(inodes)}
    return tuple(
        FilesystemSpace(mount, _number(row[3]), _free_inodes(nodes.get(mount)), row[0]) for mount, row in free.items()
    )


def _free_inodes(row: list[str] | None) -> int | None:
    """Return the free inodes; None where the filesystem has no fixed number of them."""
    return None if row is None or row[1] in ("0", "-") else _number(row[3])


def _df_rows(text: str) -> list[list[str]]:
    rows = [line.split(None, 5) for line in text.split("\n")]
    return [row for row in rows if len(row) == 6 and row[1][:1] in "0123456789-" and row[4].rstrip("%") != "Capacity"]


def _memory(text: str) -> tuple[int | None, int | None]:
    found: dict[str, int] = {}
    for line in text.split("\n"):
        words = line.split()
        if len(words) > 1 and (number := _number(words[1])) is not None:
            found[words[0].rstrip(":")] = number
    free = found.get("MemAvailable", found.get("MemFree"))
    return found.get("MemTotal"), None if free is None else free + found.get("SwapFree", 0)


def _load(text: str) -> tuple[float | None, int | None, int | None, int | None]:
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return None, None, None, None
    words = lines[0].split()
    load = tolerant.real(words[0], -1.0) if words else -1.0
    threads = _number(words[3].partition("/")[2]) if len(words) > 3 else None
    most = _number(lines[1]) if len(lines) > 1 else None
    cpus = _number(lines[2]) if len(lines) > 2 else None
    return None if load < 0 else load, cpus or None, threads, most


def _read_only(text: str) -> bool | None:
    words = text.split()
    return None if len(words) < 4 else "ro" in words[3].split(",")
