"""`harness soak --resume`: the arguments of the soak that is resumed."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Any

    from harness.api.check import Check
    from harness.report.folder import RunFolder

MAY_CHANGE = frozenset(
    (
        "iterations", "seconds", "max_failures", "metrics", "quiet", "verbose", "json", "forks", "at_once", "ship",
        "no_ship", "ship_timeout", "rotate_size", "rotate_age", "rotate_keep", "vault_password_file", "list_only",
    )
)  # fmt: skip
"""What may be given anew with --resume; whatever else is given must be what the soak began with."""


def _typed(argv: Sequence[str]) -> dict[str, Any]:
    """Return what the arguments of a command line give themselves, without any default, by destination."""
    from harness.cli.main import build_parser

    parser = build_parser(("soak",))
    for subparsers in (each for each in parser._actions if isinstance(each, argparse._SubParsersAction)):
        for action in subparsers.choices["soak"]._actions:
            action.default = argparse.SUPPRESS
    given = vars(parser.parse_args(list(argv)))
    # An argument that takes any number of words is there without any.
    return {name: value for name, value in given.items() if name not in ("run", "verb") and value != []}


def _flags(names: Iterable[str]) -> str:
    """Return the flags of these destinations, as they are typed."""
    from harness.cli.main import build_parser

    flags: dict[str, str] = {}
    for subparsers in (
        each for each in build_parser(("soak",))._actions if isinstance(each, argparse._SubParsersAction)
    ):
        for action in subparsers.choices["soak"]._actions:
            longest = max(action.option_strings, key=len, default=action.dest.upper())
            flags.setdefault(action.dest, longest)
    return ", ".join(sorted(flags.get(name, name) for name in names))


def with_kept_files(typed: argparse.Namespace, folder: RunFolder) -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments with the kept copies of the inventory and check files in the place of the files, and the
    paths of the files that differ from their copies."""
    import copy

    from harness.soak.inputs import Inputs

    inputs = Inputs(folder.path)
    if not inputs.kept:
        return typed, []
    changed = inputs.changed(typed.inventory, typed.checks, other_files(typed))
    inputs.link_others(typed.inventory, typed.checks)
    arguments = copy.copy(typed)
    arguments.inventory = [inputs.source(each) for each in typed.inventory]
    arguments.checks = [inputs.selector(each) for each in typed.checks]
    arguments.extra_vars = [f"@{inputs.file(each[1:])}" if each.startswith("@") else each for each in typed.extra_vars]
    arguments.program_outputs = inputs.outputs()
    if typed.known_flakes:
        arguments.known_flakes = inputs.file(typed.known_flakes)
    return arguments, changed


def other_files(arguments: argparse.Namespace) -> list[str]:
    """Return the files besides inventory and checks that a soak is defined by."""
    from harness.soak.known import find_file

    files = [each[1:] for each in arguments.extra_vars if each.startswith("@")]
    known = arguments.known_flakes or find_file(arguments.inventory)
    return [*files, *([str(known)] if known else [])]


def resume_command(folder: Path) -> str:
    """Return the command that resumes the soak of this folder, quoted for a shell."""
    import shlex

    from harness.printing import typed_path

    return shlex.join(["harness", "soak", "--resume", typed_path(folder)])


def as_typed(found: tuple[Check, ...], folder: RunFolder | None, typed: argparse.Namespace) -> tuple[Check, ...]:
    """Return the checks with the paths that were typed, though their files are read from the kept copies."""
    from dataclasses import replace

    from harness.soak.inputs import Inputs

    if folder is None:
        return found
    inputs = Inputs(folder.path)
    return tuple(replace(check, path=inputs.original(check.path, typed.checks)) for check in found)


def resumed_soak(arguments: argparse.Namespace) -> tuple[argparse.Namespace, RunFolder]:
    """Return what was typed when the soak began, with what is given anew in its place, and its folder. Raises
    UsageError where something is given that cannot change."""
    import os
    import shlex
    from pathlib import Path

    from harness.cli.main import build_parser
    from harness.errors import UsageError
    from harness.report.folder import RunFolder, find
    from harness.soak.state import read_begun

    if arguments.checks or arguments.inventory:
        raise UsageError(
            "--resume goes on with what the soak was begun with",
            hint="Leave -i and CHECKS out: it reads the copies that were kept when it began.",
        )
    path = find(Path(arguments.logs), arguments.resume).resolve()
    begun = read_begun(path)
    try:
        os.chdir(begun.cwd)
    except OSError as error:
        raise UsageError(f"the soak was begun in {begun.cwd}, which cannot be gone to: {error.strerror}") from None
    before = build_parser(("soak",)).parse_args(list(begun.argv))
    given = _typed(sys.argv[1:])
    fixed = given.keys() - MAY_CHANGE - {"resume", "logs"}
    if refused := [name for name in fixed if given[name] != getattr(before, name)]:
        raise UsageError(
            f"{_flags(refused)} cannot be changed with --resume: all iterations of a soak are run alike",
            hint=f"It began with: harness {shlex.join(begun.argv)}\n  These may be given anew: {_flags(MAY_CHANGE)}. "
            "For anything else begin another soak.",
        )
    for name in given.keys() & MAY_CHANGE:
        setattr(before, name, given[name])
    return before, RunFolder(path.name, path)
