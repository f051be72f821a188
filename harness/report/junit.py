"""JUnit XML, as CI systems read it (the Jenkins and Surefire dialect: https://github.com/testmoapp/junitxml)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from harness.engine.outcome import CheckResult, Outcome, RunResult, TargetResult

# What XML 1.0 cannot hold at all (https://www.w3.org/TR/xml/#charsets).
# A parser would make newlines of carriage returns, and blanks of all three in an attribute.
_IN_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_IN_ATTRIBUTES = _IN_TEXT | str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})
_PLAIN = re.compile(r"[\w .:,/+()-]*", re.ASCII).fullmatch
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_ERRORS = frozenset((Outcome.ERROR, Outcome.UNREACHABLE, Outcome.INFRASTRUCTURE, Outcome.NOT_RUN))
"""Outcomes that are no verdict on the target: JUnit's `error`, with the outcome as its type."""


def render(result: RunResult) -> str:
    """One `testsuite` for each target, one `testcase` for each check."""
    return "".join(pieces(result))


def pieces(result: RunResult) -> Iterator[str]:
    """Yield the same in pieces, one for each target."""
    counts = result.counts
    root = opening(
        "testsuites",
        name="harness",
        id=result.run,
        tests=len(result.checks),
        failures=counts["failed"],
        errors=sum(counts[outcome] for outcome in _ERRORS),
        skipped=counts["skipped"],
        time=f"{result.duration:.3f}",
        timestamp=stamp(result.started),
    )
    yield f"<?xml version='1.0' encoding='utf-8'?>\n{root}\n"
    for target in result.targets:
        yield "\n".join([*_suite(target, result.started), ""])
    yield "</testsuites>\n"


def _suite(target: TargetResult, started: float) -> list[str]:
    outcomes = [check.outcome for check in target.checks]
    suite = opening(
        "testsuite",
        name=target.target,
        hostname=target.target,
        tests=len(outcomes),
        failures=outcomes.count(Outcome.FAILED),
        errors=sum(outcome in _ERRORS for outcome in outcomes),
        skipped=outcomes.count(Outcome.SKIPPED),
        time=f"{target.duration:.3f}",
        timestamp=stamp(min((check.started for check in target.checks), default=started)),
    )
    lines = [f"  {suite}"]
    for check in target.checks:
        lines += _case(check, target.collected)
    if target.findings:
        said = "\n\n".join(f"{finding.short}\n{finding.text}" for finding in target.findings)
        lines.append(f"    <system-out>{_text(f'Findings on the console{chr(10)}{chr(10)}{said}')}</system-out>")
    return [*lines, "  </testsuite>"]


def _case(check: CheckResult, collected: str) -> list[str]:
    case = opening(
        "testcase",
        classname=f"{check.target}.{check.module.replace('/', '.')}",
        name=check.check,
        file=check.check_id.partition("::")[0],
        time=f"{check.duration:.3f}",
    )
    properties = (
        ("harness.outcome", check.outcome.value),
        ("harness.attempts", check.attempts),
        ("harness.transports", ",".join(check.transports)),
        ("harness.fallbacks", len(check.fallbacks)),
        ("harness.re_reads", check.re_reads),
        ("harness.flaky", str(check.flaky).lower()),
        ("harness.findings", len(check.findings)),
        ("harness.reconnects", check.reconnects),
        ("harness.warnings", len(check.warnings)),
    )
    return [
        f"    {case}",
        "      <properties>",
        *(f'        <property name="{name}" value={_attribute(value)} />' for name, value in properties),
        "      </properties>",
        *_verdict(check, collected),
        *([f"      <system-out>{_text(check.output)}</system-out>"] if check.output else []),
        *_warnings(check),
        "    </testcase>",
    ]


def _verdict(check: CheckResult, collected: str) -> list[str]:
    """What stands in a case that did not simply pass."""
    if check.outcome is Outcome.SKIPPED:
        return [f"      <skipped message={_attribute(check.message)} />"]
    if check.outcome is Outcome.FAILED or check.outcome in _ERRORS:
        name = "failure" if check.outcome is Outcome.FAILED else "error"
        opened = opening(name, message=check.message, type=check.outcome.value)
        return [f"      {opened}{_text(details(check, collected))}</{name}>"]
    if not check.flaky:
        return []
    return [
        f"      {opening('flakyFailure', message='its state changed while it was looked at', type='flaky')}",
        f"        <stackTrace>{_text(details(check))}</stackTrace>",
        "      </flakyFailure>",
    ]


def _warnings(check: CheckResult) -> list[str]:
    """What a person should know of a check whatever its verdict is: CI systems show a case's output where it passed."""
    if not check.warnings:
        return []
    lines = "\n".join(f"warning: {warning}" for warning in check.warnings)
    return [f"      <system-err>{_text(lines)}</system-err>"]


def opening(element: str, /, **attributes: object) -> str:
    """Return an element's opening tag."""
    return f"<{element} {' '.join(f'{key}={_attribute(value)}' for key, value in attributes.items())}>"


def _attribute(value: object) -> str:
    text = str(value)
    return f'"{text if _PLAIN(text) else clean(text).translate(_IN_ATTRIBUTES)}"'


def _text(value: str) -> str:
    return clean(value).translate(_IN_TEXT)


def details(check: CheckResult, collected: str = "") -> str:
    """All that is known about what did not pass, as text. `collected`: the folder with what was kept of its target."""
    lines = [check.message]
    if check.location:
        lines.append(f"at {check.location}")
    lines.extend(f"attempt {seen.attempt} after {seen.at:.1f} s: {seen.seen}" for seen in check.observations)
    lines.extend(f"fell back from {fallback}" for fallback in check.fallbacks)
    lines.extend(f"finding: {finding}" for finding in check.findings)
    lines.extend(f"warning: {warning}" for warning in check.warnings)
    if check.console:
        lines.append("console:")
        lines.extend(f"  {line}" for line in check.console)
    if check.repeat:
        lines.append(f"repeat: {check.repeat}")
    if collected:
        lines.append(f"collected: {collected}")
    return "\n".join(lines)


def clean(text: str) -> str:
    """Text that XML can hold: what it cannot is shown as `\\xNN`."""
    return _FORBIDDEN.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def stamp(seconds: float) -> str:
    """A time as JUnit has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
