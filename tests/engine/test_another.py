"""A check that is carried once more: what both come to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.engine.another import after_another
from harness.engine.outcome import CheckResult, Observation, Outcome


def result(outcome: Outcome, started: float, attempts: int, seen: str) -> CheckResult:
    return CheckResult(
        "vm1", "c", "m", "m::c", outcome, seen, started, 2.0, attempts, commands=attempts, re_reads=1, reconnects=2,
        observations=tuple(Observation(n, 0.1 * n, outcome, f"{seen} {n}") for n in range(1, min(attempts, 3) + 1)),
        transports=("ssh",) if attempts % 2 else ("serial",), fallbacks=(seen,), location=f"m.py:{attempts}",
    )  # fmt: skip


@given(st.sampled_from(list(Outcome)), st.integers(1, 9), st.integers(1, 9))
def test_all_that_was_spent_is_counted(outcome: Outcome, one: int, two: int) -> None:
    first, second = result(Outcome.FAILED, 10.0, one, "no"), result(outcome, 20.0, two, "then")
    both = after_another(first, second)
    assert (both.attempts, both.commands, both.re_reads, both.reconnects) == (one + two, one + two, 2, 4)
    assert both.fallbacks == ("no", "then")
    assert set(both.transports) == {*first.transports, *second.transports}
    assert both.started == 10.0
    assert both.flaky == (outcome is Outcome.PASSED)
    assert both.outcome is (Outcome.PASSED if outcome is Outcome.PASSED else Outcome.FAILED)


def test_a_flaky_pass_says_what_was_wrong_before() -> None:
    both = after_another(result(Outcome.FAILED, 10.0, 5, "no"), result(Outcome.PASSED, 20.0, 1, "yes"))
    assert both.message == "passed only when it was carried once more; before: no"
    assert both.duration == 12.0
    assert [seen.outcome for seen in both.observations] == [Outcome.FAILED, Outcome.FAILED, Outcome.PASSED]
    assert both.location == "m.py:5"
