"""What findings come to: each stands with the checks that ran then, and forbidden or missing ones fail the target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness.api.check import WHOLE_TARGET
from harness.engine.findings.finding import Ruling
from harness.engine.findings.watch import TargetFindings
from harness.engine.outcome import CheckResult, Outcome

NAME = "findings"
"""The check that stands for them where they fail a target; like settling, it is no file's."""


def with_findings(checks: Iterable[CheckResult], findings: TargetFindings) -> tuple[CheckResult, ...]:
    """The checks' results, each with the findings that began while it ran."""
    if not findings.found:
        return tuple(checks)
    return tuple(
        replace(check, findings=tuple(each.short for each in findings.found if check.check_id in each.checks))
        for check in checks
    )


def verdict(target: str, findings: TargetFindings, *, at: float) -> CheckResult | None:
    """The failure of a target that said what is forbidden, or did not say what is required; None where all is well.

    `at` is in seconds since the epoch.
    """
    forbidden = [finding for finding in findings.found if finding.ruling is Ruling.FORBIDDEN]
    problems = [finding.short for finding in forbidden]
    problems += [
        f"{word!r} is required (findings_required), and was not seen on the console" for word in findings.missed
    ]
    if not problems:
        return None
    return CheckResult(
        target=target, check=NAME, module=WHOLE_TARGET, check_id=f"{WHOLE_TARGET}::{NAME}", outcome=Outcome.FAILED,
        message="\n".join(problems), started=at, duration=0.0, attempts=0,
        console=tuple(line for finding in forbidden for line in finding.text.splitlines()),
    )  # fmt: skip
