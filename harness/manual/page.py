"""What argparse knows of a command, as a value: the source of its man page and of its part of the site's reference."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_WIDE = 100_000
_TITLES = {"positional arguments": "arguments"}
_DEFINITION = re.compile(r" {2,}(\S+(?: \S+)*) {2,}(\S+(?: \S+)*)")


@dataclass(frozen=True, slots=True)
class Argument:
    """A flag by its spellings, or a word by its name (`flags` is empty); what it takes, and what it means."""

    flags: tuple[str, ...]
    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Group:
    """Arguments that belong together."""

    title: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that stay as they are: commands, tables."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Definitions:
    """Words and their meanings."""

    pairs: tuple[tuple[str, str], ...]


Block = Paragraph | Lines | Definitions


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A command: how it is called, what it does, its arguments, and the sections that `--help` ends with.

    `below` are its own commands: the verbs of `harness`, the actions of a verb.
    """

    command: str
    summary: str
    usage: str
    description: tuple[Block, ...]
    groups: tuple[Group, ...]
    sections: tuple[Section, ...]
    below: tuple[Page, ...]

    @property
    def name(self) -> str:
        """As `man` knows it: `harness-run`."""
        return self.command.replace(" ", "-")


def page_of(parser: argparse.ArgumentParser, summary: str = "") -> Page:
    """The page of a parser and of the commands below it. `summary` is the line that stands for it above."""
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDE)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    begin, sections = _text(parser.description or "")
    _, rest = _text(parser.epilog or "", "Notes")
    return Page(
        command=parser.prog,
        summary=summary or _first_sentence(parser.description or ""),
        usage=formatter.format_help().strip(),
        description=begin,
        groups=tuple(_groups(parser)),
        sections=(*sections, *rest),
        below=tuple(_below(parser)),
    )


def _first_sentence(text: str) -> str:
    return text.strip().partition(". ")[0].rstrip(".")


def _below(parser: argparse.ArgumentParser) -> Iterator[Page]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield page_of(action.choices[choice.dest], choice.help or "")


def _groups(parser: argparse.ArgumentParser) -> Iterator[Group]:
    formatter = argparse.HelpFormatter(parser.prog)
    for group in parser._action_groups:
        arguments = tuple(
            Argument(tuple(action.option_strings), _value(formatter, action), _meaning(formatter, action))
            for action in group._group_actions
            if not isinstance(action, argparse._SubParsersAction) and action.help != argparse.SUPPRESS
        )
        if arguments:
            yield Group(_TITLES.get(group.title or "", group.title or "options"), arguments)


def _value(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """What a flag takes (`SOURCE`, `H VAR`), or how a word is written in the usage (`CHECKS [CHECKS ...]`)."""
    if action.nargs == 0:
        return ""
    default = action.dest.upper() if action.option_strings else action.dest
    return formatter._format_args(action, default)


def _meaning(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    return " ".join(formatter._expand_help(action).split()) if action.help else ""


def _text(text: str, heading: str = "") -> tuple[tuple[Block, ...], tuple[Section, ...]]:
    """Text as `--help` has it: paragraphs; indented lines; and `title:` with indented lines below it, which begins a
    section. What stands before the first of these belongs to `heading`, where one is given."""
    before: list[Block] = []
    sections: list[tuple[str, list[Block]]] = []
    for chunk in re.split(r"\n\s*\n", text.strip("\n")):
        lines = chunk.splitlines()
        while lines:
            if lines[0].startswith("  "):
                taken = [*_while_indented(lines)]
                (sections[-1][1] if sections else before).append(_block(taken))
            elif lines[0].endswith(":") and not lines[0].startswith(" ") and lines[1:2] and lines[1].startswith("  "):
                taken = lines[:1]
                sections.append((lines[0].rstrip(":"), []))
            else:
                taken = [*_while_plain(lines)]
                paragraph = Paragraph(" ".join(line.strip() for line in taken))
                if sections and heading:
                    sections.append((heading, [paragraph]))
                else:
                    (sections[-1][1] if sections else before).append(paragraph)
            lines = lines[len(taken) :]
    if before and heading:
        return (), (Section(heading, tuple(before)), *_made(sections))
    return tuple(before), tuple(_made(sections))


def _made(sections: Sequence[tuple[str, list[Block]]]) -> Iterator[Section]:
    for title, blocks in sections:
        yield Section(title, tuple(blocks))


def _while_indented(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("  "):
            return
        yield line


def _while_plain(lines: Sequence[str]) -> Iterator[str]:
    for index, line in enumerate(lines):
        opens = line.endswith(":") and lines[index + 1 : index + 2] and lines[index + 1].startswith("  ")
        if line.startswith("  ") or (index and opens):
            return
        yield line


def _block(lines: Sequence[str]) -> Block:
    """Definitions where every line has a word and, two spaces apart, its meaning; else the lines as they are."""
    matches = [_DEFINITION.fullmatch(line) for line in lines]
    if all(matches):
        return Definitions(tuple((match[1], match[2]) for match in matches if match))
    return Lines(tuple(line[2:] for line in lines))
