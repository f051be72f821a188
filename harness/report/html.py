"""A report as one HTML page that needs nothing else: no network, no script, no framework."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from harness.report import charts, words
from harness.report.case import Case, cases, warnings_of
from harness.report.document import quantile_name
from harness.report.read import Run, when
from harness.report.visible import visible
from harness.soak.compare import Comparison
from harness.soak.figures import Figures
from harness.soak.recovery import all_spells, spells
from harness.soak.signature import signature
from harness.soak.stored import MarkIndex, TrialIndex
from harness.soak.summary import Drift, Summary
from harness.soak.trial import Trial, TrialOutcome
from harness.soak.trials import Mark

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CLUSTERS = 60
MOST_ROWS = 400
MOST_CURVES = 60
MOST_TARGETS = 30
MOST_RESETS = 100
MOST_TRANSPORTS = 6
MOST_BEFALLEN = 20
MOST_DRIFTS = 12
_BUFFERED = 100  # of the template's pieces, which are a few words each
COLOURS = 6
"""The number of colours of curves; those of more targets have one colour."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A lane of a target's time line."""

    name: str
    drawing: str


@dataclass(frozen=True, slots=True)
class _Befallen:
    """Marks of a target with the same text: how often, and the text of the first one."""

    kind: str
    name: str
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class _Story:
    """A target's time line with what is known of it."""

    target: str
    told: str
    lines: tuple[_Line, ...]
    stages: str
    befell: tuple[_Befallen, ...]
    befell_left: int


@dataclass(frozen=True, slots=True)
class _Curves:
    """One check's settle curves."""

    check: str
    told: str
    drawing: str


def report_html(run: Run, summary: Summary) -> str:
    """The whole page: verdict first, then what did not pass, then all figures."""
    return "".join(report_pieces(run, summary))


def report_pieces(run: Run, summary: Summary) -> Iterator[str]:
    """Yield the same in pieces."""
    index = TrialIndex.of(run.trials)
    last, by_row = index.last_iteration, index.rows
    marks = MarkIndex.of(run.marks)
    targets = run.targets
    rows = sorted(summary.rows, key=_worst_first)
    told = sorted(cases(index), key=_case_order) if not run.is_soak else []
    return _page(
        "report.html",
        title=f"{run.run}: {summary.verdict.word}",
        run=run,
        summary=summary,
        started=when(run.started),
        last=last,
        finished=max(summary.iterations.values(), default=0),
        is_soak=run.is_soak,
        targets=targets,
        total=summary.total,
        clusters=summary.clusters[:MOST_CLUSTERS],
        clusters_left=len(summary.clusters) - MOST_CLUSTERS,
        cases=told[:MOST_ROWS],
        warned=_warned(index),
        cases_left=len(told) - MOST_ROWS,
        rows=rows[:MOST_ROWS],
        rows_left=len(rows) - MOST_ROWS,
        split=_split(summary),
        grid=[(row, charts.grid_row(by_row[row.check, row.target], last)) for row in rows[:MOST_ROWS]],
        per_column=-(-last // charts.COLUMNS),
        curves=_curves(summary),
        colours=targets if 1 < len(targets) <= COLOURS else (),
        stories=[_story(run, index, marks, target) for target in targets[:MOST_TARGETS]],
        drifts=_drifts(summary, by_row, last),
        drifts_left=len(summary.drifts) - MOST_DRIFTS,
        elapsed=_elapsed(run),
        recovery=all_spells(marks.of_kind("recovery"), "recovery", summary.demand.confidence),
        recoveries=spells(marks.of_kind("recovery"), "recovery", summary.demand.confidence),
        resets=spells(marks.of_kind("reset"), "reset", summary.demand.confidence),
    )


def comparison_html(first: Run, second: Run, found: Comparison) -> str:
    """The page of a comparison."""
    return "".join(comparison_pieces(first, second, found))


def comparison_pieces(first: Run, second: Run, found: Comparison) -> Iterator[str]:
    """Yield the same in pieces."""
    return _page(
        "comparison.html",
        title=f"{second.run} against {first.run}: {found.verdict.value}",
        first=first,
        second=second,
        found=found,
        pairs=found.pairs[:MOST_ROWS],
        pairs_left=len(found.pairs) - MOST_ROWS,
        drawings=[
            charts.settle_curves(
                [
                    charts.Curve("before", 1, pair.first.settle.curve),
                    charts.Curve("after", 0, pair.second.settle.curve),
                ],
                _longest([pair.first, pair.second]),
            )
            if pair.first.settle.curve or pair.second.settle.curve
            else ""
            for pair in found.pairs[:MOST_CURVES]
        ],
    )


def _warned(trials: Sequence[Trial]) -> list[tuple[str, str, int]]:
    """The check, its warning, and how often it was given; the most frequent first."""
    found = warnings_of(trials)
    return [
        (f"{check} on {target}", warning, count) for (check, target, warning), count in found.most_common(MOST_ROWS)
    ]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = resources.files("harness.report") / "page"
    environment = Environment(
        loader=FileSystemLoader(str(folder)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters.update(
        percent=words.percent, interval=words.interval, seconds=words.seconds, span=words.span, between=words.between,
        between_span=words.between_span, chance=words.chance, many=words.many, some=words.some, ranges=words.ranges,
        per_thousand=words.per_thousand, quantile_name=quantile_name, svg=Markup, rate_bar=charts.rate_bar,
        bars=charts.bars, floor_of=charts.floor_of, kind=charts.kind, points=words.points, by_when=words.by_when,
    )  # fmt: skip
    return environment


def _page(template: str, **values: Any) -> Iterator[str]:
    stream = _environment().get_template(template).stream(css=_css(), **values)
    stream.enable_buffering(_BUFFERED)
    return stream


@cache
def _css() -> str:
    return (resources.files("harness.report") / "page" / "style.css").read_text(encoding="utf-8")


def _worst_first(row: Figures) -> tuple[object, ...]:
    lost = row.trials - row.judged - row.outcomes["skipped"]
    return (not (row.unclean or lost), row.clean.value if row.clean.value is not None else 1.0, row.check, row.target)


def _case_order(case: Case) -> tuple[object, ...]:
    return (case.outcome.value in ("passed", "skipped") and not case.flaky, case.first.target)


def _split(summary: Summary) -> list[Figures]:
    worst = {(row.check, row.target): _worst_first(row) for row in summary.rows}
    return sorted(summary.split, key=lambda row: (worst[row.check, row.target], row.transport))[:MOST_ROWS]


def _curves(summary: Summary) -> list[_Curves]:
    """One drawing a check, those that settle last first; with a curve for each target."""
    by_check: dict[str, list[Figures]] = defaultdict(list)
    for row in summary.rows:
        if row.settle.curve:
            by_check[row.check].append(row)
    order = {target: number for number, target in enumerate(summary.iterations)}
    found = []
    for check, rows in sorted(by_check.items(), key=lambda item: -_slowest(item[1])):
        drawn = charts.settle_curves(
            [charts.Curve(row.target, order.get(row.target, 0) % COLOURS, row.settle.curve) for row in rows],
            _longest(rows),
        )
        told = [
            (f"{row.target}: " if len(rows) > 1 else "")
            + ", ".join(f"{quantile_name(each)} {words.by_when(each)}" for each in row.settle.quantiles)
            + (f"; {row.settle.censored} timed out" if row.settle.censored else "")
            + (f"; {row.settle.never} never would" if row.settle.never else "")
            for row in rows[:COLOURS]
        ]
        found.append(_Curves(check, "\n".join(told), drawn))
    return found[:MOST_CURVES]


def _slowest(rows: list[Figures]) -> float:
    return max(row.settle.quantiles[-1].value or row.settle.curve[-1].at for row in rows)


def _longest(rows: list[Figures]) -> float:
    return max((row.settle.curve[-1].at for row in rows if row.settle.curve), default=1.0) * 1.02


def _story(run: Run, index: TrialIndex, marks: MarkIndex, target: str) -> _Story:
    resets = marks.number_of(target, "reset")
    # Of wall time, which a resumed soak has more of than it has run.
    start = run.started
    end = max(start + max(run.duration, 0.001), index.end_of(target))
    ways: dict[str, charts.Lane] = {}
    unclean = charts.Lane(start, end)
    for trial in index.of_target(target):
        for way in trial.transports:
            if way not in ways:
                ways[way] = charts.Lane(start, end, exact=True)
            ways[way].add(*charts.served(trial, way))
        if not trial.clean and trial.outcome is not TrialOutcome.SKIPPED:
            unclean.add(*charts.unclean(trial))
    kinds = {name: kinds for name, kinds in _LANES.items() if name != "resets" or resets <= MOST_RESETS}
    marked = {name: charts.Lane(start, end) for name in kinds}
    for mark in marks.of_target(target):
        for name, wanted in kinds.items():
            if mark.kind in wanted:
                marked[name].add(*charts.marked(mark))
    lanes = [*sorted(ways.items(), reverse=True)[:MOST_TRANSPORTS], ("not clean", unclean), *marked.items()]
    story = next((each for each in run.stories if each.name == target), None)
    told = f"{words.many(resets, 'reset')}, not drawn" if resets > MOST_RESETS else ""
    stages = ""
    if story is not None:
        told = story.unreachable or story.settled
        stages = ", ".join(f"{name} after {words.seconds(at)}" for name, at in story.stages)
    befell = _befallen(marks.of_target(target), target)
    return _Story(
        target,
        told,
        tuple(_Line(name, lane.svg()) for name, lane in lanes if lane),
        stages,
        befell[:MOST_BEFALLEN],
        len(befell) - MOST_BEFALLEN,
    )


_LANES = {
    "faults": ("fault", "recovery", "missed"),
    "resets": ("reset",),
    "findings": ("finding", "unreachable", "boot"),
    "fallbacks": ("fallback", "recovered"),
    "clock": ("clock",),
}
"""The lanes of a time line that have marks, each with their kinds."""


def _befallen(marks: Iterable[Mark], target: str) -> tuple[_Befallen, ...]:
    """Findings, fallbacks and the like, those that say the same together; the most frequent first."""
    found: dict[tuple[str, str, str], tuple[int, str]] = {}
    for mark in marks:
        if mark.kind not in _DRAWN_ONLY:
            key = mark.kind, mark.name, signature(mark.text, [target])
            count, text = found.get(key, (0, mark.text))
            found[key] = count + 1, text
    made = [_Befallen(kind, name, count, text) for (kind, name, _), (count, text) in found.items()]
    return tuple(sorted(made, key=lambda each: -each.count))


_DRAWN_ONLY = ("iteration", "reset", "recovery", "recovered")


def _elapsed(run: Run) -> list[str]:
    return [words.seconds(run.duration * part / 4) if part else "0" for part in range(5)]


def _drifts(
    summary: Summary, by_row: Mapping[tuple[str, str], Sequence[Trial]], last: int
) -> list[tuple[Drift, str, str]]:
    """Each drift with its words and its drawing."""
    rows = {(row.check, row.target): row for row in summary.rows}
    found = [(each, (each.check, each.target)) for each in summary.drifts[:MOST_DRIFTS]]
    return [(each, _drift_words(each, rows[key]), charts.drift(by_row[key], last)) for each, key in found]


def _drift_words(drift: Drift, row: Figures) -> str:
    rises = drift.strength > 0
    if drift.what == "failing":
        return "fails more and more often" if rises else "fails less and less often"
    said = "takes longer and longer to settle" if rises else "settles sooner and sooner"
    if row.thirds is None:
        return said
    return f"{said}: {words.seconds(row.thirds.first)} in the first third, {words.seconds(row.thirds.last)} in the last"
