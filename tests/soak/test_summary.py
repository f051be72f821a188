"""What was planted in a soak is found, and what was not planted is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.read import read_run
from harness.soak.compare import Change, compare
from harness.soak.figures import Demand, Figures, figures
from harness.soak.recovery import spells
from harness.soak.statistics.rates import wilson
from harness.soak.summary import Summary, summarise
from harness.soak.trial import Settling, Trial, TrialOutcome
from tests.soak import planted
from tests.soak.planted import Planted, trials
from tests.soak.test_trials import some

DEMAND = Demand()


def summary(plan: Planted) -> Summary:
    made, _ = trials(plan)
    counts = dict.fromkeys(plan.targets, plan.iterations)
    return summarise(made, dict.fromkeys(plan.targets, 3600.0), counts, DEMAND)


def row(found: Summary, check: str, target: str = "vm1") -> Figures:
    return next(each for each in found.rows if (each.check, each.target) == (check, target))


def test_a_planted_flake_of_3_percent_is_found_with_an_interval_that_holds_the_truth() -> None:
    held = 0
    for seed in range(20):
        found = summary(Planted(iterations=300, seed=seed))
        flaky = row(found, planted.FLAKY).flaky
        held += flaky.low <= 0.03 <= flaky.high
        assert found.verdict.word == "flaky"
        assert [cluster.outcome for cluster in found.clusters] == ["flaky"]
        assert found.clusters[0].signature == "<address> closed the connection before its banner"
        assert len(found.clusters[0].trials) == flaky.count == found.total.flaky.count > 0
    assert held >= 18, "an interval of 95 % misses one in twenty, not more"


def test_a_flaky_pass_is_no_clean_pass() -> None:
    found = row(summary(Planted(iterations=300)), planted.FLAKY)
    assert found.outcomes["passed"] == 300
    assert found.clean.count == 300 - found.flaky.count
    assert found.unclean == found.flaky.count


def test_a_clean_soak_is_told_as_one() -> None:
    found = summary(Planted(iterations=50, flaky=0.0))
    assert found.verdict.sentence == "600 trials passed, none was flaky."
    assert found.verdict.good
    assert (found.clusters, found.drifts, found.worst) == ((), (), ())
    assert found.clean_iterations == wilson(50, 50)


def test_drift_is_found_where_it_was_planted_and_nowhere_else() -> None:
    found = summary(Planted(iterations=300, drift=1.0, fault_every=20))
    assert [(drift.check, drift.what) for drift in found.drifts] == [(planted.DRIFTING, "settling")]
    assert found.drifts[0].strength > 0
    thirds = row(found, planted.DRIFTING).thirds
    assert thirds is not None
    assert thirds.last > thirds.first * 1.3


def test_the_worst_target_is_named() -> None:
    plan = Planted(iterations=200, targets=("vm1", "vm2", "vm3"), failing=0.03, flaky=0.0, bad_target="vm3")
    found = summary(plan)
    assert {(check, outlier.target) for check, outlier in found.worst} == {("", "vm3"), (planted.FAILING, "vm3")}
    assert {cluster.signature for cluster in found.clusters} == {
        "<target>: ssh.service has <n> errors in this boot's journal: sshd[<n>]: error: kex_exchange_identification: "
        "Connection closed by remote host"
    }


def test_a_target_that_cannot_be_reached_is_worse_than_the_others() -> None:
    made, _ = trials(Planted(iterations=60, targets=("vm1", "vm2"), flaky=0.0))
    made = [
        replace(each, outcome=TrialOutcome.UNREACHABLE) if each.target == "vm2" and each.iteration % 5 == 0 else each
        for each in made
    ]
    found = summarise(made, {"vm1": 1.0, "vm2": 1.0}, {"vm1": 60, "vm2": 60}, DEMAND)
    assert {outlier.target for _, outlier in found.worst} == {"vm2"}
    assert found.worst[0][0] == ""


def test_transports_are_told_apart_where_more_than_one_served() -> None:
    found = summary(Planted(iterations=60, fault_every=6))
    parts = [each for each in found.split if each.check == planted.CHECKS[2]]
    assert [(each.transport, each.trials) for each in parts] == [("serial", 10), ("ssh", 50)]
    assert not [each for each in found.split if each.check == planted.FLAKY]
    assert row(found, planted.CHECKS[2]).per_thousand["fallbacks"] == pytest.approx(1000 * 10 / 240)
    assert found.total.recovery is not None
    assert found.total.recovery.count == 10 * 12


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        ("failed", "failed"), ("error", "error"), ("internal", "internal"), ("unreachable", "unreachable"),
        ("infrastructure", "infrastructure"), ("skipped", "skipped"), ("passed", "passed"),
    ],
)  # fmt: skip
def test_outcomes_stay_apart(outcome: str, word: str) -> None:
    found = summarise([some(1, outcome=TrialOutcome(outcome))], {"vm1": 1.0}, {"vm1": 1}, DEMAND)
    assert found.verdict.word == word
    assert found.total.judged == (outcome in ("passed", "failed"))
    assert found.total.outcomes[outcome] == 1
    assert len(found.clusters) == (outcome not in ("passed", "skipped"))
    assert found.clean_iterations.count == (outcome in ("passed", "skipped"))


def test_nothing_is_no_verdict() -> None:
    assert summarise([], {}, {}, DEMAND).verdict.word == "nothing"


def test_a_time_out_is_censored_and_never_is_for_ever() -> None:
    made = [some(n, seconds=1.0, settling=Settling.SETTLED) for n in range(1, 91)]
    made += [some(n, outcome=TrialOutcome.FAILED, seconds=30.0, settling=Settling.CENSORED) for n in range(91, 96)]
    made += [some(n, outcome=TrialOutcome.FAILED, seconds=0.5, settling=Settling.NEVER) for n in range(96, 101)]
    found = figures(made, 100.0, DEMAND).settle
    assert (found.settled, found.censored, found.never) == (90, 5, 5)
    assert [each.value for each in found.quantiles] == [1.0, 1.0, None]


TRIALS = st.lists(
    st.builds(
        some, st.integers(1, 30), target=st.sampled_from(["vm1", "vm2"]), check=st.sampled_from(["a", "b"]),
        outcome=st.sampled_from(TrialOutcome), flaky=st.booleans(), seconds=st.none() | st.floats(0, 100),
        settling=st.sampled_from(Settling), attempts=st.integers(0, 20), commands=st.integers(0, 5),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(TRIALS)
def test_any_trials_have_figures_that_add_up(made: list[Trial]) -> None:
    found = summarise(made, {"vm1": 10.0, "vm2": 0.0}, {"vm1": 30, "vm2": 30}, DEMAND)
    assert sum(each.trials for each in found.rows) == found.total.trials == len(made)
    assert sum(found.total.outcomes.values()) == len(made)
    assert found.total.clean.count + found.total.unclean == found.total.judged
    assert sum(len(each.trials) for each in found.clusters) == sum(
        not each.clean and each.outcome is not TrialOutcome.SKIPPED for each in made
    )


# -- two soaks -----------------------------------------------------------------------------------------------------


def test_the_same_soak_twice_is_the_same() -> None:
    one, _ = trials(Planted(iterations=150, flaky=0.0, seed=1))
    two, _ = trials(Planted(iterations=150, flaky=0.0, seed=2))
    found = compare(one, two, DEMAND)
    assert found.verdict is Change.SAME
    assert found.sentence == "Of 12 checks: 12 same."


def test_worse_is_found_and_turned_round_it_is_better() -> None:
    one, _ = trials(Planted(iterations=150, failing=0.02, seed=1))
    two, _ = trials(Planted(iterations=150, failing=0.25, seed=2))
    worse, better = compare(one, two, DEMAND), compare(two, one, DEMAND)
    assert (worse.verdict, better.verdict) == (Change.WORSE, Change.BETTER)
    assert (worse.pairs[0].check, worse.pairs[0].verdict) == (planted.FAILING, Change.WORSE)
    assert "it passes less often" in worse.pairs[0].why
    assert [pair.verdict for pair in worse.pairs].count(Change.WORSE) == 1


def test_slower_is_worse_though_all_pass() -> None:
    one, _ = trials(Planted(iterations=150, flaky=0.0, seed=1))
    two, _ = trials(Planted(iterations=150, flaky=0.0, drift=1.5, seed=2))
    found = compare(one, two, DEMAND).pairs[0]
    assert (found.check, found.verdict, found.why) == (planted.DRIFTING, Change.WORSE, "it settles later")


def test_a_target_that_is_reached_less_often_is_worse_though_all_that_is_seen_passes() -> None:
    one, _ = trials(Planted(iterations=100, flaky=0.0))
    lost = {"outcome": TrialOutcome.UNREACHABLE, "settling": Settling.UNKNOWN, "seconds": None}
    two = [replace(each, **lost) if each.iteration % 4 == 0 else each for each in one]  # type: ignore[arg-type]
    worse, better = compare(one, two, DEMAND), compare(two, one, DEMAND)
    assert {pair.why for pair in worse.pairs} == {"it could be judged less often"}
    assert {pair.why for pair in better.pairs} == {"it could be judged more often"}
    assert (worse.verdict, better.verdict) == (Change.WORSE, Change.BETTER)
    assert worse.pairs[0].second.clean.value == 1.0
    none = [replace(each, **lost) for each in one]  # type: ignore[arg-type]
    assert compare(one, none, DEMAND).verdict is Change.WORSE


def test_few_runs_say_so() -> None:
    one, _ = trials(Planted(iterations=3, flaky=0.0))
    found = compare(one, one, DEMAND)
    assert found.verdict is Change.TOO_FEW
    assert all(pair.verdict is Change.TOO_FEW for pair in found.pairs)
    assert compare(one, [], DEMAND).sentence == "The two have no check in common."


def test_luck_alone_is_seldom_called_a_difference() -> None:
    """Forty pairs of soaks that are alike, with 12 checks each: corrected, hardly any differs."""
    alarms = 0
    for seed in range(40):
        one, _ = trials(Planted(iterations=40, flaky=0.1, failing=0.1, seed=2 * seed))
        two, _ = trials(Planted(iterations=40, flaky=0.1, failing=0.1, seed=2 * seed + 1))
        alarms += compare(one, two, DEMAND).verdict in (Change.WORSE, Change.BETTER)
    assert alarms <= 6  # 5 % of 40 are 2; more than 6 would come once in 200 such tests


def test_soaks_of_different_targets_are_compared_as_wholes() -> None:
    one, _ = trials(Planted(iterations=20, targets=("vm1",)))
    two, _ = trials(Planted(iterations=20, targets=("board1",)))
    found = compare(one, two, DEMAND)
    assert {pair.target for pair in found.pairs} == {""}
    assert len(found.pairs) == 12
    assert (found.only_first, found.only_second) == ((), ())


def test_what_only_one_has_is_named() -> None:
    one, _ = trials(Planted(iterations=2))
    two = [replace(each, check="new") if each.label == planted.FLAKY else each for each in one]
    found = compare(one, two, DEMAND)
    assert found.only_first == (f"{planted.FLAKY} on vm1",)
    assert found.only_second == ("sshd/outside::new on vm1",)


# -- killed and resumed ------------------------------------------------------------------------------------------------


def test_a_soak_that_was_cut_has_the_figures_of_its_finished_iterations(tmp_path: Path) -> None:
    plan = Planted(iterations=20, unfinished=True)
    planted.write(tmp_path, plan)
    read = read_run(tmp_path)
    made, _ = trials(plan)
    assert list(read.trials) == made
    assert read.unfinished == 1
    assert read.iterations == {"vm1": 20}
    assert read.notes == ("1 trial of unfinished iterations is not counted",)


def test_recovery_is_told_for_each_fault_and_what_never_recovered_is_not_left_out() -> None:
    _, marks = trials(Planted(iterations=90, fault_every=5))
    found = {each.name: each for each in spells(marks, "recovery")}
    assert {name: (each.count, each.ended) for name, each in found.items()} == {
        "link_down": (6, 0), "sshd_killed": (6, 6), "paused": (6, 6),
    }  # fmt: skip
    assert [each.value for each in found["link_down"].quantiles] == [None, None, None]
    for name in ("sshd_killed", "paused"):
        middle, longest = found[name].quantiles[0].value, found[name].longest
        assert middle is not None
        assert longest is not None
        assert 0.5 <= middle <= longest <= 3.0
    (reset,) = spells(marks, "reset")
    assert (reset.name, reset.count) == ("snapshot", 90)
    assert reset.longest == pytest.approx(0.5)
    assert spells([], "recovery") == ()
