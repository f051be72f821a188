"""Results of failed commands: what counts as looking at one, and what a person is told of one that nobody looked at."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.events import NullEmitter
from harness.target.counted import CountedLink
from harness.target.target import Target
from harness.target.tracked_result import TrackedResult, unread
from harness.transport.contract import CommandResult, Damage, FailedCall, Result
from harness.transport.errors import Cause, TransportLost


class _OneAnswer:
    """A link with one answer."""

    def __init__(self, answer: CommandResult | Exception) -> None:
        self._answer = answer

    def run(self, command: str, **_: Any) -> CommandResult:
        del command
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def _result(status: int = 1, *, command: str = "false", out: bytes = b"", err: bytes = b"") -> CommandResult:
    return CommandResult(command, out, err, status, "ssh", 0.0, 0.0, 0.0)


def _target(answer: CommandResult | Exception) -> tuple[Target, list[Result]]:
    met: list[Result] = []
    link: Any = CountedLink(_OneAnswer(answer), met.append, NullEmitter())  # type: ignore[arg-type]
    return Target("box", (), {}, link, Deadline.never(), NullEmitter()), met


def _tracked(results: list[Result]) -> list[TrackedResult]:
    return [each for each in results if isinstance(each, TrackedResult)]


_LOOKS: list[Callable[[CommandResult], object]] = [
    lambda result: result.exit_status,
    lambda result: result.ok,
    lambda result: bool(result),
    lambda result: result.out,
    lambda result: result.err,
    lambda result: result.stdout,
    lambda result: result.stderr,
    lambda result: result == _result(),
    lambda result: f"{result!r}",
    lambda result: copy.copy(result).ok,
]


@pytest.mark.parametrize("look", _LOOKS)
def test_reading_its_outcome_is_looking_at_it(look: Callable[[CommandResult], object]) -> None:
    target, met = _target(_result())
    result = target.run("false")
    assert [each.was_read for each in _tracked(met)] == [False]
    look(result)
    assert [each.was_read for each in _tracked(met)] == [True]
    assert unread(_tracked(met)) == ()


@pytest.mark.parametrize("name", ["command", "duration", "transport", "started", "damage", "attempts"])
def test_reading_anything_else_is_not(name: str) -> None:
    target, met = _target(_result())
    getattr(target.run("false"), name)
    assert not _tracked(met)[0].was_read


def test_a_result_that_is_as_it_should_be_costs_nothing() -> None:
    target, met = _target(_result(0, command="true"))
    target.run("true")
    assert (_tracked(met), type(met[0])) == ([], CommandResult)


def test_a_tracked_result_is_the_same_result() -> None:
    plain = _result(3, out=b"out\n", err=b"err\n")
    target, _ = _target(plain)
    result = target.run("false")
    assert isinstance(result, CommandResult)
    assert (result, result.out, result.err, result.exit_status) == (plain, "out", "err", 3)
    assert pickle.loads(pickle.dumps(plain)) == plain


@pytest.mark.parametrize(("status", "truth"), [(0, True), (1, False), (255, False)])
def test_a_result_is_true_where_the_command_succeeded(status: int, truth: bool) -> None:
    assert bool(_result(status)) is truth


def test_the_warning_names_the_command_its_status_and_its_last_words() -> None:
    long = TrackedResult.of(_result(2, command="x" * 500 + "\nrm y", err=b"one\nno \xff such file\n"))
    (said,) = unread([long])
    assert said.startswith("`xxx")
    assert "ended with exit status 2: no \\xff such file, and the check did not look at its result" in said
    assert len(said) < 400
    assert not long.was_read


def test_a_loop_of_failures_does_not_flood_a_person() -> None:
    same = [TrackedResult.of(_result()) for _ in range(1000)]
    assert len(unread(same)) == 1
    told = unread([TrackedResult.of(_result(command=f"false {number}")) for number in range(1000)])
    assert len(told) == 11
    assert "990 more" in told[-1]


@pytest.mark.parametrize("bare", ["run", "run_test"])
def test_testinfras_own_result_counts_as_looked_at_by_who_reads_it(bare: str) -> None:
    target, met = _target(_result())
    result = getattr(target.host, bare)("false")
    assert [each.was_read for each in _tracked(met)] == [bare == "run_test"]
    assert not result
    assert _tracked(met)[0].was_read


def test_what_a_failed_call_had_to_mend_is_counted_too() -> None:
    error = TransportLost("lost", cause=Cause.LOST, transport="ssh")
    error.damage = Damage(reconnects=2)
    target, met = _target(error)
    with pytest.raises(TransportLost):
        target.run("true")
    assert met == [FailedCall(Damage(reconnects=2))]
