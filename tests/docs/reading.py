"""What the documentation tells a reader to type, and what it says about it. Text in, blocks out.

A command stands in a fenced block `console`, behind `$ ` (its further lines behind `> `); what it prints follows it. An
HTML comment right before a block, which no reader sees, says how the block is tested:

    <!-- file: NAME -->           the block is a file: it is written before the page's commands run
    <!-- run: guest -->           its commands need a machine: they run beside one that is up
    <!-- run: output varies -->   what it prints is not compared
    <!-- run: exit 2 -->          the exit status that is right (of each command in the block); several with commas
    <!-- printed -->              the block `text` is what the command before it prints, as it may hold a `$ ` itself
    <!-- not run: WHY -->         WHY is one of the reasons in tests/docs/reasons.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_COMMENT = re.compile(r"<!--\s*(file|run|not run|printed):?\s*(.*?)\s*-->\s*", re.DOTALL)
_OURS = re.compile(r"(harness|pytest|scripts/\w+|python3? -m|pip3? install|apt(-get)?|systemctl|man) ")
_SHELLS = frozenset({"sh", "bash", "shell", "shell-session", "zsh", "fish"})


class Unclear(ValueError):
    """The page says something that cannot be tested; the message says where, and what to write."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it is typed, the line of the page it stands in, and what the page says it prints."""

    text: str
    line: int
    prints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that are typed one after the other. `not_run` is the reason why not; else they are run."""

    page: str
    line: int
    commands: tuple[Command, ...]
    guest: bool = False
    varies: bool = False
    exit_status: int = 0
    not_run: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A file that the page shows."""

    page: str
    line: int
    name: str
    text: str


def read(path: Path, page: str) -> tuple[list[File], list[Block]]:
    """The files and commands of a page. Raises Unclear."""
    files: list[File] = []
    blocks: list[Block] = []
    said: tuple[str, str] | None = None
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        line = (token.map or [0])[0] + 1
        place = f"{page}:{line}"
        if token.type == "html_block" and (match := _COMMENT.fullmatch(token.content)):
            said = (match[1], match[2])
            continue
        if token.type == "code_block":
            _no_commands(token.content, place)
        elif token.type == "fence":
            language = token.info.partition(" ")[0]
            if said and said[0] == "file":
                files.append(File(page, line, said[1], token.content))
            elif said and said[0] == "printed" and blocks and not blocks[-1].commands[-1].prints:
                blocks[-1] = _printed(blocks[-1], token.content)
            elif language == "console":
                blocks.append(_block(page, line, token, said))
            elif language in _SHELLS:
                raise Unclear(f"{place}: a block `{language}`: write commands in a block `console`, behind `$ `")
            elif said:
                raise Unclear(f"{place}: `{said[0]}: {said[1]}` stands before a block that is no `console`")
            elif language in ("", "text"):
                _no_commands(token.content, place)
        elif said:
            raise Unclear(f"{place}: `{said[0]}: {said[1]}` stands before no block")
        said = None
    return files, blocks


def inline_commands(path: Path) -> Iterator[tuple[int, str]]:
    """The commands that stand in running text: `harness VERB …`."""
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "code_inline" and child.content.startswith("harness "):
                yield (token.map or [0])[0] + 1, child.content


def _block(page: str, line: int, token: Token, said: tuple[str, str] | None) -> Block:
    commands = tuple(_commands(page, line, token.content))
    if not commands:
        raise Unclear(f"{page}:{line}: a block `console` without a command: a command stands behind `$ `")
    if said is None:
        return Block(page, line, commands)
    kind, text = said
    if kind == "not run":
        return Block(page, line, commands, not_run=text)
    words = [word.strip() for word in text.split(",")]
    exits = [int(match[1]) for word in words if (match := re.fullmatch(r"exit (\d+)", word))]
    odd = [word for word in words if word not in ("guest", "output varies") and not word.startswith("exit ")]
    if odd or len(exits) > 1:
        raise Unclear(f"{page}:{line}: `run: {text}` is not understood; see tests/docs/reading.py")
    return Block(page, line, commands, guest="guest" in words, varies="output varies" in words, exit_status=sum(exits))


def _printed(block: Block, text: str) -> Block:
    last = replace(block.commands[-1], prints=tuple(text.splitlines()))
    return replace(block, commands=(*block.commands[:-1], last))


def _commands(page: str, line: int, text: str) -> Iterator[Command]:
    typed: list[str] = []
    prints: list[str] = []
    begins = 0
    for number, each in enumerate(text.splitlines(), line + 1):
        if each.startswith("$ "):
            if typed:
                yield Command("\n".join(typed), begins, tuple(prints))
            typed, prints, begins = [each[2:]], [], number
        elif not typed:
            raise Unclear(f"{page}:{number}: {each!r} stands before the first `$ ` of its block")
        elif each.startswith("> ") and not prints:
            typed.append(each[2:])
        else:
            prints.append(each)
    if typed:
        yield Command("\n".join(typed), begins, tuple(prints))


def _no_commands(text: str, place: str) -> None:
    for each in text.splitlines():
        if _OURS.match(each.strip()) or each.startswith("$ "):
            raise Unclear(f"{place}: {each.strip()!r} looks like a command: write it in a block `console`, behind `$ `")
