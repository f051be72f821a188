"""`harness collect`: the diagnostics of targets, each command's answer in a file of its own."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cli.reaching import Reach
    from harness.inventory import Host
    from harness.operate.collect.catalogue import Catalogue, Recipe
    from harness.operate.collect.index import Index

EXIT_CODES = """\
exit codes:
  0    all was had that applies to the targets, whatever it says of them
  1    something was not had: index.json and summary.md say what, and why
  2    usage or inventory error; nothing was done
  3    a target could not be reached
  4    the pattern names no host
  5    internal error: a fault of harness itself, or a folder that cannot be written
  130  interrupted; what was had until then is kept
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.options import seconds, size
    from harness.cli.reaching import reach_options

    parser = subparsers.add_parser(
        "collect",
        help="collect the diagnostics of targets, over SSH or the serial console",
        description="Asks targets for all that may be needed to see why they do not come up, and keeps each command's "
        "output in a file of its own, with an index (index.json) and a page to be read first (summary.md). Changes "
        "nothing on them. `harness why DIR` explains from such a folder what was not settled.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pattern", nargs="?", metavar="PATTERN", help="hosts, as Ansible names them")
    reach_options(parser)
    what = parser.add_argument_group("what is collected")
    what.add_argument("--recipe", default="standard", metavar="DIAGNOSTICS", help="which recipe (default standard)")
    what.add_argument(
        "--catalogue",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML with more commands and recipes, beside those in collect.yml beside the inventory; may be repeated",
    )
    what.add_argument(
        "--unit", action="append", default=[], metavar="UNIT", help="explain this unit too; may be repeated"
    )
    what.add_argument("--list", action="store_true", dest="list_only", help="list recipes and commands; ask nobody")
    bounds = parser.add_argument_group("how much")
    bounds.add_argument(
        "--collect-timeout", type=seconds, default=120.0, metavar="S", help="seconds for each target (default 120)"
    )
    bounds.add_argument(
        "--command-timeout", type=seconds, default=20.0, metavar="S", help="seconds for each command (default 20)"
    )
    bounds.add_argument(
        "--max-file", type=size, default=256 << 10, metavar="SIZE", help="the most of one output (default 256K)"
    )
    bounds.add_argument(
        "--max-total", type=size, default=8 << 20, metavar="SIZE", help="the most of a target (default 8M)"
    )
    out = parser.add_argument_group("output")
    out.add_argument(
        "-o", "--output", metavar="DIR", help="where to: a folder for each target below it (default: the run's folder)"
    )
    out.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """What is wrong with what was typed, or with a recipe, is told before any target is asked."""
    from harness.cli.collecting import complaint
    from harness.cli.reaching import reach
    from harness.errors import Cancelled, ExitCode, UsageError
    from harness.operate.collect.catalogue import catalogue_of

    catalogue = catalogue_of(arguments.inventory, arguments.catalogue)
    if arguments.list_only:
        _list(catalogue, as_json=arguments.json)
        return 0
    recipe = catalogue.recipe(arguments.recipe)
    if not arguments.pattern:
        raise UsageError("no PATTERN was given", hint="Name hosts or groups, such as: harness collect -i INVENTORY all")
    _make(arguments.output)
    with reach(arguments, arguments.pattern, verb="collect", visible=True) as reached:
        found = reached.each(lambda host: _collect(reached, host, recipe, arguments))
        code = 0
        rows = []
        for host, result in zip(reached.hosts, found, strict=True):
            if isinstance(result, Exception):
                if not isinstance(result, Cancelled):
                    print(complaint(host.name, result), file=sys.stderr)
                rows.append({"target": host.name, "error": str(result)})
                code = max(code, int(getattr(result, "exit_code", ExitCode.INTERNAL)), key=_GRAVITY.index)
            else:
                index, folder = result
                rows.append(_row(index, folder))
                code = max(code, _code(index), key=_GRAVITY.index)
        if reached.cancellation.cancelled:
            code = int(ExitCode.INTERRUPTED)
        reached.exit_code = code
    if arguments.json:
        import json

        print(json.dumps({"schema": "harness.collect/1", "exit_code": code, "targets": rows}, indent=2))
    return code


_GRAVITY = (0, 1, 4, 2, 3, 5, 130)
"""Exit codes, the one that a person must know of most last."""


def _make(output: str | None) -> None:
    from pathlib import Path

    from harness.errors import UsageError

    if output is not None:
        try:
            Path(output).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {output}: {error.strerror}", hint="Name another one.") from error


def _collect(reached: Reach, host: Host, recipe: Recipe, arguments: argparse.Namespace) -> tuple[Index, Path]:
    """One target's collection; told as soon as it is there."""
    from pathlib import Path

    from harness.cli.collecting import FOLDER, insisting
    from harness.engine.plan import number
    from harness.operate.collect.collector import Collector
    from harness.operate.collect.index import Bounds
    from harness.operate.collect.store import Store
    from harness.report.folder import folder_name

    session = reached.session(host)
    own = reached.folder.target(host.name) / FOLDER
    folder = Path(arguments.output) / folder_name(host.name) if arguments.output else own
    scale = number(host, "timeout_scale") if arguments.timeout_scale is None else arguments.timeout_scale
    bounds = Bounds(
        seconds=min(arguments.collect_timeout * scale, reached.deadline.remaining()),
        command_seconds=arguments.command_timeout * scale,
        total_bytes=arguments.max_total,
        file_bytes=arguments.max_file,
    )
    store = Store(folder, reached.log.redact)
    events = reached.log.bind(target=host.name)
    target = session.target(reached.deadline.clamp(bounds.seconds), events, lambda _result: None)
    target = insisting(target, arguments.transport)
    index = Collector(target, recipe, store, bounds=bounds, units=arguments.unit).collect()
    if not arguments.json:
        _say(_told(index, folder))
    return index, folder


def _say(text: str) -> None:
    """Prints it at once, from whichever target's thread; a reader that has gone (`| head`) ends no collecting."""
    import os

    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _code(index: Index) -> int:
    from harness.errors import ExitCode

    if not index.reached:
        return int(ExitCode.UNREACHABLE)
    return int(ExitCode.PASSED if index.complete else ExitCode.FAILED)


def _told(index: Index, folder: Path) -> str:
    """A few lines for a person: where the target stands, and where to read more."""
    from harness.operate.collect.index import SUMMARY
    from harness.report.shown import shown
    from harness.report.words import seconds

    lines = [f"{index.standing or 'unknown':<11} {sentence}" for sentence in index.sentences]
    if index.ended_early:
        lines.append(f"{'ended early':<11} {index.ended_early}")
    over = f", over {', '.join(index.transports)}" if index.transports else ""
    facts = f"{index.files} files, {index.size:,} bytes, {seconds(index.duration)}{over}"
    lines.append(f"{'collected':<11} {facts}: {folder}/{SUMMARY}")
    return "\n".join(f"{shown(index.target)}  {shown(' '.join(line.splitlines()))}" for line in lines)


def _row(index: Index, folder: Path) -> dict[str, Any]:
    return {
        "target": index.target,
        "folder": str(folder),
        "recipe": index.recipe,
        "reached": index.reached,
        "complete": index.complete,
        "ended_early": index.ended_early,
        "standing": index.standing,
        "sentence": index.sentence,
        "sentences": list(index.sentences),
        "transports": list(index.transports),
        "files": index.files,
        "bytes": index.size,
        "duration": index.duration,
    }


def _list(catalogue: Catalogue, *, as_json: bool) -> None:
    import json

    if as_json:
        document = {
            "recipes": {
                name: {
                    "about": recipe.about,
                    "units": list(recipe.units),
                    "commands": [each.name for each in recipe.commands],
                }
                for name, recipe in catalogue.recipes.items()
            },
            "commands": {
                name: {
                    "about": command.about,
                    "run": command.run,
                    "needs": list(command.needs),
                    "lacks": list(command.lacks),
                }
                for name, command in catalogue.commands.items()
            },
        }
        print(json.dumps(document, indent=2))
        return
    print("recipes:")
    for recipe in catalogue.recipes.values():
        print(f"  {recipe.name:<24} {recipe.about} ({len(recipe.commands)} commands)")
    print("\ncommands:")
    for command in catalogue.commands.values():
        print(f"  {command.name:<24} {command.about or command.run.splitlines()[0]}")
