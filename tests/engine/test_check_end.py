"""The event of a check's end gives the reason of its outcome as fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api.check import Never, NotYet, Skip
from harness.errors import MachineError
from harness.soak.ending import Ending
from harness.target.target import Target
from harness.transport.errors import Cause, Timeout, Unavailable
from tests.soak.fakes import a_check
from tests.soak.test_soak import Place, fine


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def raising(error: Exception) -> Callable[[Target], object]:
    def function(_target: Target) -> object:
        raise error

    return function


REASONS: list[tuple[str, Callable[[Target], object], tuple[str, str | None, str | None]]] = [
    ("passes", fine, ("passed", None, None)),
    ("asserts", raising(AssertionError("3 is not 4")), ("failed", "AssertionError", "3 is not 4")),
    ("never", raising(Never("it is masked")), ("failed", "Never", "it is masked")),
    ("waits", raising(NotYet("still starting")), ("failed", "NotYet", "still starting")),
    ("mistaken", raising(KeyError("colour")), ("error", "KeyError", "colour")),
    (
        "lost",
        raising(Unavailable("no route", transport="ssh", cause=Cause.REFUSED)),
        ("unreachable", "Unavailable", "no route"),
    ),
    ("slow", raising(Timeout("no answer in 5 s", transport="ssh")), ("failed", "Timeout", "no answer in 5 s")),
    ("skips", raising(Skip("not on this board")), ("skipped", None, None)),
]


def test_check_end_gives_its_reason_as_fields(place: Place) -> None:
    checks = [a_check(name, function, budget=0.05, interval=0.01) for name, function, _ in REASONS]
    place.carry(*checks, ending=Ending(iterations=1))
    found = {event["test.case.name"]: event for event in place.events("check.end")}
    for name, _, (outcome, kind, message) in REASONS:
        event = found[name]
        assert (name, event["harness.outcome"], event.get("error.type")) == (name, outcome, kind)
        assert (message or "") in event.get("error.message", "")
        assert ("error.message" in event) == (message is not None)
    assert found["skips"]["harness.why"] == "not on this board"
    assert "harness.why" not in found["never"]


def test_the_checks_of_a_target_that_does_not_come_up_say_why(place: Place) -> None:
    def fails() -> None:
        raise MachineError("no machine")

    place.world.on_start = fails
    place.carry(a_check("one", fine), ending=Ending(iterations=1))
    (event,) = place.events("check.end")
    assert event["harness.outcome"] in ("unreachable", "infrastructure", "error")
    assert "no machine" in event["error.message"]
