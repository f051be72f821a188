"""What a person reads first of a collected folder: the verdict, what is amiss, and what each file is. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from harness.operate.collect.index import NAME, Entry, Index, State
from harness.target.standing import Standing
from harness.target.values import seconds

# What would be more than a character to Markdown, and stands in what machines say. Backticks are meant as such, and an
# underscore inside a word is one: the page is read as it is, too.
_SPECIAL = re.compile(r"[\\*\[\]<>|]|^#")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|[\ud800-\udfff]")
_VERDICTS = {
    Standing.UP: "settled",
    Standing.COMING: "not settled yet",
    Standing.IDLE: "not started",
    Standing.NEVER: "not settled, and it will not be by waiting",
}
_LONGEST = 2000


def summary(index: Index) -> str:
    """The page, as Markdown."""
    verdict = _VERDICTS[Standing(index.standing)] if index.standing else "not known how it stands"
    when = datetime.fromtimestamp(index.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"# {_text(index.target)}: {verdict}", ""]
    lines += [f"- {_text(sentence)}" for sentence in index.sentences] or ["- No answer to that was had: see below."]
    lines += ["", f"Collected {when}" + (f" over {', '.join(index.transports)}" if index.transports else "")]
    left = dict.fromkeys(name for entry in index.entries for name in entry.fell_back_from)
    lines[-1] += f" ({', '.join(left)} did not serve)" if left else ""
    lines[-1] += f", in {seconds(index.duration)}, by the recipe `{index.recipe}` of harness {index.harness}"
    lines[-1] += f"; because of {_text(index.because)}." if index.because else "."
    if index.ended_early:
        lines += ["", f"**It ended early: {_text(index.ended_early)}.** What was had until then is here."]
    lines += ["", f"The same words again, or about a unit: `harness why` with this folder. For programs: `{NAME}`.", ""]
    lines += _files(index)
    lines += _missing("Not had", index.of(State.NOT_HAD))
    lines += _missing("Left out", index.of(State.LEFT_OUT))
    return "\n".join(lines).rstrip() + "\n"


def _files(index: Index) -> list[str]:
    had = index.of(State.HAD, State.PARTIAL)
    if not had:
        return []
    lines = ["## Files", "", "| file | what it is | exit status | bytes | took | |", "|---|---|---|---|---|---|"]
    for entry in had:
        for stream in entry.streams:
            lines.append(
                f"| [{_text(stream.file)}](<{stream.file.replace('%', '%25')}>) | {_what(entry, stream.file)} "
                f"| {'' if entry.exit_status is None else entry.exit_status} | {stream.size} "
                f"| {seconds(entry.duration)} | {_notes(entry, stream.cut, len(index.transports) > 1)} |"
            )
    return [*lines, ""]


def _what(entry: Entry, file: str) -> str:
    told = entry.about or entry.command
    return f"stderr of {_text(entry.name)}" if file.endswith(".err.txt") else _text(told, 160)


def _notes(entry: Entry, cut: bool, several: bool) -> str:
    notes = ["cut"] * cut
    if entry.state is State.PARTIAL:
        notes.append(f"partial: {entry.why}")
    if several:
        notes.append(f"over {entry.transport}")
    return _text("; ".join(notes))


def _missing(title: str, entries: tuple[Entry, ...]) -> list[str]:
    if not entries:
        return []
    lines = [f"## {title}", "", "| what | why |", "|---|---|"]
    return [*lines, *(f"| {_text(entry.name)} | {_text(entry.why)} |" for entry in entries), ""]


def _text(value: str, longest: int = _LONGEST) -> str:
    """Text that is nothing but text in Markdown, in one line."""
    line = " ".join(value.split())
    line = line if len(line) <= longest else f"{line[:longest]}…"
    line = _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", line)
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", line)
