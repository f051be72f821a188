"""A service under whatever starts services on a target: systemd, OpenRC, runit, or an init with scripts or an inittab.

One command finds out who does, and asks it; the judging is pure. Standings are those of units
(:class:`~harness.target.standing.Standing`).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from enum import StrEnum

from harness.target.standing import Standing
from harness.target.values import listed
from harness.target.why import Why


class Init(StrEnum):
    """Who starts the services."""

    SYSTEMD = "systemd"
    OPENRC = "openrc"
    RUNIT = "runit"
    INIT = "init"
    """Scripts (`/etc/init.d`, with LSB's exit statuses where they have them), or the lines of `/etc/inittab`."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One look at a service. `instance` changes when it is started anew: an invocation, a process, a count of starts.

    `reason`, which may hold a length of time, is no part of what is compared.
    """

    name: str
    init: Init
    standing: Standing
    reason: str = field(compare=False)
    instance: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


class UnknownService(ValueError):
    """The answer cannot be understood: ask again."""


# It asks with what is there; nothing is started, and a script is asked for its status only where it knows the word.
_COMMAND = r"""
export LC_ALL=C; n=@NAME@; k=$(printf %.15s "$n")
said() { set -f; echo "said $(echo $s)"; set +f; }
t() {
for d in failed starting stopping inactive started; do [ -e "/run/openrc/$d/$1" ] && echo $d && return; done
echo stopped
}
if [ -d /run/systemd/system ]; then echo init systemd
elif [ -d /run/openrc ] && command -v rc-service >/dev/null; then
echo init openrc
[ -e "/etc/init.d/$n" ] || echo missing
echo state "$(t "$n")"
rc-service "$n" status >/dev/null 2>&1; echo exit $?
read -r d < /run/openrc/softlevel && [ -e "/etc/runlevels/$d/$n" ] && echo "runlevel $d"
[ ! -e /run/openrc/rc.starting ] || echo booting
for d in /run/openrc/scheduled/*/"$n"; do [ -e "$d" ] && d=${d%/*} && echo "scheduled ${d##*/}"; done
for d in $(rc-service "$n" ineed 2>/dev/null); do echo "needs $d $(t "$d")"; done
f=/run/openrc/options/$n
for d in start_count child_pid; do [ -e "$f/$d" ] && echo "$d $(cat "$f/$d")"; done
elif command -v sv >/dev/null && { [ -e "/etc/service/$n" ] || [ -e "/service/$n" ] || [ -e "/var/service/$n" ]; }; then
echo init runit; s=$(sv status "$n" 2>&1); echo exit $?; said
else
echo init init
for f in "/etc/init.d/$n" /etc/init.d/S[0-9][0-9]"$n" "/etc/rc.d/rc.$n"; do
[ -x "$f" ] || continue
echo "script $f"; grep -q status "$f" || continue
s=$("$f" status 2>&1 </dev/null); echo exit $?; said
done
for f in "/run/$n.pid" "/var/run/$n.pid" "/run/$n/$n.pid"; do
[ -r "$f" ] && read -r d < "$f" && [ -n "$d" ] || continue
if [ -d "/proc/$d" ]; then echo "pidfile $f $d alive"; else echo "pidfile $f $d gone"; fi; break
done
for d in /proc/[0-9]*/comm; do
{ read -r f < "$d"; } 2>/dev/null && [ "$f" = "$k" ] && d=${d%/*} && echo "pid ${d##*/}"
done
[ ! -r /etc/inittab ] || while IFS=: read -r a b f d; do
case $a in \#*) continue;; esac
set -f; for x in $d; do [ "${x##*/}" = "$n" ] && echo "inittab $f $d" && break; done; set +f
done < /etc/inittab
command -v "$n" >/dev/null && echo program
fi; true
"""


def service_command(name: str) -> str:
    """The script of a look at a service. Systemd's answer is only that it is systemd: its units tell more."""
    return _COMMAND.strip("\n").replace("@NAME@", shlex.quote(name))


def of_unit(name: str, why: Why) -> ServiceState:
    """A systemd unit as a service."""
    reason = why.sentence.removeprefix(f"{why.state.name} ")
    instance = f"{why.state.invocation} {why.state.restarts}"
    return ServiceState(name, Init.SYSTEMD, why.standing, reason, instance)


def judge_service(name: str, text: str) -> ServiceState | None:
    """Reads what the script printed; None where systemd is to be asked. Raises UnknownService for half an answer."""
    facts: dict[str, list[str]] = {}
    for line in text.split("\n"):
        key, _, value = line.partition(" ")
        facts.setdefault(key, []).append(value)
    match facts.get("init", [""])[0]:
        case "systemd":
            return None
        case "openrc":
            return _openrc(name, facts)
        case "runit":
            return _runit(name, facts)
        case "init":
            return _init(name, facts)
    raise UnknownService(f"who starts services could not be told: {text.strip() or 'no output'}")


Facts = dict[str, list[str]]

# rc-service NAME status (openrc-run(8)); the folders of /run/openrc say the same, and which start has failed.
_OPENRC = {
    "started": (Standing.UP, "is started"),
    "starting": (Standing.COMING, "is starting"),
    "stopping": (Standing.COMING, "is stopping"),
    "inactive": (Standing.COMING, "is inactive: it has started and waits for something outside"),
    "failed": (Standing.NEVER, "failed to start"),
    "stopped": (Standing.IDLE, "is stopped"),
}
_CRASHED = "32"


def _openrc(name: str, facts: Facts) -> ServiceState:
    if "missing" in facts:
        return ServiceState(name, Init.OPENRC, Standing.NEVER, "is not installed (/etc/init.d has no such script)")
    state = facts.get("state", [""])[0]
    if state not in _OPENRC:
        raise UnknownService(f"OpenRC's state of {name} could not be told: {state or 'nothing said'}")
    standing, reason = _OPENRC[state]
    if facts.get("exit") == [_CRASHED]:
        standing, reason = Standing.NEVER, "was started and has crashed: its process is gone"
    level = facts.get("runlevel", [""])[0]
    if standing is Standing.IDLE and level and "booting" not in facts:
        # OpenRC starts it with its runlevel, once, and keeps no other sign of a start that failed.
        standing = Standing.NEVER
        reason += f", although its runlevel ({level}) has been reached: it failed to start, or was stopped"
    starts = facts.get("start_count", ["1"])[0]
    if standing is Standing.UP and starts not in ("", "1"):
        reason += f" ({starts} starts)"
    if facts.get("scheduled") and state == "stopped":
        standing, reason = Standing.COMING, f"is scheduled: it starts when {listed(facts['scheduled'])} has started"
    if standing is not Standing.UP:
        lacks = [words.split() for words in facts.get("needs", []) if not words.endswith(" started")]
        if lacks:
            reason += "; it needs " + listed([f"{other}, which is {its}" for other, its in lacks])
    instance = " ".join((state, starts, *facts.get("child_pid", [])))
    return ServiceState(name, Init.OPENRC, standing, reason, instance)


# run: NAME: (pid 123) 45s, normally down, want down (sv(8))
_SV = re.compile(r"(run|down|finish): \S+: (?:\(pid (\d+)\) )?(\d+)s(.*)")


def _runit(name: str, facts: Facts) -> ServiceState:
    said = facts.get("said", [""])[0]
    match = _SV.search(said)
    if match is None:
        if "unable to" in said:
            return ServiceState(name, Init.RUNIT, Standing.COMING, f"is not supervised yet: {said}")
        raise UnknownService(f"`sv status {name}` said: {said or 'nothing'}")
    state, pid, seconds, more = match.groups()
    told = f"`sv status` says: {said.partition(';')[0]}"
    if state == "run":
        if "want down" in more:
            return ServiceState(name, Init.RUNIT, Standing.COMING, f"is stopping ({told})", pid)
        return ServiceState(name, Init.RUNIT, Standing.UP, f"runs (PID {pid}, for {seconds} s)", pid)
    if state == "finish" or "want up" in more:
        return ServiceState(name, Init.RUNIT, Standing.COMING, f"is down and started again and again ({told})")
    return ServiceState(name, Init.RUNIT, Standing.IDLE, f"is down ({told})")


# LSB 5.0, "Init Script Actions": status. A script that has a fault of its own ends with 1 or 2 as well.
_LSB = {
    "0": (Standing.UP, "runs"),
    "1": (Standing.IDLE, "has died, as far as its script can tell"),
    "2": (Standing.IDLE, "has died, as far as its script can tell"),
    "3": (Standing.IDLE, "is not running"),
}
_RESPAWNED = ("respawn", "askfirst", "once")


def _init(name: str, facts: Facts) -> ServiceState:
    """A script's own word first, then the processes, then what init is told to start."""
    pids = facts.get("pid", [])
    said = facts.get("said", [""])[0]
    script = facts.get("script", [""])[0]
    lsb = _LSB.get(facts.get("exit", [""])[0])
    if lsb is not None and not re.search(r"\busage:", said, re.IGNORECASE):
        standing, reason = lsb
        return ServiceState(name, Init.INIT, standing, f"{reason} (`{script} status` said: {said})", " ".join(pids))
    if pids:
        return ServiceState(name, Init.INIT, Standing.UP, f"runs (PID {listed(pids)})", " ".join(pids))
    for words in facts.get("pidfile", []):
        file, pid, fate = words.rsplit(" ", 2)
        if fate == "alive":
            return ServiceState(name, Init.INIT, Standing.UP, f"runs (PID {pid}, of {file})", pid)
        told = f"is dead: its pid file {file} names PID {pid}, which is gone"
        return ServiceState(name, Init.INIT, Standing.NEVER, told)
    for words in facts.get("inittab", []):
        action = words.partition(" ")[0]
        if action in _RESPAWNED:
            told = f"does not run, but init starts it (inittab: {words})"
            return ServiceState(name, Init.INIT, Standing.COMING, told)
    if script or "program" in facts or "inittab" in facts:
        return ServiceState(name, Init.INIT, Standing.IDLE, "does not run: no process has its name")
    return ServiceState(
        name, Init.INIT, Standing.NEVER, "is not installed: there is no script, no program and no process of this name"
    )
