"""What GitHub shows of a job: annotations beside the code, and the job's summary.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.report.case import Case, cases
from harness.report.read import Run
from harness.report.visible import visible
from harness.soak.trial import TrialOutcome

MOST = 10
"""Annotations of a kind that GitHub shows of one step; more are dropped there without a word."""
LONGEST = 4000


def runs_there(environment: Mapping[str, str]) -> bool:
    """Whether this is a GitHub Actions job."""
    return environment.get("GITHUB_ACTIONS") == "true"


def annotate(run: Run, workspace: Path) -> list[str]:
    """A workflow command for each check on each target that did not pass (an error) or was flaky (a warning).
    `workspace` is the folder that paths are relative to."""
    found = cases(run.trials)
    errors = [case for case in found if case.outcome not in (TrialOutcome.PASSED, TrialOutcome.SKIPPED)]
    flaky = [case for case in found if case.outcome is TrialOutcome.PASSED and case.flaky]
    lines = [_command("error", case, workspace) for case in errors[:MOST]]
    lines += [_command("warning", case, workspace) for case in flaky[:MOST]]
    left = max(0, len(errors) - MOST) + max(0, len(flaky) - MOST)
    if left:
        lines.append(f"::notice title=harness::{left} more checks are not annotated; they stand in the report")
    return lines


def add_summary(environment: Mapping[str, str], markdown: str) -> None:
    """Adds a page to the job's summary, where there is one. Raises UsageError where it cannot be written."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown + "\n")
    except OSError as error:
        raise UsageError(
            f"cannot write the job's summary {path}: {error.strerror}", hint="GITHUB_STEP_SUMMARY names it."
        ) from error


def _command(kind: str, case: Case, workspace: Path) -> str:
    place, _, line = case.worst[-1].location.rpartition(":")
    if not place or not (line.isascii() and line.isdigit()):
        place, line = case.path, ""
    path = Path(place)
    if path.is_absolute() and path.is_relative_to(workspace):
        place = str(path.relative_to(workspace))
    if case.outcome is TrialOutcome.PASSED:
        trial = case.flaky[-1]
        message = f"{len(case.flaky)} of {len(case.trials)} passes were flaky; the last: {trial.message or 'flaky'}"
    else:
        message = case.message
    fields = {"file": place, "line": line, "title": f"{case.first.label} on {case.first.target}"}
    told = ",".join(f"{name}={_field(value)}" for name, value in fields.items() if value)
    return f"::{kind} {told}::{_data(message[:LONGEST])}"


def _data(value: str) -> str:
    return visible(value).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _field(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
