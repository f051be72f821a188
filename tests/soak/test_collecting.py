"""When a soak collects: at the first failure of each kind, on each target, and not for ever."""

from __future__ import annotations

from dataclasses import replace

from harness.deadline import Cancellation
from harness.engine.failed import Failed
from harness.engine.outcome import CheckResult, Outcome
from harness.events import NullEmitter
from harness.inventory import load
from harness.soak.collecting import FirstOfEachKind

from .fakes import FakeSession, World

HOSTS = {host.name: host for host in load(["a,b,"]).select("all")}


def failed(target: str, *messages: str, check: str = "c") -> Failed:
    failures = tuple(
        CheckResult(target, check, "m", f"m.py::{check}", Outcome.FAILED, message, 0.0, 1.0, 1) for message in messages
    )
    session = FakeSession(target, World())
    return Failed(HOSTS[target], session, failures, NullEmitter(), Cancellation())


class Kept:
    """Counts what was collected."""

    def __init__(self, most: int = 5) -> None:
        self.had: dict[str, int] = {}
        self.collect = FirstOfEachKind(self.keep, lambda name: self.had.get(name, 0), most)

    def keep(self, moment: Failed) -> str:
        self.had[moment.host.name] = self.had.get(moment.host.name, 0) + 1
        return f"{moment.host.name}/{moment.iteration}"


def test_the_same_failure_is_collected_once_on_each_target() -> None:
    kept = Kept()
    assert kept.collect(replace(failed("a", "port 4711 is closed after 3.2 s"), iteration=1)) == "a/1"
    assert kept.collect(failed("a", "port 4712 is closed after 9.9 s")) == ""
    assert kept.collect(failed("b", "port 4711 is closed after 3.2 s")) == "b/0"
    assert kept.collect(failed("a", "port 4711 is closed after 3.2 s", check="d")) == "a/0"
    assert kept.collect(failed("a", "port 1 is closed after 2 s", "the disk is full")) == "a/0"
    assert kept.collect(failed("a", "the disk is full")) == ""


def test_there_is_an_end_to_it_also_where_each_failure_is_a_new_one() -> None:
    kept = Kept(most=3)
    words = ["one", "two", "three", "four", "five"]
    assert [bool(kept.collect(failed("a", word))) for word in words] == [True, True, True, False, False]
    assert kept.collect(failed("b", "one"))


def test_what_failed_for_want_of_time_is_a_kind_of_its_own() -> None:
    kept = Kept()
    assert kept.collect(failed("a"))
    assert kept.collect(failed("a")) == ""
