"""A report as Markdown, for the summary page of a CI job (GitHub's dialect)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.report import words
from harness.report.case import details, warnings_of
from harness.report.read import Run, when
from harness.report.visible import visible
from harness.soak.clusters import Cluster
from harness.soak.compare import Comparison
from harness.soak.summary import Summary

MOST_FAILURES = 20
MOST_ROWS = 100
LONGEST = 900_000
"""Bytes of a whole page: GitHub drops a job's summary above 1 MiB."""

_SIGNS = {
    "passed": "✅", "failed": "❌", "flaky": "⚠️", "unreachable": "🔌", "error": "❌", "internal": "❌",
    "infrastructure": "🔌", "not_run": "❔", "skipped": "⏭️", "nothing": "❔",
    "better": "✅", "same": "✅", "worse": "❌", "too few data": "❔",
}  # fmt: skip
# What Markdown, HTML or GitHub may read as more than a character: an entity is never read as markup. Letters around an
# underscore keep it one, and a colon is a picture's name only before another one.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|&~@$]|(?<!\w)_|_(?!\w)|:(?=[\w+-]+:)")


def report_markdown(run: Run, summary: Summary) -> str:
    """The verdict, the figures, what did not pass cleanly with what was seen, and the checks that are not clean."""
    kind = "Soak" if run.is_soak else "Run"
    lines = [f"## {_SIGNS[summary.verdict.word]} {kind} {text(run.run)}: {summary.verdict.word}", ""]
    lines += [f"**{text(summary.verdict.sentence)}**", ""]
    told = [when(run.started), words.seconds(run.duration), words.many(len(run.targets), "target")]
    if run.is_soak:
        told.append(words.many(max(summary.iterations.values()), "iteration"))
    lines += [", ".join(told) + (f", {code(run.command)}" if run.command else ""), ""]
    lines += [f"> {text(note)}" for note in run.notes] + [""] * bool(run.notes)
    lines += _total(summary, run.is_soak)
    lines += _failures(summary.clusters)
    lines += _warned(run)
    lines += _rows(summary, run.is_soak)
    lines += _found(summary)
    return _bounded("\n".join(lines).rstrip() + "\n")


def comparison_markdown(first: Run, second: Run, found: Comparison) -> str:
    """The verdict, and each check with its difference and its p-values."""
    lines = [
        f"## {_SIGNS[found.verdict.value]} {text(second.run)} against {text(first.run)}: {found.verdict.value}",
        "",
        text(found.sentence),
        "",
        "| check | verdict | pass rate before | after | difference (points) | p | settles (p50) before | after | p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for pair in found.pairs[:MOST_ROWS]:
        a, b = pair.first, pair.second
        cells = [
            text(f"{pair.check} on {pair.target}" if pair.target else pair.check),
            f"{_SIGNS[pair.verdict.value]} {pair.verdict.value}: {text(pair.why)}",
            f"{words.percent(a.clean.value)} of {a.judged}",
            f"{words.percent(b.clean.value)} of {b.judged}",
            f"{100 * pair.rate.low:+.1f} to {100 * pair.rate.high:+.1f}" if pair.rate else words.NONE,
            words.chance(pair.rate_p) if pair.rate else words.NONE,
            words.by_when(a.settle.quantiles[0]),
            words.by_when(b.settle.quantiles[0]),
            words.chance(pair.settle_p) if pair.settle else words.NONE,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if len(found.pairs) > MOST_ROWS:
        lines += ["", f"{len(found.pairs) - MOST_ROWS} more checks are not shown here."]
    for names, run in ((found.only_first, first), (found.only_second, second)):
        if names:
            lines += ["", f"Only in {text(run.run)}: {text(words.some(names, 10))}"]
    return _bounded("\n".join(lines) + "\n")


def text(value: str) -> str:
    """Text that is nothing but text in Markdown, in one line."""
    line = " ".join(visible(value).split())
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", line)


def code(value: str) -> str:
    """Text in a fixed font."""
    return f"<code>{text(value)}</code>"


def _total(summary: Summary, is_soak: bool) -> list[str]:
    total, clean = summary.total, summary.clean_iterations
    cells = {
        "trials": f"{total.trials:,}",
        "passed": f"{total.clean.count:,} ({words.percent(total.clean.value)})",
        "flaky": f"{total.flaky.count:,}",
        "failed": f"{total.failed:,}",
    }
    if is_soak:
        cells |= {
            "clean iterations": f"{words.percent(clean.value)} ({words.interval(clean)})",
            "settles p50 / p90 / p99": " / ".join(words.by_when(each) for each in total.settle.quantiles),
            "between failures": words.between(total.between),
        }
    cells |= {
        "per 1,000 commands": ", ".join(
            f"{words.per_thousand(value)} {name.replace('_', '-')}" for name, value in total.per_thousand.items()
        )
        or words.NONE,
    }
    return [f"| {' | '.join(cells)} |", "|" + "---|" * len(cells), f"| {' | '.join(cells.values())} |", ""]


def _failures(found: Iterable[Cluster]) -> list[str]:
    shown = list(found)
    lines: list[str] = ["### What did not pass", ""] if shown else []
    for cluster in shown[:MOST_FAILURES]:
        example = cluster.example
        said = example.message or cluster.signature or cluster.outcome
        where = f"{words.some(cluster.checks, 3)} on {words.some(cluster.targets, 3)}"
        count = len(cluster.trials)
        lines += [
            "<details>",
            f"<summary>{_SIGNS[cluster.outcome]} {cluster.outcome}{f' ({count:,} times)' if count > 1 else ''}: "
            f"{text(where)}: {text(said if len(said) <= 300 else f'{said[:300]}…')}</summary>",
            "",
            f"<pre>{_pre(details(example)[:6000])}</pre>",
            "</details>",
            "",
        ]
    if len(shown) > MOST_FAILURES:
        lines += [f"{len(shown) - MOST_FAILURES} more kinds of failure are not shown here.", ""]
    return lines


def _warned(run: Run) -> list[str]:
    found = warnings_of(run.trials)
    lines = [
        f"- {text(check)} on {text(target)}: {text(warning)}{f' ({count:,} times)' if count > 1 else ''}"
        for (check, target, warning), count in found.most_common(MOST_FAILURES)
    ]
    return ["### Warnings", "", *lines, ""] if lines else []


def _pre(value: str) -> str:
    """Lines of their own inside `<pre>`, where an empty one must not end the HTML: each line end is an entity."""
    lines = visible(value).split("\n")
    return "&#10;".join(_SPECIAL.sub(lambda match: f"&#{ord(match[0])};", line) for line in lines)


def _rows(summary: Summary, is_soak: bool) -> list[str]:
    rows = [row for row in summary.rows if row.unclean or row.judged < row.trials]
    if not is_soak or not rows:
        return []
    rows.sort(key=lambda row: (row.clean.low, row.check, row.target))
    lines = ["### Checks that are not clean", ""]
    lines += ["| check | target | pass rate | interval | failed | flaky | others | p50 | p99 | runs needed |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows[:MOST_ROWS]:
        cells = [
            text(row.check),
            text(row.target),
            words.percent(row.clean.value),
            words.interval(row.clean),
            str(row.failed),
            str(row.flaky.count),
            str(row.trials - row.judged),
            words.by_when(row.settle.quantiles[0]),
            words.by_when(row.settle.quantiles[2]),
            f"{row.needed:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if len(rows) > MOST_ROWS:
        lines += ["", f"{len(rows) - MOST_ROWS} more are not shown here."]
    return [*lines, ""]


def _found(summary: Summary) -> list[str]:
    lines = [
        f"- Drift: {text(drift.check)} on {text(drift.target)} "
        + {
            ("failing", True): "fails more and more often", ("failing", False): "fails less and less often",
            ("settling", True): "takes longer and longer", ("settling", False): "settles sooner and sooner",
        }[drift.what, drift.strength > 0]
        + f" (p {words.chance(drift.p)})"
        for drift in summary.drifts[:20]
    ]  # fmt: skip
    lines += [
        f"- {text(outlier.target)} is worse than the other targets"
        + (f" in {text(check)}" if check else "")
        + f": {outlier.failures} of {outlier.total} against {outlier.others_failures} of {outlier.others_total} "
        f"(p {words.chance(outlier.p)})"
        for check, outlier in summary.worst[:20]
    ]
    return ["### What changed, and which target is worse", "", *lines, ""] if lines else []


def _bounded(page: str) -> str:
    if len(page.encode()) <= LONGEST:
        return page
    whole = page.encode()[:LONGEST].decode(errors="ignore").rpartition("\n\n")[0]
    return f"{whole}\n\nThis page was cut: it is too long for a CI summary. The whole is in the HTML report.\n"
