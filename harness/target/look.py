"""One look at systemd's manager: units, job queue, processes, journal and clock, by one command in one round trip.

The command is a script for any POSIX sh; what it prints is read back into a :class:`Look`. Sections begin with `== `.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness import tolerant
from harness.target.jobs import Job, parse_jobs
from harness.target.processes import Process, parse_processes, without_sessions
from harness.target.units import PROPERTIES, IncompleteAnswer, UnitState, parse_block, parse_show

WAITING_SHOWN = 12
"""So many waiting units are shown beside the running ones: showing one takes 15 ms on an emulated machine."""
PROCESSES_SHOWN = 60
LONGEST_COMMAND = 2000
ENTRIES = 40
RESTARTS = 20
RESTARTS_KEPT = 100
ERRORS = 12
STARTED = "39f53479d3a045ac8e11786248231fbf"
RESTART_SCHEDULED = "5eb03494b6584870a536b337290809b3"
"""Message ids of `sd-messages(3)`: a start that is done, and an automatic restart."""

SSHD_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")
"""OpenSSH's units, under Debian's and everybody else's name: a look at the system shows them in any case."""

_SYSTEM = ("SystemState", "NFailedUnits", "NJobs", "FinishTimestampMonotonic")
_FIELDS = (
    *("MESSAGE", "MESSAGE_ID", "UNIT", "USER_UNIT", "JOB_ID", "JOB_TYPE", "JOB_RESULT", "UNIT_RESULT"),
    *("INVOCATION_ID", "_SYSTEMD_INVOCATION_ID", "SYSLOG_IDENTIFIER", "PRIORITY", "_PID", "_COMM"),
)
_SECTION = re.compile(r"^== (\w+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the journal about or of a unit; `at_us` on the target's monotonic clock. `job_result` and `job_type`
    stand in what the manager says when a job ends; `priority` is syslog's, 6 where it is not known. `invocation` is the
    start of the unit that it belongs to, empty where that is not known."""

    message: str
    at_us: int
    by_manager: bool
    units: tuple[str, ...] = ()
    message_id: str = ""
    job: int = 0
    job_type: str = ""
    job_result: str = ""
    unit_result: str = ""
    invocation: str = ""
    priority: int = 6


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw. `asked` are the units that it was about, in their order; `states` holds them and those that
    stand near, by every name. `now_us` is the target's monotonic clock (0: not told), `up` its seconds since the boot.
    """

    asked: tuple[UnitState, ...] = ()
    states: Mapping[str, UnitState] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    processes: tuple[Process, ...] = ()
    entries: tuple[Entry, ...] = ()
    begun: tuple[Entry, ...] = ()
    now_us: int = 0
    up: float = 0.0
    of_user: bool = False
    system: Mapping[str, str] = field(default_factory=dict)

    def job_of(self, unit: str) -> Job | None:
        return next((job for job in self.jobs if job.unit == unit), None)

    def since(self, at_us: int) -> float | None:
        """Seconds from a moment of the target's clock until the look; None where either is not told."""
        return (self.now_us - at_us) / 1e6 if self.now_us and at_us else None


# -- the command ------------------------------------------------------------------------------------------------

# Words are split at blanks only where that is meant, and never expanded as patterns. In the C locale systemd prints
# plain ASCII, which costs less on a serial line.
_HEAD = r"""
export LC_ALL=C; set -f; v=; n='
'; b=$IFS; p=@PROPERTIES@
o() { printf '== %s\n' "$1"; [ $# -lt 2 ] || printf '%s\n' "$2"; }
h() { journalctl -b -q --no-pager -o json "$@"; }
j() { h --output-fields=@FIELDS@ "$@" 2>/dev/null || h "$@"; }
"""
# Before all else: a state that is seen later may have held longer than it is said to have, and never shorter.
_CLOCK = r"""
o clock
{ while read -r x u t i; do case $x.$u in now.at) echo "$t"; break;; esac; done < /proc/timer_list; } 2>/dev/null
read -r x u < /proc/uptime; echo "up $x"
"""
_SYSTEM_MANAGER = r"""
s() { systemctl --no-pager "$@"; }; m=_PID=1
"""
# Root may not talk to another user's manager, so it becomes that user; `--machine` needs a login session, and a
# transient unit for every question.
_USER_MANAGER = r"""
export LC_ALL=C; y=@USER@; e=$(id -u "$y") || exit; export XDG_RUNTIME_DIR=/run/user/$e
if [ "$(id -u)" = "$e" ]; then s() { systemctl --user --no-pager "$@"; }
elif command -v runuser >/dev/null; then s() { runuser -u "$y" -- systemctl --user --no-pager "$@"; }
else s() { systemctl --user "--machine=$y@.host" --no-pager "$@"; }; fi; m=_UID=$e
"""
# The three words before each one tell whose state it is: ID UNIT TYPE STATE.
_QUEUE = r"""
q=$(s list-jobs --full --no-legend --before 2>/dev/null) || q=$(s list-jobs --full --no-legend) || exit
r=; w=; c=0; i=; u=; t=
for x in $q; do
case $x.$u in
running.*.device) r="$r $u"; v="$v JOB_ID=$i";;
running.*.*) r="$r $u";;
waiting.*.*) [ $c -lt @WAITING@ ] && w="$w $u"; c=$((c+1));;
esac
i=$u; u=$t; t=$x
done
"""
_SHOW_UNIT = r"""
a=$(s show -p "$p" -- @UNIT@ $r) || exit
o asked "${a%%"$n$n"*}"
z=; [ -z "$r" ] || z=${a#*"$n$n"}
"""
_SHOW_SYSTEM = r"""
a=$(s show -p @SYSTEM@) || exit
o system "$a"
f=$(s list-units --all --full --plain --no-legend --state=failed,activating,deactivating,reloading,maintenance) || exit
d=@ALWAYS@; IFS=$n; for x in $f; do d="$d ${x%% *}"; done; IFS=$b
a=; [ -z "$d$r" ] || a=$(s show -p "$p" -- $d $r) || exit
z=$a; d=
"""
_NEAR = r"""
d=; k=; i=; e=; IFS=$n
for x in ${a%%"$n$n"*}; do
case $x in Requires=*|Requisite=*|BindsTo=*|TriggeredBy=*) d="$d ${x#*=}";; Id=*) k=${x#*=};;
InvocationID=*) i=${x#*=};; ActiveState=failed) e=1;; esac
done
[ -z "$e" ] || e=$i
IFS=$b
case $d in *\"*) d=$(printf %s "$d" | sed 's/"//g; s/\\\\/\\/g');; esac
"""
_STATES = r"""
o states "$z"
set -- $d $w; [ $# = 0 ] || { echo; s show -p "$p" -- "$@"; }
o jobs "$q"
o self "$$"
o processes
c=0; l=; IFS=$n
for x in $z; do
case $x in ControlGroup=/?*) x=${x#*=};; *) continue;; esac
for t in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
[ -e "$t$x/cgroup.procs" ] || continue
for i in $(find "$t$x" -name cgroup.procs -exec cat {} +); do
c=$((c+1)); [ $c -le @PROCESSES@ ] || break
{ read -r u < /proc/$i/stat; } 2>/dev/null || continue
h=; { read -r h < /proc/$i/wchan; } 2>/dev/null
printf '%s\t%s\n' "$u" "$h"; l="$l /proc/$i/cmdline"
done; break
done; done
IFS=$b
[ -z "$l" ] || { o commands; head -c @LONGEST@ /dev/null $l 2>/dev/null | tr '\000' '\t'; echo; }
"""
_JOURNAL = r"""
o entries; j -n @ENTRIES@ @MATCH@
"""
# A failed unit may have said much since its first error: the errors of its last start are asked for apart.
_ERRORS = r"""
o errors; [ -z "$e" ] || j -p 3 -n @ERRORS@ "_SYSTEMD_INVOCATION_ID=$e"
"""
_BEGUN = r"""
o begun; [ -z "$v" ] || j -n @ENTRIES@ $v "$m"
"""


def unit_command(unit: str, user: str | None = None) -> str:
    """The script of a look at one unit and what it may wait for."""
    kind = "UNIT" if user is None else "USER_UNIT"
    match = f'{kind}="$k" "$m" + _SYSTEMD_{kind}="$k"'
    # journald knows the starts of the system's units only.
    errors = () if user is not None else (_ERRORS,)
    parts = (_HEAD, _CLOCK, _manager(user), _QUEUE, _SHOW_UNIT, _NEAR, _STATES, _JOURNAL, *errors, _BEGUN)
    return _filled(parts, UNIT=shlex.quote(unit), MATCH=match, USER=shlex.quote(user or ""))


def system_command(user: str | None = None) -> str:
    """The script of a look at the manager as a whole: its state, its queue, what failed or is on its way, restarts."""
    match = f'MESSAGE_ID={RESTART_SCHEDULED} MESSAGE_ID={STARTED} "$m"'
    always = "" if user is not None else shlex.quote(" ".join(SSHD_UNITS))
    parts = (_HEAD, _CLOCK, _manager(user), _QUEUE, _SHOW_SYSTEM, _STATES, _JOURNAL, _BEGUN)
    return _filled(parts, MATCH=match, USER=shlex.quote(user or ""), ENTRIES=str(RESTARTS), ALWAYS=always)


def restarts_command(user: str | None = None) -> str:
    """The script that asks for the automatic restarts of this boot, and the clock."""
    match = f'MESSAGE_ID={RESTART_SCHEDULED} "$m"'
    return _filled(
        (_HEAD, _CLOCK, _manager(user), _JOURNAL), MATCH=match, USER=shlex.quote(user or ""), ENTRIES=str(RESTARTS_KEPT)
    )


def show_command(units: Sequence[str], user: str | None = None) -> str:
    """A look at some units' properties, and nothing else."""
    return _short("show", "-p", ",".join(PROPERTIES), "--", *units, user=user)


def jobs_command(user: str | None = None) -> str:
    """A look at the job queue, and nothing else."""
    return _short("list-jobs", "--no-legend", "--full", "--before", user=user)


def journal_command(units: Sequence[str], priority: int, lines: int, user: str | None = None) -> str:
    """The last entries of some units' journals, one JSON object a line."""
    words = ["journalctl", "-b", "-q", "-p", str(priority), "-n", str(lines), "-o", "json", "--no-pager"]
    if user is None:
        return shlex.join([*words, *(word for unit in units for word in ("-u", unit))])
    matches = [f'{shlex.quote(field + unit)} "$m"' for unit in units for field in ("USER_UNIT=", "_SYSTEMD_USER_UNIT=")]
    return f"{_as_user(user)}\n{shlex.join(words)} {' + '.join(matches)}"


def _short(*words: str, user: str | None) -> str:
    """One call of systemctl. The system's is plain words, which need no shell on the target."""
    if user is None:
        return shlex.join(["systemctl", "--no-pager", *words])
    return f"{_as_user(user)}\ns {shlex.join(words)}"


def _as_user(user: str) -> str:
    return _filled((_USER_MANAGER,), USER=shlex.quote(user))


def _manager(user: str | None) -> str:
    return _SYSTEM_MANAGER if user is None else _USER_MANAGER


def _filled(parts: tuple[str, ...], **values: str) -> str:
    text = "\n".join(part.strip("\n") for part in parts)
    values = {
        # What a unit comes after is long, and the queue tells what of it counts.
        "PROPERTIES": ",".join(name for name in PROPERTIES if name != "After"),
        "FIELDS": ",".join(_FIELDS),
        "SYSTEM": ",".join(_SYSTEM),
        "WAITING": str(WAITING_SHOWN),
        "PROCESSES": str(PROCESSES_SHOWN),
        "LONGEST": str(LONGEST_COMMAND),
        "ENTRIES": str(ENTRIES),
        "ERRORS": str(ERRORS),
        **values,
    }
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], text)


# -- its answer -------------------------------------------------------------------------------------------------


def parse_look(text: str, *, of_user: bool = False) -> Look:
    """Reads what one of the scripts printed, asked of the system's manager or `of_user`.

    Raises :class:`~harness.target.units.IncompleteAnswer` where a part that a verdict needs is missing.
    """
    pieces = _SECTION.split(text)
    parts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    missing = [name for name in ("states", "jobs", "clock") if name not in parts]
    if missing:
        raise IncompleteAnswer(f"the look at systemd came without its {', '.join(missing)}")
    asked = parse_show(parts.get("asked", ""))
    states: dict[str, UnitState] = {}
    for state in (*asked, *parse_show(re.sub(r"\n{3,}", "\n\n", parts["states"]))):
        for name in (*state.names, state.name):
            states.setdefault(name, state)
    now_us, up = _clock(parts["clock"])
    processes = parse_processes(parts.get("processes", ""), parts.get("commands", ""))
    mains = {pid for state in states.values() for pid in (state.main_pid, state.control_pid) if pid}
    return Look(
        asked=asked,
        states=states,
        jobs=parse_jobs(parts["jobs"]),
        processes=without_sessions(processes, tolerant.count(parts.get("self", "").strip()), mains),
        entries=_together(_entries(parts.get("entries", "")), _entries(parts.get("errors", ""))),
        begun=_entries(parts.get("begun", "")),
        now_us=now_us,
        up=up,
        of_user=of_user,
        system=parse_block(parts.get("system", "")),
    )


def parse_restarts(text: str) -> tuple[tuple[Entry, ...], int]:
    """Read what `restarts_command` printed: the entries, and the target's monotonic clock in microseconds.

    Raises :class:`~harness.target.units.IncompleteAnswer` where the clock or the journal is missing.
    """
    pieces = _SECTION.split(text)
    parts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    if "clock" not in parts or "entries" not in parts:
        raise IncompleteAnswer("the journal's restarts came without their clock")
    return _entries(parts["entries"]), _clock(parts["clock"])[0]


def _together(entries: tuple[Entry, ...], errors: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries with those errors that are not among them, by time."""
    had = {(entry.at_us, entry.message) for entry in entries}
    more = [entry for entry in errors if (entry.at_us, entry.message) not in had]
    return tuple(sorted((*entries, *more), key=lambda entry: entry.at_us)) if more else entries


def _clock(text: str) -> tuple[int, float]:
    """The monotonic clock in microseconds, and the seconds since the boot. Where only root may read the first one, the
    second is near enough: they differ by the time that the machine was suspended."""
    up, now_us = 0.0, 0
    for line in text.split("\n"):
        key, _, value = line.partition(" ")
        if key == "up":
            up = tolerant.real(value)
        else:
            now_us = tolerant.count(key, now_us * 1000) // 1000
    return now_us or int(up * 1e6), up


def _entries(text: str) -> tuple[Entry, ...]:
    found: list[Entry] = []
    for line in text.split("\n"):  # a message may hold any other line end of Unicode's
        if not line.startswith("{"):
            continue  # journalctl's own words: that there is no journal, or that it may not be read
        try:
            fields = tolerant.fields(line)
        except ValueError:
            continue  # one entry that cannot be read must not cost what is known of the units
        by_manager = _is_by_manager(fields)
        found.append(
            Entry(
                message=tolerant.text(fields.get("MESSAGE")).strip(),
                at_us=tolerant.count(fields.get("__MONOTONIC_TIMESTAMP")),
                by_manager=by_manager,
                units=tolerant.texts(fields.get("UNIT") or fields.get("USER_UNIT")),
                message_id=tolerant.text(fields.get("MESSAGE_ID")),
                job=tolerant.count(fields.get("JOB_ID")),
                job_type=tolerant.text(fields.get("JOB_TYPE")),
                job_result=tolerant.text(fields.get("JOB_RESULT")),
                unit_result=tolerant.text(fields.get("UNIT_RESULT")),
                # A program may set the first one to anything, the second one is journald's own.
                invocation=tolerant.text(fields.get("INVOCATION_ID" if by_manager else "_SYSTEMD_INVOCATION_ID")),
                priority=tolerant.count(fields.get("PRIORITY"), 6, most=7),
            )
        )
    return tuple(found)


def _is_by_manager(fields: Mapping[str, object]) -> bool:
    """Whether the manager says it, of a unit. Any program may set these fields; `_PID` and `_COMM` are journald's own
    words (systemd.journal-fields(7), "Trusted Journal Fields")."""
    pid, program = tolerant.text(fields.get("_PID")), tolerant.text(fields.get("_COMM"))
    if "UNIT" in fields and pid in ("", "1"):
        return True
    return "USER_UNIT" in fields and program in ("", "systemd")
