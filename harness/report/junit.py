"""JUnit XML, as CI systems read it (the Jenkins and Surefire dialect: https://github.com/testmoapp/junitxml)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

from harness.engine.outcome import CheckResult, Outcome, RunResult, TargetResult

# What XML 1.0 cannot hold at all (https://www.w3.org/TR/xml/#charsets).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(result: RunResult) -> str:
    """One `testsuite` for each target, one `testcase` for each check."""
    counts = result.counts
    root = ET.Element(
        "testsuites",
        name="harness",
        id=result.run,
        tests=str(len(result.checks)),
        failures=str(counts["failed"]),
        errors=str(counts["error"] + counts["unreachable"]),
        skipped=str(counts["skipped"]),
        time=f"{result.duration:.3f}",
        timestamp=stamp(result.started),
    )
    for target in result.targets:
        _suite(root, target, result.started)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, target: TargetResult, started: float) -> None:
    outcomes = [check.outcome for check in target.checks]
    suite = ET.SubElement(
        root,
        "testsuite",
        name=clean(target.target),
        hostname=clean(target.target),
        tests=str(len(outcomes)),
        failures=str(outcomes.count(Outcome.FAILED)),
        errors=str(outcomes.count(Outcome.ERROR) + outcomes.count(Outcome.UNREACHABLE)),
        skipped=str(outcomes.count(Outcome.SKIPPED)),
        time=f"{target.duration:.3f}",
        timestamp=stamp(min((check.started for check in target.checks), default=started)),
    )
    for check in target.checks:
        _case(suite, check)
    if target.findings:
        said = "\n\n".join(f"{finding.short}\n{finding.text}" for finding in target.findings)
        ET.SubElement(suite, "system-out").text = clean(f"Findings on the console\n\n{said}")


def _case(suite: ET.Element, check: CheckResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=clean(f"{check.target}.{check.module.replace('/', '.')}"),
        name=clean(check.check),
        file=clean(check.check_id.partition("::")[0]),
        time=f"{check.duration:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for name, value in (
        ("harness.outcome", check.outcome.value),
        ("harness.attempts", str(check.attempts)),
        ("harness.transports", ",".join(check.transports)),
        ("harness.fallbacks", str(len(check.fallbacks))),
        ("harness.re_reads", str(check.re_reads)),
        ("harness.flaky", str(check.flaky).lower()),
        ("harness.findings", str(len(check.findings))),
    ):
        ET.SubElement(properties, "property", name=name, value=clean(value))
    message = clean(check.message)
    if check.outcome is Outcome.SKIPPED:
        ET.SubElement(case, "skipped", message=message)
    elif check.outcome is Outcome.FAILED:
        ET.SubElement(case, "failure", message=message, type="failed").text = clean(details(check))
    elif check.outcome in (Outcome.ERROR, Outcome.UNREACHABLE):
        ET.SubElement(case, "error", message=message, type=check.outcome.value).text = clean(details(check))
    elif check.flaky:
        flaky = ET.SubElement(case, "flakyFailure", message="its state changed while it was looked at", type="flaky")
        ET.SubElement(flaky, "stackTrace").text = clean(details(check))


def details(check: CheckResult) -> str:
    """All that is known about what did not pass, as text."""
    lines = [check.message]
    if check.location:
        lines.append(f"at {check.location}")
    lines.extend(f"attempt {seen.attempt} after {seen.at:.1f} s: {seen.seen}" for seen in check.observations)
    lines.extend(f"fell back from {fallback}" for fallback in check.fallbacks)
    lines.extend(f"finding: {finding}" for finding in check.findings)
    if check.console:
        lines.append("console:")
        lines.extend(f"  {line}" for line in check.console)
    if check.repeat:
        lines.append(f"repeat: {check.repeat}")
    return "\n".join(lines)


def clean(text: str) -> str:
    """Text that XML can hold: what it cannot is shown as `\\xNN`."""
    return _FORBIDDEN.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def stamp(seconds: float) -> str:
    """A time as JUnit has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
