"""What an inventory forbids, expects and requires."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.main import main
from harness.engine.findings.finding import Ruling, Severity
from harness.engine.findings.kinds import BY_NAME, KINDS
from harness.engine.findings.rules import FindingRules, finding_rules
from harness.errors import UsageError
from harness.inventory import load


def rules(tmp_path: Path, text: str = "") -> FindingRules:
    path = tmp_path / "hosts.yml"
    path.write_text(f"all:\n  hosts:\n    vm1:\n      x: 1\n{text}")
    return finding_rules(load([str(path)]).host("vm1"))


def ruling(found: FindingRules, name: str, text: str = "text") -> str:
    return found.ruling(BY_NAME[name], text).value


def test_by_default_what_is_critical_is_forbidden_and_nothing_else(tmp_path: Path) -> None:
    found = rules(tmp_path)
    for kind in KINDS:
        wanted = Ruling.FORBIDDEN if kind.severity is Severity.CRITICAL else Ruling.REPORTED
        assert found.ruling(kind, "text") is wanted
    assert found.required == ()


def test_a_severity_means_all_that_is_graver_too(tmp_path: Path) -> None:
    found = rules(tmp_path, "      findings_forbidden: [error, under_voltage]\n")
    assert [ruling(found, name) for name in ("panic", "oom_kill", "under_voltage", "kernel_warning")] == [
        "forbidden", "forbidden", "forbidden", "reported",
    ]  # fmt: skip


@pytest.mark.parametrize(("word", "wanted"), [("all", "forbidden"), ("none", "reported"), ("[]", "reported")])
def test_all_and_none(tmp_path: Path, word: str, wanted: str) -> None:
    found = rules(tmp_path, f"      findings_forbidden: {word}\n")
    assert {ruling(found, kind.name) for kind in KINDS} == {wanted}


def test_what_is_expected_is_not_forbidden(tmp_path: Path) -> None:
    text = "      findings_forbidden: all\n      findings_expected: [oom_kill, '~dev fd0, sector \\d{1,3}$']\n"
    found = rules(tmp_path, text)
    assert ruling(found, "oom_kill") == "expected"
    assert ruling(found, "io_error", "I/O error, dev sda, sector 0\nI/O error, dev fd0, sector 12\nmore") == "expected"
    assert ruling(found, "io_error", "I/O error, dev sda, sector 0") == "forbidden"


def test_one_regular_expression_may_hold_commas_and_a_list_in_ini_has_them_between(tmp_path: Path) -> None:
    ini = tmp_path / "hosts"
    ini.write_text('a findings_expected="~x{1,2}, y"\nb findings_expected="oom_kill, segfault"\n')
    inventory = load([str(ini)])
    assert ruling(finding_rules(inventory.host("a")), "oom_kill", "xx, y") == "expected"
    assert [ruling(finding_rules(inventory.host("b")), name) for name in ("oom_kill", "segfault", "panic")] == [
        "expected", "expected", "forbidden",
    ]  # fmt: skip


def test_what_is_required_is_expected(tmp_path: Path) -> None:
    found = rules(tmp_path, "      findings_required: [panic]\n")
    assert ruling(found, "panic") == "expected"
    assert [selector.word for selector in found.required] == ["panic"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("pnaic", "did you mean 'panic'"),
        ("crit", "did you mean 'critical'"),
        ("zzz", "'zzz' names no finding"),
        ("'~('", "is not a regular expression"),
        ("[none, panic]", "`none` by itself"),
        ("{a: b}", "expected a list"),
    ],
)
@pytest.mark.parametrize("variable", ["findings_forbidden", "findings_expected", "findings_required"])
def test_what_names_nothing_is_a_usage_error_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str, value: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        rules(tmp_path, f"      {variable}: {value}\n")
    assert said in str(caught.value)
    assert "hosts.yml:5" in str(caught.value)
    # `inventory check` says so as well.
    assert main(["inventory", "-i", str(tmp_path / "hosts.yml"), "check"]) == 2
    assert said in capsys.readouterr().err
