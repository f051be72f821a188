"""What the verbs that run checks have in common about collecting: flags, and what is done with a target that failed."""

from __future__ import annotations

import argparse
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.engine.failed import Collect, Failed
    from harness.events import EventLog
    from harness.operate.collect.catalogue import Recipe
    from harness.report.folder import RunFolder
    from harness.target.target import Target

TIMEOUT = 60.0
"""Seconds that collecting from a target that failed may take."""
FOLDER = "collected"


def collect_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--no-collect`, `--collect-timeout` and `--collect-recipe`."""
    from harness.cli.options import seconds

    group = parser.add_argument_group("diagnostics of a target that failed")
    group.add_argument(
        "--no-collect",
        action="store_false",
        dest="collect",
        help="collect nothing from a target that failed before its machine is ended (see `harness collect --list`)",
    )
    group.add_argument(
        "--collect-timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="S",
        help=f"end it after so many seconds for each target (default {TIMEOUT:g})",
    )
    group.add_argument("--collect-recipe", metavar="DIAGNOSTICS", help="the recipe (default standard)")


def recipe_of(arguments: argparse.Namespace) -> Callable[[], Recipe] | None:
    """The recipe for targets that fail, read once: what a person wrote or named at once, so that a mistake is told
    before anything is started, ours with the first failure. None where nothing is to be collected. Raises UsageError.
    """
    from harness.operate.collect.beside import files_beside

    if not arguments.collect or not arguments.collect_timeout:
        return None

    @cache
    def recipe() -> Recipe:
        from harness.operate.collect.catalogue import STANDARD, catalogue_of

        return catalogue_of(arguments.inventory).recipe(arguments.collect_recipe or STANDARD)

    if arguments.collect_recipe or files_beside(arguments.inventory):
        recipe()
    return recipe


def collector(recipe: Callable[[], Recipe] | None, seconds: float, folder: RunFolder, log: EventLog) -> Collect | None:
    """What collects from a target that failed into `targets/TARGET/collected` of the run's folder; in a soak into a
    folder for each iteration below that."""
    if recipe is None:
        return None

    def collect(failed: Failed) -> str:
        from dataclasses import replace

        from harness.deadline import Deadline
        from harness.operate.collect.collector import Collector
        from harness.operate.collect.index import Bounds
        from harness.operate.collect.store import Store

        name = failed.host.name
        path = folder.target(name) / FOLDER
        if failed.iteration:
            path /= f"iteration-{failed.iteration}"
        usual = Bounds()
        bounds = replace(usual, seconds=seconds * failed.scale, command_seconds=usual.command_seconds * failed.scale)
        deadline = Deadline.after(bounds.seconds, cancellation=failed.cancellation)
        target = failed.session.target(deadline, failed.events, lambda _result: None)
        because = ", ".join(each.label for each in failed.failures[:5])
        if len(failed.failures) > 5:
            because += f" and {len(failed.failures) - 5} more"
        index = Collector(target, recipe(), Store(path, log.redact), bounds=bounds, because=because).collect()
        return str(path.relative_to(folder.path)) if index.reached else ""

    return collect


def insisting(target: Target, transport: str | None) -> Target:
    """The target over one transport only, where one is named. Raises UsageError where the host does not have it."""
    from harness.errors import UsageError

    if transport is not None and transport not in target.transports:
        raise UsageError(
            f"{target.name} has no transport {transport!r}", hint=f"It has: {', '.join(target.transports)}."
        )
    return target.over(transport)


def complaint(name: str, error: Exception) -> str:
    """An error about a target as it is printed: with the target's name, once."""
    told = str(error)
    return f"harness: {told}" if told.startswith((f"{name} ", f"{name}:")) else f"harness: {name}: {told}"


def collections_of(folder: RunFolder, target: str) -> int:
    """How many of a target a soak's folder holds."""
    return sum(1 for _ in (folder.target(target) / FOLDER).glob("iteration-*"))
