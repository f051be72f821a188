"""The table of `scripts/test-steady`, and what it repeats where nothing is chosen."""

from __future__ import annotations

from pathlib import Path

from tests.steady import Table, selection

REPORT = """\
<testsuites><testsuite name="pytest">
<testcase classname="tests.a.test_a" name="test_good" time="0.1"/>
<testcase classname="tests.a.test_a" name="test_bad" time="0.1"><failure message="assert 1 == 2&#10;more">E</failure>
</testcase>
<testcase classname="tests.a.test_a" name="test_torn" time="0.1"><error>while tearing down</error></testcase>
<testcase classname="tests.a.test_a" name="test_not_here" time="0.1"><skipped message="no"/></testcase>
</testsuite></testsuites>
"""


def test_failures_are_counted_and_the_first_words_kept(tmp_path: Path) -> None:
    table = Table()
    report = tmp_path / "junit.xml"
    report.write_text(REPORT)
    assert table.add(report, 1) == ["tests.a.test_a::test_bad", "tests.a.test_a::test_torn"]
    report.write_text(REPORT.replace("assert 1 == 2", "another one").replace("<error>while tearing down</error>", ""))
    assert table.add(report, 1) == ["tests.a.test_a::test_bad"]
    lines = list(table.lines())
    assert lines[0].split() == ["2/2", "tests.a.test_a::test_bad", "assert", "1", "==", "2", "more"]
    assert lines[1].split() == ["1/2", "tests.a.test_a::test_torn", "while", "tearing", "down"]
    assert len(lines) == 2
    assert set(table.runs) == {"tests.a.test_a::test_good", "tests.a.test_a::test_bad", "tests.a.test_a::test_torn"}


def test_a_round_that_came_to_nothing_is_a_failure(tmp_path: Path) -> None:
    table = Table()
    for status in (1, 2, 3, 4, 5, -9):
        assert table.add(tmp_path / "none.xml", status) == ["(pytest itself)"]
    assert table.failures["(pytest itself)"] == 6


def test_what_has_to_do_with_time_is_selected() -> None:
    chosen = selection()
    for name in (
        "tests/guest/test_settling.py",  # a guest
        "tests/machine/test_up_guest.py",
        "tests/suite/test_patience.py",  # imports threading itself
        "tests/transport/ssh/test_ssh.py",  # by what its folder shares
        "tests/pytest/test_plugin.py",  # by a helper
    ):
        assert name in chosen, name
    for name in ("tests/soak/statistics/test_against_others.py", "tests/suite/test_scheduling.py"):
        assert name not in chosen, name
