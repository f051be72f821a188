"""Why a unit is not up yet, in words: what its job waits for, down to the root, or what became of it. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from harness.target.jobs import Job
from harness.target.look import RESTART_SCHEDULED, STARTED, Entry, Look
from harness.target.processes import innermost
from harness.target.queue import Knot, Queue, Step, Way, limit
from harness.target.standing import Standing, restarts
from harness.target.units import UnitState
from harness.target.values import listed, seconds, span

_LAST_WORDS = 4
_ERROR = 3
# Of programs that give their words no priority: what an error looks like.
_ERROR_WORDS = re.compile(
    r"\b(?:error|fatal|failed|failure|cannot|can't|could not|unable|denied|no such|not found|refused|invalid|"
    r"unknown|exception|panic|already in use|out of memory|no space left|read-only)\b",
    re.IGNORECASE,
)
# A login on a console ends with its getty, which systemd then starts anew: no fault, and often our own doing.
_GETTY = re.compile(r"(?:(?:serial-|console-|container-)?getty(?:@.*)?|autologin(?:@.*)?)\.service")
LOGOUTS = 2
"""Restarts of a getty, within a window, that logouts explain; more of them nobody types."""
# What a start of this Type= still lacks while its `start` step runs (systemd.service(5)).
_LACKS = {
    "notify": "it has not said READY=1 yet",
    "notify-reload": "it has not said READY=1 yet",
    "dbus": "it has not taken its name on the bus yet",
    "forking": "its first process has not ended yet",
}
_UNMET = re.compile(r"unmet condition check \((.+)\)")
_DELETED = re.compile(r"Job (\S+)/start deleted to break ordering cycle")
_TOO_QUICKLY = "Start request repeated too quickly"
_SKIPPED = ("was skipped because", "Condition check resulted in")


@dataclass(frozen=True, slots=True)
class Why:
    """The answer for one unit: where it stands, all things considered, and why. `str()` is the sentence.

    `chain` are the units from it to the root of its waiting; `knot` is set where they wait for each other.
    """

    state: UnitState
    standing: Standing
    sentence: str
    chain: tuple[str, ...] = ()
    knot: Knot | None = None

    def __str__(self) -> str:
        return self.sentence


def explain(look: Look, state: UnitState | None = None) -> Why:
    """The answer for a unit of the look (the first that was asked for, unless told)."""
    state = state or look.asked[0]
    job = look.job_of(state.name)
    if job is not None:
        return _queued(look, state, job)
    standing, words = state.standing, state.reason
    last = _last_said(look, state) if standing is Standing.IDLE else None
    if last is not None:
        standing, words = _fate(look, state, last)
        state = replace(state, inactive_exit_us=last.at_us, changed_us=last.at_us, invocation=last.invocation)
    if standing is Standing.UP:
        return Why(state, standing, f"{state.name} {words}")
    if standing is Standing.NEVER and not state.condition:
        words += _condition(look)
    missing = [name for name in state.bound_to if _is_missing(look, name)]
    if standing is Standing.IDLE and missing:
        devices = listed([look.states[name].device for name in missing])
        standing, words = Standing.COMING, f"is bound to {devices}, which is not there yet"
    if state.sub_state.startswith("auto-restart"):
        words += restarts_told(look, state.name)
    if state.active_state == "failed":
        words += _given_up(look, state)
    words += _triggers(look, state)
    if standing is Standing.NEVER and (state.active_state == "failed" or state.load_state == "bad-setting"):
        words += _last_words(look, state)
    return Why(state, standing, f"{state.name} {words}")


def explain_queue(look: Look) -> Why | None:
    """What the queue as a whole waits for; None when it is empty. A knot comes first, then what has run longest."""
    queue = Queue(look)
    start = queue.root
    if start is None:
        return None
    way = queue.way(start)
    behind = [job.unit for job in queue.behind(start) if job not in way.jobs]
    elsewhere = len(look.jobs) - len(behind) - len(way.jobs)
    sentence = _told(look, queue, way)
    if behind:
        sentence += f"; behind it {'waits' if len(behind) == 1 else 'wait'} {listed(behind)}"
    if elsewhere > 0:
        sentence += f" (and {elsewhere} more job{'' if elsewhere == 1 else 's'})"
    standing = Standing.NEVER if way.hopeless else Standing.COMING
    state = look.states.get(start.unit) or UnitState(start.unit, "", "", "")
    return Why(state, standing, sentence, tuple(job.unit for job in way.jobs), way.knot)


def restarts_told(look: Look, unit: str) -> str:
    """`; started 0.4 s, 1.5 s and 2.6 s ago`: the journal's last starts of a unit."""
    times = [entry.at_us for entry in look.entries if unit in entry.units and entry.message_id == STARTED]
    ago = [since for at_us in times[-3:] if (since := look.since(at_us)) is not None]
    return f"; started {listed([seconds(since) for since in reversed(ago)])} ago" if ago else ""


def restarted_within(look: Look, unit: str, window: float) -> bool:
    """Whether the journal has an automatic restart of a unit, or two starts, in so many last seconds. A getty is
    restarted by each logout, ours included, so it takes more than two restarts there."""
    recent = [
        entry.message_id
        for entry in look.entries
        if unit in entry.units and (since := look.since(entry.at_us)) is not None and since < window
    ]
    if is_getty(unit):
        return max(recent.count(RESTART_SCHEDULED), recent.count(STARTED)) > LOGOUTS
    return RESTART_SCHEDULED in recent or recent.count(STARTED) > 1


def is_getty(unit: str) -> bool:
    """Return whether a unit waits for logins on a console."""
    return _GETTY.fullmatch(unit) is not None


def is_after_logout(look: Look, state: UnitState) -> bool:
    """Return whether a unit is only on its way because a login on its console has ended: a getty that ended well and
    is started anew."""
    return is_getty(state.name) and state.result == "success" and not restarted_within(look, state.name, math.inf)


# -- a job in the queue -----------------------------------------------------------------------------------------


def _queued(look: Look, state: UnitState, job: Job) -> Why:
    queue = Queue(look)
    way = queue.way(job)
    standing = Standing.NEVER if way.hopeless else Standing.COMING
    sentence = _told(look, queue, way)
    if state.restarts:
        sentence += f"; it has had {restarts(state)}{restarts_told(look, state.name)}"
    return Why(state, standing, sentence, tuple(each.unit for each in way.jobs), way.knot)


def _told(look: Look, queue: Queue, way: Way) -> str:
    start = way.start
    told = f"{start.unit}: {start.type} job {_progress(look, queue, start, bare=True)}"
    for number, step in enumerate(way.steps):
        told += _step(look, queue, way, step, number)
    if not way.steps and not start.running:
        told += "; nothing in the queue holds it back"
    if way.knot is not None:
        told += f": {_named(look, way)}"
    return told


def _step(look: Look, queue: Queue, way: Way, step: Step, number: int) -> str:
    last = way.knot is not None and number == len(way.steps) - 1
    if step.waiter is not None:
        process = step.waiter.process
        told = f"; it is itself waiting for `{process.command}` (PID {process.pid}), which waits for "
        if step.waiter.request.boot:
            return told + "the end of the boot, to which its own job belongs"
        told += f"{step.to.unit}'s {step.to.type} job"
        return told if last or not step.to.running else f"{told}, which {_progress(look, queue, step.to)}"
    who = "" if number == 0 else f"{step.job.unit} is " if way.steps[number - 1].waiter is None else "that one is "
    if last:
        return f"; {who}ordered after {step.to.unit}"
    told = f"; {who}ordered after {step.to.unit}, whose {step.to.type} job {_progress(look, queue, step.to)}"
    others = [job.unit for job in queue.holders(step.job) if job.running and job.id != step.to.id]
    return f"{told} (and after {listed(others, 3)})" if others else told


def _progress(look: Look, queue: Queue, job: Job, *, bare: bool = False) -> str:
    """`has been running for 41 s (…)`, or `waiting`; `bare` leaves the verb out."""
    if not job.running:
        return "waiting" if bare else "is waiting"
    state = look.states.get(job.unit)
    since = _running_for(look, state, job)
    told = "running" if bare else "has been running" if since is not None else "is running"
    if since is not None:
        told += f" for {seconds(since)}"
    most = limit(state, job)
    if math.isfinite(most):
        told += f" of at most {seconds(most)}"
    details = _details(look, queue, job, state)
    return f"{told} ({details})" if details else told


def _details(look: Look, queue: Queue, job: Job, state: UnitState | None) -> str:
    if state is None:
        return ""
    if state.device:
        return f"the device {state.device} is not there yet"
    process = queue.process(job)
    details: list[str] = []
    if process is not None:
        details += [f"`{process.command}`", f"PID {process.pid}"]
        inner = innermost(look.processes, process.pid)
        if inner is not None and inner.pid != process.pid and not queue.steps(job):
            details.append(f"in it `{inner.command}`, PID {inner.pid}, for {seconds(look.up - inner.started)}")
    elif state.command:
        details.append(f"`{state.command}`")
    if state.sub_state == "start" and state.type in _LACKS:
        details.append(_LACKS[state.type])
    return ", ".join(details)


def _running_for(look: Look, state: UnitState | None, job: Job) -> float | None:
    """Seconds, by the target's monotonic clock. A device has no time of its own: the journal has the job's."""
    for entry in look.begun:
        if entry.job == job.id and job.unit in entry.units:
            return look.since(entry.at_us)
    if state is None:
        return None
    started = job.type not in ("stop", "restart", "reload") and state.active_state == "activating"
    return look.since(state.inactive_exit_us if started else state.changed_us)


def _named(look: Look, way: Way) -> str:
    circle = way.steps[next(i for i, step in enumerate(way.steps) if step.job.id == way.root.id) :]
    if way.knot is Knot.CYCLE:
        what = "a cycle in the ordering"
    elif way.certain:
        what = "a deadlock"
    else:
        unsure = next(step.job.unit for step in circle if step.waiter is not None and not step.waiter.certain)
        return f"a deadlock, if {unsure} itself waits for that process"
    if way.hopeless:
        return f"{what}, which nothing ends"
    ends = {limit(look.states.get(step.job.unit), step.job): step.job.unit for step in circle}
    first = min((each for each in ends if math.isfinite(each)), default=None)
    if first is None:
        return what
    return f"{what}, unless the time-out of {ends[first]} ends it ({seconds(first)})"


# -- no job -----------------------------------------------------------------------------------------------------


def _last_said(look: Look, state: UnitState) -> Entry | None:
    """What the manager last said became of an idle unit. systemd forgets a unit that nothing refers to as soon as it is
    inactive, its result and its conditions too; the journal remembers."""
    said = [
        entry
        for entry in look.entries
        if state.name in entry.units
        and entry.at_us >= state.inactive_enter_us
        and (entry.job_result or _deleted(entry) == state.name)
    ]
    return said[-1] if said else None


def _fate(look: Look, state: UnitState, last: Entry) -> tuple[Standing, str]:
    ago = _ago(look, last)
    now = f"is {state.active_state} ({state.sub_state})"
    if _deleted(last):
        circle = " → ".join((*last.units, last.units[0]))
        return Standing.NEVER, f"was not started: its job was deleted to break a cycle in the ordering ({circle})"
    if last.job_type not in ("start", "restart"):
        return Standing.IDLE, f"{now}: it was stopped{ago}"
    match last.job_result:
        case "done" if unmet := _skipped(look, last):
            return Standing.NEVER, f"was not started because {unmet}"
        case "done" if state.type == "oneshot" and not state.remains:
            return Standing.UP, f"is a oneshot that has done its work{ago}"
        case "done":
            return Standing.IDLE, f"{now}: it was started{ago} and has ended"
        case "assert":
            return Standing.NEVER, "was not started because an assertion of it does not hold"
        case "dependency":
            bad = "; ".join(f"{name} {look.states[name].reason}" for name in state.requires if _is_bad(look, name))
            return Standing.NEVER, f"was not started because a dependency failed{f': {bad}' if bad else ''}"
        case "timeout":
            return Standing.NEVER, f"was not started: its job timed out{ago}, before it could begin"
        case "canceled":
            return Standing.IDLE, f"{now}: its start job was cancelled{ago}"
        case result:
            return Standing.IDLE, f"{now}: its last start job ended as {result}{ago}"


def _skipped(look: Look, last: Entry) -> str:
    """Why a start that ended well started nothing; empty where it did."""
    if any(entry.unit_result == "exec-condition" and entry.invocation == last.invocation for entry in look.entries):
        return "its ExecCondition= said no"
    if any(words in last.message for words in _SKIPPED):
        unmet = _UNMET.search(last.message)
        return f"a condition of it is not met{f': {unmet[1]}' if unmet else ''}"
    return ""


def _deleted(entry: Entry) -> str:
    """The unit whose job was deleted to break a cycle."""
    match = _DELETED.search(entry.message)
    return match[1] if match else ""


def _is_missing(look: Look, name: str) -> bool:
    state = look.states.get(name)
    return state is not None and bool(state.device) and state.active_state == "inactive"


def _is_bad(look: Look, name: str) -> bool:
    state = look.states.get(name)
    return state is not None and (state.standing is Standing.NEVER or _is_missing(look, name))


def _ago(look: Look, entry: Entry) -> str:
    since = look.since(entry.at_us)
    return f" {seconds(since)} ago" if since is not None else ""


def _condition(look: Look) -> str:
    unmet = [match[1] for entry in look.entries if (match := _UNMET.search(entry.message))]
    return f": {unmet[-1]}" if unmet else ""


def _given_up(look: Look, state: UnitState) -> str:
    """systemd 252 keeps the last Result= when it hits the start limit; only the journal tells."""
    hit = any(_TOO_QUICKLY in e.message and e.at_us >= state.inactive_exit_us for e in look.entries)
    return "; systemd gave up: its start limit is hit" if hit else ""


def _triggers(look: Look, state: UnitState) -> str:
    """What may start it yet: a socket, a timer, a path, an automount."""
    told = ""
    for name in state.triggered_by:
        trigger = look.states.get(name)
        if trigger is None:
            continue
        if trigger.active_state != "active":
            told += f"; {name}, which would start it, {trigger.reason}"
        elif name.endswith(".socket"):
            told += f"; {name} is {trigger.sub_state} and starts it when something connects"
        elif name.endswith(".timer"):
            told += f"; {name} starts it {_next(look, trigger)}"
        else:
            told += f"; {name} is {trigger.sub_state} and starts it when it is needed"
    return told


def _next(look: Look, timer: UnitState) -> str:
    """A calendar timer has a date, any other a time since the boot."""
    if not timer.next_elapse:
        return "never again: it has elapsed"
    after = span(timer.next_elapse)
    if math.isnan(after):
        return f"on {timer.next_elapse}"
    return f"in {seconds(after - look.now_us / 1e6)}" if look.now_us else f"{timer.next_elapse} after the boot"


def _last_words(look: Look, state: UnitState) -> str:
    """What the unit itself said in its last start, as against what systemd said of it; of one that cannot be loaded,
    the latter. Its errors stand first, and behind them its last word."""
    by_manager = state.load_state == "bad-setting"
    said = [
        entry
        for entry in look.entries
        if entry.by_manager is by_manager and entry.message and (by_manager or _is_of_last_start(state, entry))
    ]
    errors = [entry.message for entry in said if entry.priority <= _ERROR]
    errors = errors or [entry.message for entry in said if _ERROR_WORDS.search(entry.message)]
    errors = list(dict.fromkeys(errors))
    if len(errors) >= _LAST_WORDS:
        # The first ones name the cause; of what came of it the last one is enough.
        errors = [*errors[: _LAST_WORDS - 1], errors[-1]]
    last = [entry.message for entry in said]
    shown = list(dict.fromkeys([*errors, *last[-1:]])) if errors else list(dict.fromkeys(last))[-_LAST_WORDS:]
    return f"; {'systemd' if by_manager else 'it'} said: {' | '.join(shown)}" if shown else ""


def _is_of_last_start(state: UnitState, entry: Entry) -> bool:
    """Return whether an entry belongs to the unit's last start: by its invocation, or, where journald does not know
    that, by its time."""
    if entry.invocation and state.invocation:
        return entry.invocation == state.invocation
    return not state.inactive_exit_us or not entry.at_us or entry.at_us >= state.inactive_exit_us
