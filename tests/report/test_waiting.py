"""Why a check has to wait is printed at once, and not when its time is over."""

from __future__ import annotations

import io
from typing import Any

from harness.report.terminal import Terminal


def attempt(seen: str, number: Any = 1, **changes: Any) -> dict[str, Any]:
    return {
        "event.action": "attempt.end", "message": "", "host.name": "vm1", "test.suite.name": "sshd/inside",
        "test.case.name": "unit_settled", "harness.attempt": number, "harness.outcome": "failed",
        "harness.seen": seen, "harness.final": False, "harness.answered": True, **changes,
    }  # fmt: skip


def printed(*records: dict[str, Any], verbosity: int = 0) -> list[str]:
    stream = io.StringIO()
    terminal = Terminal(stream, verbosity=verbosity)
    for record in records:
        terminal(record)
    return stream.getvalue().splitlines()


def test_the_first_answered_reason_is_printed_at_once() -> None:
    (line,) = printed(attempt("ssh.service: start job running for 3.1 s"))
    assert "waiting" in line
    assert line.endswith("sshd/inside::unit_settled: ssh.service: start job running for 3.1 s")


def test_only_another_reason_is_printed_again() -> None:
    lines = printed(
        attempt("start job running for 3.1 s (PID 12)"),
        attempt("start job running for 61 s (PID 40)", 2),
        attempt("ssh.service is waiting for its automatic restart", 3),
        attempt("start job running for 2 min 3 s (PID 77)", 4),
    )
    assert [line.rpartition("unit_settled: ")[2] for line in lines] == [
        "start job running for 3.1 s (PID 12)", "ssh.service is waiting for its automatic restart",
    ]  # fmt: skip


def test_checks_that_wait_for_the_same_say_it_once() -> None:
    assert len(printed(attempt("a"), attempt("a", **{"test.case.name": "no_job_queued"}))) == 1
    assert len(printed(attempt("a"), attempt("a", **{"host.name": "vm2"}))) == 2


def test_what_was_not_answered_and_what_is_final_is_no_reason_to_wait() -> None:
    assert printed(attempt("cut off", **{"harness.answered": False})) == []
    assert printed(attempt("no answer", **{"harness.outcome": "unreachable", "harness.answered": False})) == []
    assert printed(attempt("masked", **{"harness.final": True})) == []
    assert printed(attempt("", **{"harness.outcome": "passed"})) == []
    assert printed(attempt("a"), verbosity=-1) == []
    assert len(printed(attempt("a"), attempt("a", 2), verbosity=1)) == 2


def test_reasons_are_bounded() -> None:
    assert len(printed(*(attempt(f"reason {'x' * number}") for number in range(100)))) == 40


def test_a_finding_is_printed_when_it_comes_first() -> None:
    finding = {"event.action": "finding", "log.level": "error", "host.name": "vm1"}
    lines = printed(
        {**finding, "message": "vm1: login[12]: crashed at 0xdead"},
        {**finding, "message": "vm1: login[13]: crashed at 0xbeef"},
        {**finding, "message": "vm1: another"},
    )
    assert len(lines) == 2
