"""Why a target has not settled: each unit that has not, and what it waits for.

The questions go through the target's link, so a live target and a folder of kept answers give the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.api.check import Never, NotYet, Skip
from harness.errors import ExitCode, HarnessError, NothingSelected
from harness.operate.questions import SERVICES, unit_name
from harness.target.look import Look
from harness.target.settle import expected_to_fail, is_expected, judge_target, lacks_ssh, masked_sshd, without_logouts
from harness.target.space import space_remark
from harness.target.standing import Standing
from harness.target.target import Target
from harness.target.units import IncompleteAnswer, UnitState
from harness.target.why import Why, explain
from harness.transport.errors import Timeout

MOST = 20
"""Units, or services, that are explained where none was named: each may cost a round trip."""
_TRIES = 3
T = TypeVar("T")

_GRAVEST = (Standing.NEVER, Standing.COMING, Standing.IDLE, Standing.UP)


class NotCollected(HarnessError):
    """A question that was not collected: there is no answer to it, and none is guessed."""

    exit_code = ExitCode.NOTHING_SELECTED


@dataclass(frozen=True, slots=True)
class Reason:
    """Where one unit (or service) stands, and why. `chain` are the units from it to the root of its waiting, `knot` is
    `cycle` or `deadlock` where they wait for each other."""

    unit: str
    standing: Standing
    sentence: str
    chain: tuple[str, ...] = ()
    knot: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a target stands (or the units that were named), in a sentence, and the units that this comes from.

    `more` counts units that are not reported one by one; `unanswered` are the named ones whose question was not
    collected, with words.
    """

    standing: Standing
    sentence: str
    reasons: tuple[Reason, ...] = ()
    more: int = 0
    unanswered: tuple[tuple[str, str], ...] = ()

    @property
    def settled(self) -> bool:
        """All that was asked about has come up, for all that is known."""
        return self.standing is Standing.UP and not self.unanswered

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person reads: the first sentence, and those of the units that it does not hold already."""
        rest = [reason.sentence for reason in self.reasons if reason.sentence not in self.sentence]
        return (*([self.sentence] if self.sentence else []), *dict.fromkeys(rest))


def explain_target(target: Target, units: Sequence[str] = ()) -> Explanation:
    """Explains the named units, or all that is not settled on the target.

    Raises the transports' typed errors where nobody answers (a look that takes too long is an answer: it says that
    systemd does not), NotCollected where the very first question was not collected, NothingSelected where nothing can
    be asked without a name.
    """
    return _named(target, units) if units else _everything(target)


def explain_unit(target: Target, word: str) -> Reason:
    """One unit, or a service where there is no systemd. Raises the transports' typed errors, NotCollected."""
    name = unit_name(word)
    try:
        return _reason(_patiently(lambda: target.why(name)))
    except Skip:
        return _service(target, word)
    except Never as never:
        return Reason(name, Standing.NEVER, str(never))
    except (NotYet, Timeout) as error:
        return Reason(name, Standing.COMING, f"{name}: {_words(error)}")


def _named(target: Target, words: Sequence[str]) -> Explanation:
    reasons: list[Reason] = []
    unanswered: list[tuple[str, str]] = []
    for word in dict.fromkeys(words):
        try:
            reasons.append(explain_unit(target, word))
        except NotCollected as error:
            unanswered.append((word, error.message))
    standing = min((reason.standing for reason in reasons), key=_GRAVEST.index, default=Standing.UP)
    worst = next((reason.sentence for reason in reasons if reason.standing is standing), "")
    return Explanation(standing, worst, tuple(reasons), unanswered=tuple(unanswered))


# -- all that is not settled --------------------------------------------------------------------------------------


def _everything(target: Target) -> Explanation:
    try:
        look = _patiently(target.systemd.look_at_all)
        standing, summary = judge_target(look, expected_to_fail(target.vars), lacks_ssh=lacks_ssh(target))
    except Skip:
        return _services(target)
    except (NotYet, IncompleteAnswer, Timeout) as error:
        return Explanation(Standing.COMING, _words(error))
    look = without_logouts(look)
    queued = [_reason(explain(look, _state(look, job.unit))) for job in look.jobs]
    queued.sort(key=lambda reason: (not reason.knot, _GRAVEST.index(reason.standing)))
    others = _without_a_job(look, expected_to_fail(target.vars))
    reasons = queued[:MOST]
    for name in others[: MOST - len(reasons)]:
        try:
            reasons.append(explain_unit(target, name))
        except NotCollected:
            state = look.states[name]
            reasons.append(Reason(name, state.standing, f"{name} {state.reason}"))
    failed = [reason.sentence for reason in reasons if reason.standing is Standing.NEVER]
    is_masked = lacks_ssh(target) and masked_sshd(look)
    if standing is Standing.NEVER and not queued and failed and not is_masked:
        # With the units' own last words, which the look at all does not have.
        summary = "; ".join(failed) + space_remark(target)
    return Explanation(standing, summary, tuple(reasons), more=len(queued) + len(others) - len(reasons))


def _without_a_job(look: Look, expected: Sequence[str]) -> list[str]:
    """The units that failed or are on their way with no job in the queue, those that failed first."""
    queued = {job.unit for job in look.jobs}
    states = {state.name: state for state in look.states.values() if state.name not in queued}.values()
    unexpected = [state for state in states if not is_expected(state.name, expected)]
    failed = [state.name for state in unexpected if state.active_state == "failed"]
    coming = [state.name for state in unexpected if state.standing is Standing.COMING]
    return list(dict.fromkeys([*failed, *coming]))


def _services(target: Target) -> Explanation:
    """Without systemd: what failed or is on its way of the services that are started by themselves. One that is not
    running is nothing to say: a script may have done its work."""
    names = target.run(SERVICES).out.split()
    if not names:
        raise NothingSelected(
            f"{target.name} is not run by systemd, and no list of its services can be had",
            hint="Name what is to be explained: harness why HOST SERVICE",
        )
    found = [_service(target, name) for name in names[:MOST]]
    reasons = tuple(reason for reason in found if reason.standing in (Standing.NEVER, Standing.COMING))
    more = len(names) - len(found)
    if not reasons:
        count = f"{len(found)} of {len(names)}" if more else str(len(found))
        return Explanation(
            Standing.UP, f"no service has failed or is on its way ({count} looked at; not run by systemd)", more=more
        )
    standing = min((reason.standing for reason in reasons), key=_GRAVEST.index)
    return Explanation(standing, "; ".join(reason.sentence for reason in reasons), reasons, more)


def _service(target: Target, name: str) -> Reason:
    try:
        state = target.service(name)
    except (NotYet, Timeout) as error:
        return Reason(name, Standing.COMING, f"{name}: {_words(error)}")
    return Reason(state.name, state.standing, str(state))


def _state(look: Look, unit: str) -> UnitState:
    """Of a job whose unit is not shown, being one of too many, the name is enough."""
    return look.states.get(unit) or UnitState(unit, "", "", "")


def _reason(why: Why) -> Reason:
    return Reason(why.state.name, why.standing, why.sentence, why.chain, why.knot.value if why.knot else "")


def _words(error: Exception) -> str:
    return error.message if isinstance(error, HarnessError) else str(error)


def _patiently(look: Callable[[], T]) -> T:
    """`systemctl show` leaves properties out at times: then it is asked again."""
    for _ in range(_TRIES - 1):
        try:
            return look()
        except NotYet as not_yet:
            if not isinstance(not_yet.__cause__, IncompleteAnswer):
                raise
    return look()
