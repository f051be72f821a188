"""A check that did not pass, carried once more: a pass then is no clean pass. Pure."""

from __future__ import annotations

from dataclasses import replace

from harness.engine.captured import shortened
from harness.engine.outcome import CheckResult, Outcome

WORTH_ANOTHER = frozenset((Outcome.FAILED, Outcome.UNREACHABLE))
"""A mistake in a check is there the next time, too."""


def after_another(first: CheckResult, second: CheckResult) -> CheckResult:
    """What both come to: a flaky pass where the second one passed, with what the first one saw; else the first verdict.
    All that was spent is counted."""
    spent = {
        name: getattr(first, name) + getattr(second, name)
        for name in ("attempts", "unreachable", "commands", "re_reads", "reconnects", "fallbacks")
    }
    spent["warnings"] = tuple(dict.fromkeys(first.warnings + second.warnings))
    spent["output"] = shortened(first.output + second.output)
    spent["transports"] = tuple(dict.fromkeys(first.transports + second.transports))
    if second.outcome is not Outcome.PASSED:
        return replace(first, **spent)
    return replace(
        second,
        flaky=True,
        started=first.started,
        duration=second.started + second.duration - first.started,
        message=f"passed only when it was carried once more; before: {first.message}",
        observations=(*first.observations[-2:], *second.observations[-1:]),
        location=first.location,
        **spent,
    )
