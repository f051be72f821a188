"""Checks side by side, in the order that they ask for, with what they need; and the ends of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api.check import Check, NotYet, Settings
from harness.api.discovery import discover
from harness.engine.life import jitter
from harness.engine.needs import with_needs
from harness.engine.order import in_order
from harness.engine.outcome import Outcome
from harness.engine.plan import Options, PlanItem, make_plan
from harness.errors import Source, UsageError
from harness.inventory import load
from harness.target.target import Target
from tests.engine.test_scheduler import Trial, fine

OPTIONS = Options(settle=False)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def a_check(name: str, function: Callable[..., Any] = fine, **more: Any) -> Check:
    def named(target: Target) -> Any:
        return function(target)

    budget = more.pop("budget", 5.0)
    needs = tuple(more.pop("needs", ()))
    return Check(
        name, "m", "m.py", named, Source(__file__, 1), Settings(budget=budget, interval=0.01), needs=needs, **more
    )


def test_checks_of_a_target_run_side_by_side(trial: Trial) -> None:
    both = threading.Barrier(2, timeout=5)

    def meets(_target: Target) -> None:
        both.wait()

    result = trial.carry("a,", a_check("one", meets), a_check("two", meets), options=OPTIONS)
    assert [check.outcome for check in result.checks] == [Outcome.PASSED, Outcome.PASSED]


def test_one_at_once_where_the_inventory_says_so(trial: Trial) -> None:
    inside: list[int] = []
    most: list[int] = []

    def alone(_target: Target) -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    checks = [a_check(f"c{i}", alone) for i in range(6)]
    trial.carry("a,", *checks, options=Options(settle=False, at_once=1))
    assert max(most) == 1


def test_what_is_needed_comes_first_and_its_failure_is_told(trial: Trial) -> None:
    order: list[str] = []

    def note(name: str, good: bool = True) -> Callable[[Target], None]:
        def function(_target: Target) -> None:
            order.append(name)
            if not good:
                raise RuntimeError("broken")

        return function

    checks = with_needs(
        *[
            [
                a_check("last", note("last"), needs=["middle"]),
                a_check("middle", note("middle"), needs=["first"]),
                a_check("first", note("first")),
                a_check("orphan", note("orphan"), needs=["bad"]),
                a_check("bad", note("bad", good=False)),
            ]
        ]
        * 2
    )
    result = trial.carry("a,", *checks, options=OPTIONS)
    assert order.index("first") < order.index("middle") < order.index("last")
    outcomes = {check.check: check for check in result.checks}
    assert outcomes["last"].outcome is Outcome.PASSED
    assert outcomes["orphan"].outcome is Outcome.SKIPPED
    assert outcomes["orphan"].message == "it needs m::bad, which has an error"
    assert "orphan" not in order


def test_a_check_that_wants_to_be_alone_is(trial: Trial) -> None:
    inside: set[str] = set()
    seen: dict[str, set[str]] = {}

    def stay(name: str) -> Callable[[Target], None]:
        def function(_target: Target) -> None:
            inside.add(name)
            seen[name] = set(inside)
            time.sleep(0.03)
            inside.discard(name)

        return function

    names = ["a", "b", "quiet", "c", "d"]
    checks = [a_check(name, stay(name), alone=name == "quiet") for name in names]
    result = trial.carry("t,", *checks, options=OPTIONS)
    assert all(check.outcome is Outcome.PASSED for check in result.checks)
    assert seen["quiet"] == {"quiet"}
    assert list(seen).index("quiet") == 2


def test_needs_in_a_circle_and_unknown_ones_are_refused() -> None:
    ring = [a_check("a", needs=["b"]), a_check("b", needs=["c"]), a_check("c", needs=["a"])]
    with pytest.raises(UsageError, match="circle: a needs b needs c needs a"):
        with_needs(ring, ring)
    with pytest.raises(UsageError, match="'nothing', which is none"):
        with_needs([a_check("a", needs=["nothing"])], [])


def test_what_is_needed_comes_along_when_it_was_not_chosen() -> None:
    every = [a_check("setup"), a_check("other"), a_check("wanted", needs=["setup"])]
    assert [check.name for check in with_needs([every[2]], every)] == ["setup", "wanted"]


@settings(max_examples=60)
@given(data=st.data(), count=st.integers(1, 12), seed=st.integers(0, 1000))
def test_any_order_has_what_is_needed_first_and_is_the_same_for_its_seed(
    data: st.DataObject, count: int, seed: int
) -> None:
    checks = []
    for i in range(count):
        needs = data.draw(st.lists(st.sampled_from(range(i)), unique=True, max_size=3)) if i else []
        checks.append(a_check(f"c{i}", needs=[f"c{n}" for n in needs]))
    shown = data.draw(st.permutations(checks))
    items = tuple(PlanItem(check, check.settings) for check in with_needs(shown, shown))
    options = Options(seed=seed, shuffle=True)
    order = [item.check.id for item in in_order(items, options)]
    assert sorted(order) == sorted(item.check.id for item in items)
    for item in items:
        assert all(order.index(need) < order.index(item.check.id) for need in item.check.needs)
    assert order == [item.check.id for item in in_order(items, options)]


def test_results_are_the_same_whatever_runs_beside(tmp_path: Path) -> None:
    def third(counts: dict[str, int]) -> Callable[[Target], str]:
        def function(target: Target) -> str:
            counts[target.name] = counts.get(target.name, 0) + 1
            if counts[target.name] < 3:
                raise NotYet("not yet")
            return "up"

        return function

    told = []
    for forks, at_once in ((1, 1), (4, 1), (4, 4)):
        folder = tmp_path / f"{forks}{at_once}"
        folder.mkdir()
        checks = [a_check(f"c{i}", third({})) for i in range(3)]
        result = Trial(folder).carry("a,b,c,", *checks, options=Options(settle=False, forks=forks, at_once=at_once))
        told.append([(c.target, c.check, c.outcome, c.attempts, c.message) for c in result.checks])
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize(
    "options",
    [Options(settle=False, at_once=1, deadline=0.3), Options(settle=False, at_once=1, target_deadline=0.3)],
)
def test_the_end_of_the_time_is_told_and_is_no_pass(trial: Trial, options: Options) -> None:
    def slow(_target: Target) -> None:
        time.sleep(0.5)

    def waits(_target: Target) -> None:
        raise NotYet("pending")

    result = trial.carry("a,", a_check("waits", waits, budget=60), options=options)
    assert result.checks[0].outcome is Outcome.FAILED
    assert "pending (after" in result.checks[0].message
    result = trial.carry("a,", a_check("slow", slow), a_check("after"), options=options)
    after = result.checks[1]
    assert (after.outcome, after.attempts) == (Outcome.NOT_RUN, 0)
    assert after.message in (
        "not run: the run's deadline passed",
        "not run: the time for this target (0.3 s) was over",
    )
    assert result.exit_code == 1


def test_pauses_do_not_depend_on_what_else_runs() -> None:
    assert jitter("0:a:c", 1) == jitter("0:a:c", 1)
    assert jitter("0:a:c", 1) != jitter("1:a:c", 1)
    assert all(0.8 <= jitter("x", attempt) <= 1.2 for attempt in range(1000))


CHECKS = """
from harness import check

UNITS = ["ssh.service", "cron.service"]

@check(window=2)
@check.each(unit=UNITS, port=[22, 80])
def is_up(target, unit, port):
    return f"{unit} {port} on {target}"

@check.each(unit=UNITS)
@check(needs="is_up", tags=["late"])
def later(target, unit):
    "Second."

@check.each(path=check.from_inventory("config_files"))
def is_there(target, path):
    return path
"""


def test_each_value_is_a_check_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CHECKS)
    found = discover([str(file)])
    assert [check.name for check in found] == [
        "is_up[ssh.service-22]", "is_up[ssh.service-80]", "is_up[cron.service-22]", "is_up[cron.service-80]",
        "later[ssh.service]", "later[cron.service]", "is_there",
    ]  # fmt: skip
    assert found[1].function("t") == "ssh.service 80 on t"
    assert (found[0].settings.window, found[4].tags, found[4].description) == (2.0, frozenset({"late"}), "Second.")
    assert [check.name for check in discover([f"{file}::later"])] == ["later[ssh.service]", "later[cron.service]"]
    assert [check.name for check in discover([f"{file}::later[cron.service]"])] == ["later[cron.service]"]


def test_values_out_of_the_inventory_differ_by_host(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CHECKS)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "all: {hosts: {a: {ansible_host: 127.0.0.1, config_files: [/etc/x, /etc/y]}, b: {ansible_host: 127.0.0.1}}}\n"
    )
    plan = make_plan(load([str(inventory)]).select("all"), discover([f"{file}::is_there"]), OPTIONS)
    assert [[item.check.name for item in target.items] for target in plan.targets] == [
        ["is_there[/etc/x]", "is_there[/etc/y]"],
        [],
    ]
    inventory.write_text("all: {hosts: {a: {ansible_host: 127.0.0.1, config_files: no list}}}\n")
    with pytest.raises(UsageError, match="config_files, which is no list"):
        make_plan(load([str(inventory)]).select("all"), discover([f"{file}::is_there"]), OPTIONS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@check.each(unit=['a'])\ndef c(target): ...", "must take the target and its parameters"),
        ("@check.each(unit='abc')\ndef c(target, unit): ...", "must be a list"),
        ("@check.each(unit=[])\ndef c(target, unit): ...", "has no values"),
        ("@check(needs=[3])\ndef c(target): ...", "neither a check nor"),
        ("@check(when=3)\ndef c(target): ...", "is no function of the target"),
        ("@check(window='x')\ndef c(target): ...", "is not a number of seconds"),
    ],
)
def test_what_is_declared_wrongly_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"from harness import check\n{text}\n")
    with pytest.raises(UsageError, match=said) as caught:
        discover([str(file)])
    assert str(file) in str(caught.value)
