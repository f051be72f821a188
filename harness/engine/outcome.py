"""What came of a check, a target and a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from harness.engine.findings.finding import Finding
from harness.errors import ExitCode


class Outcome(StrEnum):
    """The outcomes of a check.

    `passed` and `failed` are verdicts on the target. `error` is a mistake in the check. `infrastructure`: what carries
    the run failed or was short of something, so the target was not judged. `not_run`: the time that the user gave to
    the run, or to the target, passed before the check was run. The last two count against the run: it is not complete.
    """

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNREACHABLE = "unreachable"
    ERROR = "error"
    INFRASTRUCTURE = "infrastructure"
    NOT_RUN = "not_run"


GOOD = frozenset((Outcome.PASSED, Outcome.SKIPPED))
"""Those that do not count against a target."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one attempt saw, at `at` seconds of the time that the check's budget counts."""

    attempt: int
    at: float
    outcome: Outcome
    seen: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check's verdict on a target. Times are in seconds; `started` since the epoch.

    `message` says why for a person, `observations` are the last ones seen, `location` is `file:line` of what failed.
    `attempts` counts all looks, `unreachable` those that no transport carried, which tell nothing of the target.
    `transports` tells which ones served it, `fallbacks` how often one was left. `flaky` marks a state that changed
    within the window. `findings` are those, in one line each, that began while it ran. `timed_out`: no verdict was
    final when its time was up, so what it waited for might have come later. `warnings` tell of the verdict's own
    attempt what its author should know: commands that failed, and whose results the check did not look at.
    `misconfigured`: what was asked for cannot work on any target (a usage error), so it was not tried again. `output`
    is what its attempts printed, shortened where it is long.

    `duration` is the time that the budget counts: looking at the target, and the pauses in between. `delays` is the
    time that harness itself took beside that, by cause, in seconds: see docs/checks.md.
    """

    target: str
    check: str
    module: str
    check_id: str
    outcome: Outcome
    message: str
    started: float
    duration: float
    attempts: int
    unreachable: int = 0
    observations: tuple[Observation, ...] = ()
    transports: tuple[str, ...] = ()
    commands: int = 0
    fallbacks: tuple[str, ...] = ()
    re_reads: int = 0
    location: str = ""
    flaky: bool = False
    repeat: str = ""
    console: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    timed_out: bool = False
    reconnects: int = 0
    is_pure: bool = False
    """Whether an assertion failed in it although it asked the target nothing: diagnostics cannot explain it."""
    warnings: tuple[str, ...] = ()
    misconfigured: bool = False
    output: str = ""
    delays: dict[str, float] = field(default_factory=dict)
    elapsed: float | None = None
    """Seconds from its start to its end, everything included; `duration` is what its budget counts of them."""
    diagnosis: dict[str, Any] | None = None
    """Why it failed, where a diagnosis was made: the ranked causes with their evidence (docs/diagnosis.md)."""

    @property
    def ended(self) -> float:
        """When it ended, in seconds since the epoch."""
        if self.elapsed is not None:
            return self.started + self.elapsed
        return self.started + self.duration + sum(self.delays.values())

    @property
    def label(self) -> str:
        return f"{self.module}::{self.check}"


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What came of a target: its checks, and why it could not be reached, where it could not. `infrastructure` says
    what of the harness's own surroundings failed instead.

    `stages` are the boot's stages with their seconds since power-on; `settled` says in words how the target stood
    before its checks. `findings` are what its console said of it, `finding_counts` how many by name (those too many to
    be told included), `findings_missed` what was required and not seen. `collected` is the folder, relative to the
    run's, with what was kept of a target that failed; empty where there is none.
    """

    target: str
    checks: tuple[CheckResult, ...]
    unreachable: str = ""
    error: str = ""
    stages: tuple[tuple[str, float], ...] = ()
    settled: str = ""
    duration: float = 0.0
    console_log: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    reach: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    finding_counts: dict[str, int] = field(default_factory=dict)
    findings_missed: tuple[str, ...] = ()
    settling: CheckResult | None = None
    collected: str = ""
    infrastructure: str = ""
    misconfigured: bool = False


@dataclass(frozen=True, slots=True, repr=False)  # asyncio asks for the words of a task's result: these would be many
class RunResult:
    """What came of a run. `stalls` is the time in which the process itself could not work, by cause, in seconds."""

    run: str
    started: float
    duration: float
    targets: tuple[TargetResult, ...]
    interrupted: bool = False
    stalls: dict[str, float] = field(default_factory=dict)

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        return tuple(check for target in self.targets for check in target.checks)

    @property
    def counts(self) -> dict[str, int]:
        """How many checks ended in each outcome."""
        found = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        for check in self.checks:
            found[check.outcome.value] += 1
        return found

    @property
    def exit_code(self) -> ExitCode:
        """The worst that happened, as the process tells it."""
        outcomes = {check.outcome for check in self.checks}
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if any(target.error and not target.misconfigured for target in self.targets):
            return ExitCode.INTERNAL
        if any(target.misconfigured for target in self.targets) or any(check.misconfigured for check in self.checks):
            return ExitCode.USAGE
        failed = bool(outcomes & {Outcome.FAILED, Outcome.ERROR, Outcome.NOT_RUN})
        short = Outcome.INFRASTRUCTURE in outcomes or any(target.infrastructure for target in self.targets)
        if any(target.unreachable for target in self.targets):
            return ExitCode.INFRASTRUCTURE if short and not failed else ExitCode.UNREACHABLE
        if failed:
            return ExitCode.FAILED
        if short:
            return ExitCode.INFRASTRUCTURE
        if Outcome.UNREACHABLE in outcomes:
            return ExitCode.FAILED if Outcome.PASSED in outcomes else ExitCode.UNREACHABLE
        return ExitCode.PASSED


def plain(result: RunResult) -> dict[str, Any]:
    """What `results.json` holds, by name."""
    document = {field.name: getattr(result, field.name) for field in fields(result)}
    document["counts"] = result.counts
    document["exit_code"] = int(result.exit_code)
    document["schema"] = "harness.results/1"
    return document


def diagnosis_fields(diagnosis: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a diagnosis as `check.end` has it: the first cause with its evidence, and the names of the others."""
    if not diagnosis or not diagnosis["causes"]:
        return None
    first, *others = diagnosis["causes"]
    return {
        "cause": first["cause"],
        "certainty": first["certainty"],
        "headline": diagnosis["headline"],
        "evidence": first["evidence"],
        "against": first["against"],
        "other_causes": [each["cause"] for each in others],
        "not_asked": [f"{each['what']}: {each['why']}" for each in diagnosis["not_asked"]],
    }


def diagnosis_lines(diagnosis: object) -> tuple[str, ...]:
    """Return a diagnosis for a report, a line for each fact: the headline first, then its evidence, the other causes,
    what came of each transport, and what was not asked.

    `diagnosis` is as `results.json` has it, or as `check.end` has it (:func:`diagnosis_fields`). It is read back from
    files, so what does not have the expected type is left out.
    """
    if not isinstance(diagnosis, Mapping) or not isinstance(diagnosis.get("headline"), str):
        return ()
    causes = _mappings(diagnosis.get("causes"))
    first = causes[0] if causes else diagnosis
    lines = [diagnosis["headline"], *(f"evidence: {each}" for each in _strings(first.get("evidence")))]
    lines += [f"against it: {each}" for each in _strings(first.get("against"))]
    for cause in causes[1:]:
        word = "possible" if cause.get("certainty") == "possible" else "also"
        evidence = _strings(cause.get("evidence"))
        lines.append(f"{word}: {cause.get('sentence', '')}{f' ({evidence[0]})' if evidence else ''}")
    lines += [f"other cause: {each}" for each in _strings(diagnosis.get("other_causes"))]
    for seen in _mappings(diagnosis.get("transports")):
        message = f": {seen['message']}" if seen.get("message") else ""
        lines.append(f"{seen.get('transport', '')} {str(seen.get('contact', '')).replace('_', ' ')}{message}")
    lines += [f"not asked: {each}" for each in _strings(diagnosis.get("not_asked"))]
    lines += [f"not asked: {each.get('what')}: {each.get('why')}" for each in _mappings(diagnosis.get("not_asked"))]
    return tuple(line for line in lines if line)


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list | tuple) else []


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


@dataclass(frozen=True, slots=True)
class Reason:
    """The fields of `check.end` that give the reason of an outcome; None where the event does not have the field."""

    error_message: str | None = None
    error_type: str | None = None
    why: str | None = None


def reason_of(outcome: Outcome, message: str, error_type: str) -> Reason:
    """Return the reason of an outcome: a passed check has none, a skipped one has no error. An empty `error_type` (the
    class of the error) is not known."""
    if outcome is Outcome.PASSED:
        return Reason()
    if outcome is Outcome.SKIPPED:
        return Reason(why=message or None)
    return Reason(message or None, error_type or None)
