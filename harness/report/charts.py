"""The drawings of a report, as SVG of its own: colours are classes, which the page's style sheet gives for light and
dark. Numbers in, markup out; the only text in it is escaped.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as escape_html
from statistics import median

from harness.report import words
from harness.report.visible import visible
from harness.soak.figures import Figures
from harness.soak.statistics.survival import Step
from harness.soak.trial import Trial, TrialOutcome
from harness.soak.trials import Mark

COLUMNS = 250
"""Most columns of a grid: more iterations share one, which then shows the gravest outcome among them."""
_TITLED = 60
_LANE = 1000
_TOUCHING = 0.5
_TITLES = 5

_GRAVITY = ("failed", "error", "internal", "unreachable", "infrastructure", "not_run", "flaky", "passed", "skipped")
_UNTITLED = ("passed", "skipped")


def kind(trial: Trial) -> str:
    """What a trial is drawn as: its outcome, or `flaky`."""
    return "flaky" if trial.outcome is TrialOutcome.PASSED and trial.flaky else trial.outcome.value


# -- the grid ----------------------------------------------------------------------------------------------------------


def grid_row(trials: Iterable[Trial], last: int) -> str:
    """A check's iterations from 1 to `last` in one row."""
    per = max(1, math.ceil(last / COLUMNS))
    columns = math.ceil(last / per)
    worst: dict[int, tuple[int, list[int]]] = {}
    for trial in trials:
        column, gravity = (trial.iteration - 1) // per, _GRAVITY.index(kind(trial))
        known, iterations = worst.get(column, (len(_GRAVITY), []))
        if gravity < known:
            worst[column] = (gravity, [trial.iteration])
        elif gravity == known and _GRAVITY[gravity] not in _UNTITLED:
            iterations.append(trial.iteration)
    wide = 1.0 if columns > 60 else 0.86
    odd = {column: each for column, each in worst.items() if _GRAVITY[each[0]] not in _UNTITLED}
    parts = []
    for gravity, name in enumerate(_GRAVITY):
        of_kind = sorted(column for column, (found, _) in worst.items() if found == gravity)
        if name in _UNTITLED or len(odd) > _TITLED:
            parts.append(_cells(of_kind, name, wide))
            continue
        parts += (
            f'<rect class="{name}" x="{column}" y="0" width="{wide}" height="1">'
            f"<title>{name} in iteration {escape(words.ranges(worst[column][1]))}</title></rect>"
            for column in of_kind
        )
    return (
        f'<svg class="row" viewBox="0 0 {columns} 1" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _cells(columns: Sequence[int], name: str, wide: float) -> str:
    """Cells of one kind as one path; those side by side as one box where there is no gap between cells."""
    if not columns:
        return ""
    runs: list[list[int]] = []
    for column in columns:
        if wide == 1.0 and runs and column == runs[-1][1] + 1:
            runs[-1][1] = column
        else:
            runs.append([column, column])
    path = "".join(f"M{low} 0h{high - low + wide:g}v1H{low}z" for low, high in runs)
    return f'<path class="{name}" d="{path}"/>'


# -- rates -------------------------------------------------------------------------------------------------------------


def rate_bar(row: Figures, floor: float = 0.0) -> str:
    """A pass rate with its interval, on a line from `floor` to 100 %."""
    rate = row.clean
    if rate.value is None:
        return ""

    def x(share: float) -> float:
        return max(0.0, 100 * (share - floor) / (1 - floor))

    return (
        '<svg class="rate" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" x="0" y="4" width="100" height="4"/>'
        f'<rect class="span" x="{x(rate.low):.2f}" y="2" width="{max(0.8, x(rate.high) - x(rate.low)):.2f}" '
        f'height="8"/><rect class="point" x="{min(98.5, x(rate.value)):.2f}" y="0" width="1.5" height="12"/></svg>'
    )


def bars(counts: dict[int, int], most: int = 8) -> str:
    """Trials by their attempts, the last bar being all above."""
    if not counts:
        return ""
    shown = {number: counts.get(number, 0) for number in range(1, most)}
    above = sum(count for number, count in counts.items() if number >= most)
    heights = [*shown.values(), above]
    while len(heights) > 3 and not heights[-1]:
        heights.pop()
    tallest = max(heights) or 1
    drawn = "".join(
        f'<rect class="bar" x="{index * 6}" y="{16 - tall:.1f}" width="5" height="{tall:.1f}"/>'
        for index, count in enumerate(heights)
        if (tall := max(1.5, 16 * count / tallest) if count else 0.0)
    )
    said = ", ".join(
        f"{count:,} with {number}{'+' if number == most else ''}" for number, count in enumerate(heights, 1) if count
    )
    return (
        f'<svg class="bars" viewBox="0 0 {len(heights) * 6} 16" role="img"><title>trials by attempts: {said}</title>'
        f"{drawn}</svg>"
    )


def floor_of(rows: Iterable[Figures]) -> float:
    """Where the lines of these rates begin, so that small differences can be seen."""
    lowest = min((row.clean.low for row in rows if row.judged), default=0.0)
    return next(floor for floor in (0.95, 0.9, 0.8, 0.5, 0.0) if floor <= lowest)


# -- time to settle ----------------------------------------------------------------------------------------------------

_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 318.0, 8.0, 128.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A settle curve with its name, drawn in the colour of that number."""

    name: str
    colour: int
    steps: tuple[Step, ...]


def settle_curves(curves: Sequence[Curve], longest: float) -> str:
    """The share that has settled by each time, up to `longest` seconds (the longest time-out)."""
    first = min((curve.steps[0].at for curve in curves if curve.steps), default=0.0)
    end = max(longest, first, 0.001)
    logarithmic = first > 0 and end / first > 30
    start = first * 0.8 if logarithmic else 0.0

    def x(at: float) -> float:
        share = math.log(at / start) / math.log(end / start) if logarithmic and at > start else at / end
        share = 0.0 if logarithmic and at <= start else share
        return _LEFT + (_RIGHT - _LEFT) * min(1.0, share)

    def y(settled: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * settled

    parts = [
        f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{y(share) + 3.5:.1f}" text-anchor="end">{100 * share:.0f} %</text>'
        for share in (0.0, 0.5, 0.9, 1.0)
        if share != 1.0
    ]
    for at in _ticks(start, end, logarithmic):
        parts.append(f'<line class="tick" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{_BOTTOM}" y2="{_BOTTOM + 4}"/>')
        anchor = "end" if x(at) > _RIGHT - 14 else "middle"
        parts.append(f'<text x="{x(at):.1f}" y="{_BOTTOM + 15}" text-anchor="{anchor}">{_tick(at)}</text>')
    for curve in curves:
        path, last = [f"M{_LEFT} {y(0):.1f}"], 0.0
        for index, step in enumerate(curve.steps):
            at = x(step.at)
            # Steps closer than a pixel are left out; the last step never is.
            if at - last < 0.6 and index + 1 < len(curve.steps):
                continue
            path.append(f"H{at:.1f}V{y(1 - step.unsettled):.1f}")
            last = at
        path.append(f"H{_RIGHT}")
        parts.append(
            f'<path class="curve c{curve.colour}" d="{"".join(path)}"><title>{escape(curve.name)}</title></path>'
        )
    return f'<svg class="curves" viewBox="0 0 330 148" aria-hidden="true">{"".join(parts)}</svg>'


def _tick(at: float) -> str:
    return f"{at:g} s" if at < 90 else words.seconds(at)


def _ticks(start: float, end: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        powers = range(math.floor(math.log10(start)), math.ceil(math.log10(end)) + 1)
        fine = [part * 10.0**power for power in powers for part in (1, 2, 5) if start <= part * 10.0**power <= end]
        return fine if len(fine) <= 6 else [at for at in fine if math.log10(at).is_integer()]
    step = 10 ** math.floor(math.log10(end))
    for part in (step / 5, step / 4, step / 2, step, 2 * step):
        if end / part <= 5:
            return [part * number for number in range(int(end / part + 1e-9) + 1)]
    return [0.0, end]


# -- a target's time line ----------------------------------------------------------------------------------------------


class Lane:
    """Spans on a line from `start` to `end`, in seconds since the epoch. Those of a class that touch on paper are one,
    so that any number of them takes little memory and stays a small drawing. Unless their length is to be `exact`,
    short ones are drawn as long as can be seen."""

    def __init__(self, start: float, end: float, *, exact: bool = False) -> None:
        self._start = start
        self._scale = _LANE / max(end - start, 1e-9)
        self._least = 1.0 if exact else 2.5
        self._boxes: dict[str, list[tuple[float, float, tuple[str, ...]]]] = {}

    def __bool__(self) -> bool:
        return bool(self._boxes)

    def add(self, begun: float, ended: float, css: str, title: str) -> None:
        """Add a span with its class and its title."""
        low = min(max(0.0, (begun - self._start) * self._scale), _LANE - self._least)
        high = min(float(_LANE), max((ended - self._start) * self._scale, low + self._least))
        boxes = self._boxes.setdefault(css, [])
        first = last = bisect_left(boxes, high + _TOUCHING, key=_low)
        while first and boxes[first - 1][1] + _TOUCHING >= low:
            first -= 1
        titles = dict.fromkeys((*(each for box in boxes[first:last] for each in box[2]), title))
        touching = [(low, high), *((box[0], box[1]) for box in boxes[first:last])]
        box = min(each[0] for each in touching), max(each[1] for each in touching), tuple(titles)[:_TITLES]
        boxes[first:last] = [box]

    def svg(self) -> str:
        """Return the drawing."""
        drawn = "".join(
            f'<rect class="{css}" x="{low:.1f}" y="0" width="{high - low:.1f}" height="10">'
            f"<title>{escape('; '.join(titles))}</title></rect>"
            for css, boxes in self._boxes.items()
            for low, high, titles in boxes
        )
        return f'<svg class="lane" viewBox="0 0 {_LANE} 10" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def _low(box: tuple[float, float, tuple[str, ...]]) -> float:
    return box[0]


def served(trial: Trial, transport: str) -> tuple[float, float, str, str]:
    """When a transport served a target, as a span of a lane."""
    css = f"t-{transport}" if transport in _TRANSPORTS else "t-other"
    return trial.started, trial.started + trial.duration, css, transport


_TRANSPORTS = ("ssh", "serial")


def unclean(trial: Trial) -> tuple[float, float, str, str]:
    """When something did not pass cleanly, as a span of a lane."""
    what = kind(trial)
    return trial.started, trial.started + trial.duration, what, f"{trial.label} {what} in {trial.iteration}"


def marked(mark: Mark) -> tuple[float, float, str, str]:
    """A mark as a span of a lane."""
    ended = mark.started if mark.ended is None else mark.ended
    return mark.started, ended, f"m-{mark.kind if mark.kind in _MARKS else 'other'}", mark.name or mark.text


_MARKS = ("fault", "recovery", "missed", "clock", "finding", "fallback", "recovered", "reset", "unreachable", "boot")


# -- drift -------------------------------------------------------------------------------------------------------------


def drift(trials: Iterable[Trial], last: int) -> str:
    """The median time to settle (line) and the share that did not pass cleanly (bars) in the course of a soak."""
    per = max(1, math.ceil(last / 40))
    counts: Counter[int] = Counter()
    bad: Counter[int] = Counter()
    settled: dict[int, array[float]] = {}
    for trial in trials:
        column = (trial.iteration - 1) // per
        counts[column] += 1
        bad[column] += not trial.clean and trial.outcome is not TrialOutcome.SKIPPED
        if trial.clean and trial.seconds:
            settled.setdefault(column, array("d")).append(trial.seconds)
    columns = math.ceil(last / per)
    medians = {column: median(seconds) for column, seconds in settled.items()}
    highest = max((value for value in medians.values() if value), default=0.0) or 1.0
    left = _LEFT + 16  # a length of time is longer than a percentage
    width = (_RIGHT - left) / columns
    parts = [f'<line class="axis" x1="{left}" x2="{_RIGHT}" y1="{_BOTTOM}" y2="{_BOTTOM}"/>']
    for column, count in sorted(counts.items()):
        share = bad[column] / count
        if share:
            tall = max(2.0, (_BOTTOM - _TOP) * share)
            parts.append(
                f'<rect class="failed soft" x="{left + column * width:.1f}" y="{_BOTTOM - tall:.1f}" '
                f'width="{max(1.0, width - 1):.1f}" height="{tall:.1f}"/>'
            )
    points = [
        f"{left + (column + 0.5) * width:.1f} {_BOTTOM - (_BOTTOM - _TOP) * value / highest:.1f}"
        for column, value in sorted(medians.items())
        if value
    ]
    if points:
        parts.append(f'<path class="curve c0" d="M{"L".join(points)}"/>')
        parts.append(f'<text x="{left - 4}" y="{_TOP + 4}" text-anchor="end">{words.seconds(highest)}</text>')
    parts.append(f'<text x="{left}" y="{_BOTTOM + 15}">iteration 1</text>')
    parts.append(f'<text x="{_RIGHT}" y="{_BOTTOM + 15}" text-anchor="end">{last:,}</text>')
    return f'<svg class="curves" viewBox="0 0 330 148" aria-hidden="true">{"".join(parts)}</svg>'


def escape(text: str) -> str:
    """Text inside an element of a drawing."""
    return escape_html(visible(text))
