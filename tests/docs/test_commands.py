"""Every command that the documentation tells a reader to type is typed, or there is a reason why not that holds."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from harness.cli.main import VERBS, build_parser
from tests.docs.place import ROOT, Place
from tests.docs.reading import Block, File, inline_commands, read
from tests.docs.reasons import problem

PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "events" not in path.parts)]
_ENDS = frozenset({"|", ">", ">>", "<", "&&", "||", ";", "&"})


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page_of(path: Path) -> tuple[list[File], list[Block]]:
    return read(path, _name(path))


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_what_needs_no_machine_is_carried_out(path: Path, tmp_path: Path) -> None:
    files, blocks = page_of(path)
    here = [block for block in blocks if not block.guest and not block.not_run]
    if not here:
        return
    place = Place(tmp_path)
    place.write(files)
    wrong = [each for block in here for each in place.carry_out(block)]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_what_is_not_run_has_a_reason_that_holds(path: Path) -> None:
    wrong = [
        f"{block.page}:{block.line}: {said}" for block in page_of(path)[1] if block.not_run and (said := problem(block))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_commands_of_ours_are_ones_that_we_have(path: Path) -> None:
    """Run or not: each names a verb, and flags that it has."""
    wrong = []
    for block in page_of(path)[1]:
        for command in block.commands:
            for typed in _ours(command.text):
                if said := _refused(typed):
                    wrong.append(f"{block.page}:{command.line}: {shlex.join(typed)}: {said}")
    for line, text in inline_commands(path):
        if said := _unknown(text):
            wrong.append(f"{_name(path)}:{line}: `{text}`: {said}")
    assert not wrong, "\n".join(wrong)


def _ours(text: str) -> list[list[str]]:
    """The words of each call of `harness` in what is typed, up to a pipe or the like."""
    lexer = shlex.shlex(re.sub(r"\\\n|(?<=\s)\d(?=>)", " ", text), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    calls: list[list[str]] = []
    open_call = False
    for word in lexer:
        if word == "harness" and not open_call:
            calls.append([])
            open_call = True
        elif word in _ENDS:
            open_call = False
        elif open_call:
            calls[-1].append(word)
    return calls


def _refused(typed: list[str]) -> str:
    """Why the command line does not take these words; empty where it does."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            build_parser().parse_args(typed)
    except SystemExit as end:
        return said.getvalue().strip().splitlines()[-1] if end.code else ""
    return ""


def _flags(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*(_flags(below) for below in action.choices.values()))
    return found


def _unknown(text: str) -> str:
    """What of a command in running text we do not have: it may leave words out, but not name wrong ones."""
    verb = text.split()[1]
    if verb.startswith("-") or verb.isupper():
        return ""
    if verb not in VERBS:
        return f"there is no verb {verb!r}"
    subparsers = next(each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    ours = text.partition(" -- ")[0]
    odd = sorted(set(re.findall(r"(?<=[\s\[])--?[a-z][\w-]*", ours)) - _flags(subparsers.choices[verb]))
    return f"{verb} has no {', '.join(odd)}" if odd else ""
