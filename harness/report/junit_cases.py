"""A report as JUnit XML: a run, or all iterations of a soak, with what was flaky.

The dialect is Surefire's, which Jenkins, GitLab and GitHub's reporters read: `flakyFailure` stands in a test case that
passed in the end (https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report-3.0.xsd).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from harness.report.case import Case, cases, details
from harness.report.junit import clean, opening, stamp
from harness.report.read import Run
from harness.soak.trial import TrialOutcome

MOST = 20
"""Failures that are listed of a test case; a soak may have thousands."""


def render_cases(run: Run) -> str:
    """One `testsuite` for each target, one `testcase` for each check with all its trials together."""
    return "".join(case_pieces(run))


def case_pieces(run: Run) -> Iterator[str]:
    """Yield the same in pieces: a test case at a time is in memory as text."""
    found = cases(run.trials)
    by_target: dict[str, list[Case]] = {}
    for case in found:
        by_target.setdefault(case.first.target, []).append(case)
    attributes = {"name": "harness", "id": run.run, "time": f"{run.duration:.3f}", "timestamp": stamp(run.started)}
    yield f"<?xml version='1.0' encoding='utf-8'?>\n{opening('testsuites', **attributes, **_counts(found))}\n"
    for target, members in by_target.items():
        yield from _suite(target, members)
    yield "</testsuites>\n"


def _counts(found: Sequence[Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in found]
    fine = (TrialOutcome.PASSED, TrialOutcome.FAILED, TrialOutcome.SKIPPED)
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(TrialOutcome.FAILED)),
        "errors": str(sum(outcome not in fine for outcome in outcomes)),
        "skipped": str(outcomes.count(TrialOutcome.SKIPPED)),
    }


def _suite(target: str, found: Sequence[Case]) -> Iterator[str]:
    attributes = {
        "name": target,
        "hostname": target,
        "time": f"{sum(case.duration for case in found):.3f}",
        "timestamp": stamp(min(case.first.started for case in found)),
    }
    yield f"  {opening('testsuite', **attributes, **_counts(found))}\n"
    for case in found:
        element = _case(case)
        ET.indent(element, level=2)
        yield f"    {ET.tostring(element, encoding='unicode')}\n"
    yield "  </testsuite>\n"


def _case(case: Case) -> ET.Element:
    first, outcome = case.first, case.outcome
    element = ET.Element(
        "testcase", classname=clean(f"{first.target}.{first.suite.replace('/', '.')}"), name=clean(first.check),
        file=clean(case.path), time=f"{case.duration:.3f}",
    )  # fmt: skip
    properties = ET.SubElement(element, "properties")
    for name, value in (
        ("harness.outcome", outcome.value),
        ("harness.trials", str(len(case.trials))),
        ("harness.flaky", str(len(case.flaky))),
        ("harness.attempts", str(case.totals["attempts"])),
        ("harness.transports", ",".join(case.transports)),
        ("harness.fallbacks", str(case.totals["fallbacks"])),
        ("harness.re_reads", str(case.totals["re_reads"])),
        ("harness.reconnects", str(case.totals["reconnects"])),
        ("harness.warnings", str(case.warnings.total())),
    ):
        ET.SubElement(properties, "property", name=name, value=clean(value))
    message = clean(case.message)
    if outcome is TrialOutcome.SKIPPED:
        ET.SubElement(element, "skipped", message=message)
    elif outcome is not TrialOutcome.PASSED:
        kind = "failure" if outcome is TrialOutcome.FAILED else "error"
        ET.SubElement(element, kind, message=message, type=outcome.value).text = clean(_told(case))
    else:
        for trial in case.flaky[:MOST]:
            said = trial.message or trial.signature or "passed, but not at the first look"
            flaky = ET.SubElement(element, "flakyFailure", message=clean(said), type="flaky")
            ET.SubElement(flaky, "stackTrace").text = clean(f"iteration {trial.iteration}\n{details(trial)}")
        if len(case.flaky) > MOST:
            ET.SubElement(element, "system-out").text = f"{len(case.flaky) - MOST} more flaky trials are not told here"
    if case.warnings:
        lines = [
            f"warning: {warning}{f' ({count} times)' if count > 1 else ''}"
            for warning, count in case.warnings.most_common(MOST)
        ]
        ET.SubElement(element, "system-err").text = clean("\n".join(lines))
    return element


def _told(case: Case) -> str:
    worst = case.worst
    parts = [
        details(trial) if len(case.trials) == 1 else f"iteration {trial.iteration}\n{details(trial)}"
        for trial in worst[-MOST:]
    ]
    if len(worst) > MOST:
        parts.append(f"{len(worst) - MOST} earlier ones are not told here")
    if case.flaky:
        parts.append(f"{len(case.flaky)} more trials passed and were flaky")
    return "\n\n".join(parts)
