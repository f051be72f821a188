"""What is told once, and named after that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.report.reasons import by_name
from harness.target.values import seconds

REASON = (
    "a.service: start job running for 8.2 s (`sh -c 'x | y'`, PID 7), since 3 s ago: a deadlock, which nothing ends"
)


def test_a_reason_is_named_where_it_stands() -> None:
    told = {REASON: "vm1 x::settled"}
    assert by_name(REASON, told) == "(same cause as vm1 x::settled)"
    assert by_name(f"refused; {REASON}", told) == "refused; (same cause as vm1 x::settled)"


def test_the_same_reason_a_while_later_is_the_same() -> None:
    later = REASON.replace("for 8.2 s", "for 2 min 11 s").replace("3 s ago", "1 h 2 min ago")
    assert by_name(f"refused; {later}; and more", {REASON: "it"}) == "refused; (same cause as it); and more"


def test_another_reason_is_not() -> None:
    for other in (REASON.replace("PID 7", "PID 8"), REASON.replace("a.service", "b.service"), "settled"):
        assert by_name(other, {REASON: "it"}) == other
    figures = "it took 22 s, where the inventory allows it to take at most 20 s and no more than that"
    assert by_name(figures.replace("22", "31"), {figures: "it"}) == figures.replace("22", "31")


@given(st.text(), st.text(min_size=1), st.text(), st.text())
def test_any_text_is_taken_as_it_is(before: str, reason: str, after: str, label: str) -> None:
    assert f"(same cause as {label})" in by_name(before + reason + after, {reason: label})


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_any_two_times_are_the_same_reason(one: int, other: int) -> None:
    def told(since: int) -> str:
        return f"a.service: start job running for {seconds(since / 10)}"

    assert by_name(told(other), {told(one): "it"}) == "(same cause as it)"
