"""A page as a man page: roff with the macros of man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from harness.manual.page import Argument, Block, Definitions, Lines, Page, Paragraph

_WORD = re.compile(r"(?P<flag>(?<![\w-])--?[A-Za-z][\w-]*)|(?P<value>(?<![\w-])[A-Z][A-Z0-9_:]*(?![\w-]))")


def man_pages(page: Page, version: str, day: date) -> dict[str, str]:
    """The man page of the command itself and of each of its verbs, by the name of its file: `harness-run.1`."""
    verbs = tuple(below.name for below in page.below)
    pages = {f"{page.name}.1": _page(page, version, day, verbs)}
    for below in page.below:
        pages[f"{below.name}.1"] = _page(below, version, day, (page.name,))
    return pages


def _page(page: Page, version: str, day: date, see_also: tuple[str, ...]) -> str:
    lines = [
        f'.TH "{_plain(page.name.upper())}" "1" "{day.isoformat()}" "harness {version}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_plain(page.name)} \\- {_plain(page.summary)}",
        ".SH SYNOPSIS",
        _usage(page),
        ".SH DESCRIPTION",
        *_blocks(page.description or (Paragraph(f"{page.summary}."),)),
    ]
    if page.below and " " not in page.command:
        lines += [".SH VERBS"]
        for below in page.below:
            lines += [".TP", rf"\fB{_plain(below.name)}\fR(1)", _line(below.summary)]
    lines += _arguments(page)
    if " " in page.command:
        for below in page.below:
            lines += [f".SH {_plain(below.command.upper())}", _line(below.summary), ".PP", _usage(below)]
            lines += _arguments(below, ".SS")
    for section in page.sections:
        lines += [f".SH {_heading(section.title)}", *_blocks(section.blocks)]
    lines += [".SH SEE ALSO", ",\n".join(rf"\fB{_plain(name)}\fR(1)" for name in see_also)]
    return "\n".join(lines) + "\n"


def _usage(page: Page) -> str:
    rest = page.usage.removeprefix(page.command)
    return _line(rf"\fB{_plain(page.command)}\fR{_dressed(rest)}", made=True)


def _arguments(page: Page, heading: str = ".SH") -> Iterator[str]:
    for group in page.groups:
        yield f"{heading} {_heading(group.title) if heading == '.SH' else _plain(group.title.capitalize())}"
        for argument in group.arguments:
            yield ".TP"
            yield _tag(argument)
            yield _line(argument.meaning or "(nothing more to say)")


def _tag(argument: Argument) -> str:
    value = rf"\fI{_plain(argument.value)}\fR" if argument.value else ""
    if not argument.flags:
        return value
    return ", ".join(rf"\fB{_plain(flag)}\fR" for flag in argument.flags) + (f" {value}" if value else "")


def _blocks(blocks: tuple[Block, ...]) -> Iterator[str]:
    first = True
    for block in blocks:
        if isinstance(block, Paragraph):
            if not first:
                yield ".PP"
            yield _line(block.text)
        elif isinstance(block, Lines):
            if not first:
                yield ".PP"
            yield from (".nf", ".RS 4", *(_line(line) for line in block.lines), ".RE", ".fi")
        else:
            assert isinstance(block, Definitions)
            for word, meaning in block.pairs:
                yield from (".TP", rf"\fB{_plain(word)}\fR", _line(meaning))
        first = False


def _dressed(text: str) -> str:
    """Flags bold, what they take in italics."""

    def dress(match: re.Match[str]) -> str:
        font = "B" if match["flag"] else "I"
        return rf"\f{font}{_plain(match[0])}\fR"

    parts, at = [], 0
    for match in _WORD.finditer(text):
        parts += [_plain(text[at : match.start()]), dress(match)]
        at = match.end()
    return _unbroken("".join(parts) + _plain(text[at:]))


def _unbroken(text: str) -> str:
    """What stands in brackets is kept on one line."""
    depth, made = 0, []
    for character in text:
        depth += (character == "[") - (character == "]")
        made.append("\\ " if character == " " and depth else character)
    return "".join(made)


def _heading(title: str) -> str:
    """In capitals, but for what stands in brackets: there may be flags."""
    head, bracket, rest = title.partition("(")
    return _plain(head.upper() + bracket + rest)


def _plain(text: str) -> str:
    """Characters that mean something to roff, as themselves; minus signs as one types them."""
    return text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")


def _line(text: str, *, made: bool = False) -> str:
    """A line of text: it must not begin as a macro does."""
    line = text if made else _plain(text)
    return rf"\&{line}" if line[:1] in (".", "'") else line
