"""A report as one JSON document, for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import orjson

from harness.events.record import plain
from harness.report.case import warnings_of
from harness.report.json_pieces import json_pieces
from harness.report.read import Run
from harness.soak.clusters import Cluster
from harness.soak.compare import Comparison, Pair
from harness.soak.figures import Figures
from harness.soak.recovery import Spell, spells
from harness.soak.statistics.difference import Difference
from harness.soak.statistics.survival import Quantile
from harness.soak.stored import MarkIndex
from harness.soak.summary import Summary

SCHEMA = "harness.report/1"
COMPARISON_SCHEMA = "harness.comparison/1"


def report_json(run: Run, summary: Summary) -> str:
    """All figures of a run. Shares are from 0 to 1, times in seconds, points in time in seconds since the epoch; what
    the data cannot tell is null."""
    return "".join(report_pieces(run, summary))


def report_pieces(run: Run, summary: Summary) -> Iterator[str]:
    """Yield the same in pieces: a check, a cluster or a mark at a time is in memory as text."""
    marks = MarkIndex.of(run.marks)
    return json_pieces(
        {
            "schema": SCHEMA,
            "run": run.run,
            "command": run.command,
            "started": run.started,
            "duration": run.duration,
            "ended": run.ended,
            "iterations": summary.iterations,
            "unfinished_trials": run.unfinished,
            "notes": list(run.notes),
            "confidence": summary.demand.confidence,
            "demanded_rate": summary.demand.rate,
            "verdict": {"word": summary.verdict.word, "sentence": summary.verdict.sentence},
            "total": figures_document(summary.total),
            "clean_iterations": {**asdict(summary.clean_iterations), "value": summary.clean_iterations.value},
            "checks": (figures_document(row) for row in summary.rows),
            "warnings": [
                {"check": check, "target": target, "warning": warning, "count": count}
                for (check, target, warning), count in warnings_of(run.trials).most_common()
            ],
            "by_transport": (figures_document(row) for row in summary.split),
            "clusters": (_cluster(each) for each in summary.clusters),
            "drifts": [asdict(drift) for drift in summary.drifts],
            "worse_targets": [{"check": check, **asdict(outlier)} for check, outlier in summary.worst],
            **{
                name: [_spell(each) for each in spells(marks.of_kind(kind), kind, summary.demand.confidence)]
                for name, kind in (("recoveries", "recovery"), ("resets", "reset"))
            },
            "marks": (asdict(mark) for mark in marks),
        }
    )


def comparison_json(first: Run, second: Run, found: Comparison) -> str:
    """A comparison; differences are the second less the first."""
    return _json(
        {
            "schema": COMPARISON_SCHEMA,
            "first": first.run,
            "second": second.run,
            "verdict": found.verdict.value,
            "sentence": found.sentence,
            "margin": found.margin,
            "checks": [_pair(pair) for pair in found.pairs],
            "only_first": list(found.only_first),
            "only_second": list(found.only_second),
        }
    )


def figures_document(row: Figures) -> dict[str, Any]:
    """Figures in JSON's own types."""
    return {
        "check": row.check,
        "target": row.target,
        "transport": row.transport,
        "trials": row.trials,
        "outcomes": row.outcomes,
        "pass_rate": {**asdict(row.clean), "value": row.clean.value},
        "flaky_rate": {**asdict(row.flaky), "value": row.flaky.value},
        "runs_needed": row.needed,
        "settle": {
            "settled": row.settle.settled,
            "censored": row.settle.censored,
            "never": row.settle.never,
            **{quantile_name(each): asdict(each) for each in row.settle.quantiles},
            "curve": [[step.at, step.unsettled] for step in row.settle.curve] if row.check else [],
        },
        "attempts": {str(number): count for number, count in row.attempts.items()},
        "mean_time_between_failures": asdict(row.between) if row.between else None,
        "commands": row.commands,
        "per_thousand_commands": row.per_thousand or None,
        "recovery": asdict(row.recovery) if row.recovery else None,
        "failing_trend": asdict(row.failing_trend) if row.failing_trend else None,
        "settle_trend": asdict(row.settle_trend) if row.settle_trend else None,
        "settle_thirds": asdict(row.thirds) if row.thirds else None,
    }


def quantile_name(found: Quantile) -> str:
    """`p50`, `p90`, `p99`."""
    return f"p{100 * found.share:g}"


def _cluster(found: Cluster) -> dict[str, Any]:
    example = found.example
    return {
        "outcome": found.outcome,
        "signature": found.signature,
        "count": len(found.trials),
        "checks": list(found.checks),
        "targets": list(found.targets),
        "transports": list(found.transports),
        "faults": list(found.faults),
        "known": list(found.known),
        "iterations": list(found.iterations),
        "example": asdict(example),
    }


def _spell(found: Spell) -> dict[str, Any]:
    quantiles = {quantile_name(each): asdict(each) for each in found.quantiles}
    return {"name": found.name, "count": found.count, "ended": found.ended, **quantiles, "longest": found.longest}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "check": pair.check,
        "target": pair.target,
        "verdict": pair.verdict.value,
        "why": pair.why,
        "first": figures_document(pair.first),
        "second": figures_document(pair.second),
        "rate_difference": _difference(pair.rate, pair.rate_p),
        "judged_difference": _difference(pair.judged, pair.judged_p),
        "log_rank": {"z": pair.settle.sooner, "p": pair.settle_p} if pair.settle else None,
    }


def _difference(found: Difference | None, p: float) -> dict[str, float] | None:
    return {"value": found.value, "low": found.low, "high": found.high, "p": p} if found else None


def _json(document: dict[str, Any]) -> str:
    return orjson.dumps(plain(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
