"""A report as JUnit XML: a run, or all iterations of a soak, with what was flaky.

The dialect is Surefire's, which Jenkins, GitLab and GitHub's reporters read: `flakyFailure` stands in a test case that
passed in the end (https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report-3.0.xsd).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from harness.report.case import Case, cases, details
from harness.report.junit import clean, stamp
from harness.report.read import Run
from harness.soak.trial import TrialOutcome

MOST = 20
"""Failures told one by one of a test case; a soak may have thousands."""


def render_cases(run: Run) -> str:
    """One `testsuite` for each target, one `testcase` for each check with all its trials together."""
    found = cases(run.trials)
    attributes = {"name": "harness", "id": clean(run.run), "time": f"{run.duration:.3f}"}
    root = ET.Element("testsuites", {**attributes, "timestamp": stamp(run.started), **_counts(found)})
    for target in dict.fromkeys(case.first.target for case in found):
        _suite(root, target, [case for case in found if case.first.target == target])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(found: list[Case] | tuple[Case, ...]) -> dict[str, str]:
    outcomes = [case.outcome for case in found]
    fine = (TrialOutcome.PASSED, TrialOutcome.FAILED, TrialOutcome.SKIPPED)
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(TrialOutcome.FAILED)),
        "errors": str(sum(outcome not in fine for outcome in outcomes)),
        "skipped": str(outcomes.count(TrialOutcome.SKIPPED)),
    }


def _suite(root: ET.Element, target: str, found: list[Case]) -> None:
    attributes = {
        "name": clean(target),
        "hostname": clean(target),
        "time": f"{sum(case.duration for case in found):.3f}",
        "timestamp": stamp(min(case.first.started for case in found)),
    }
    suite = ET.SubElement(root, "testsuite", {**attributes, **_counts(found)})
    for case in found:
        _case(suite, case)


def _case(suite: ET.Element, case: Case) -> None:
    first, outcome = case.first, case.outcome
    element = ET.SubElement(
        suite, "testcase", classname=clean(f"{first.target}.{first.suite.replace('/', '.')}"), name=clean(first.check),
        file=clean(case.path), time=f"{case.duration:.3f}",
    )  # fmt: skip
    properties = ET.SubElement(element, "properties")
    for name, value in (
        ("harness.outcome", outcome.value),
        ("harness.trials", str(len(case.trials))),
        ("harness.flaky", str(len(case.flaky))),
        ("harness.attempts", str(sum(trial.attempts for trial in case.trials))),
        ("harness.transports", ",".join(dict.fromkeys(way for trial in case.trials for way in trial.transports))),
        ("harness.fallbacks", str(sum(trial.fallbacks for trial in case.trials))),
        ("harness.re_reads", str(sum(trial.re_reads for trial in case.trials))),
        ("harness.reconnects", str(sum(trial.reconnects for trial in case.trials))),
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
