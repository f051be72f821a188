"""From what was typed to a plan, and from a failure back to what is to be typed; for the verbs that run checks."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from harness.api.check import Check
    from harness.engine.plan import Options, Plan


def plan_of(
    arguments: argparse.Namespace, found_as: Callable[[tuple[Check, ...]], tuple[Check, ...]] = lambda found: found
) -> Plan:
    """Return the plan of what was typed. Raises UsageError, NothingSelected; nothing is started yet. `found_as` changes
    the checks that were found."""
    import difflib
    from pathlib import Path

    from harness.api.discovery import discover, select
    from harness.api.tags import SPECIAL_TAGS
    from harness.engine.plan import make_plan
    from harness.errors import NothingSelected, UsageError
    from harness.inventory import load

    if not arguments.inventory:
        raise UsageError(
            "no inventory was given", hint="Name one with -i: a file, a folder, or hosts such as -i host1,"
        )
    if not arguments.checks:
        raise UsageError("no CHECKS were given", hint="Name files or folders of checks, such as checks/sshd")
    paths = [Path(each.partition("::")[0]) for each in arguments.checks]
    folders = list(dict.fromkeys(str(path if path.is_dir() else path.parent) for path in paths))
    found = found_as(discover(arguments.checks))
    checks = select(
        found, keyword=arguments.keyword, tags=_words(arguments.tags), skip_tags=_words(arguments.skip_tags)
    )
    if not checks:
        known = sorted({tag for each in found for tag in each.tags})
        unknown = [tag for tag in _words(arguments.tags) if tag not in known and tag not in SPECIAL_TAGS]
        hint = "They are: " + ", ".join(each.label for each in found)
        if unknown:
            near = [name for tag in unknown for name in difflib.get_close_matches(tag, known, 1)]
            hint = f"No check has the tag {', '.join(unknown)}. " + (
                f"Did you mean {', '.join(near)}?" if near else f"Their tags are: {', '.join(known) or 'none'}."
            )
        elif any("never" in each.tags for each in found):
            hint += ". Those with the tag `never` run only where -t names one of their tags."
        raise NothingSelected(f"-k, --tags and --skip-tags leave none of {len(found)} checks", hint=hint)
    inventory = load(
        arguments.inventory,
        extra_vars=arguments.extra_vars,
        playbook_dirs=folders,
        vault_password_file=arguments.vault_password_file,
        untrusted=arguments.untrusted,
        outputs=getattr(arguments, "program_outputs", None),
    )
    hosts = inventory.select("all", limit=arguments.limit)
    for warning in inventory.warnings:
        print(f"harness: warning: {warning}", file=sys.stderr)
    if not hosts:
        raise NothingSelected("the inventory has no hosts", hint="Look at it with: harness inventory --graph -i …")
    plan = make_plan(hosts, checks, _options(arguments), available=found)
    return plan if arguments.list_only else _resolved(plan)


def _resolved(plan: Plan) -> Plan:
    """Return the plan with each host's ssh configuration applied. Raises UsageError where one cannot be used."""
    from dataclasses import replace

    from harness.target.spec import resolved

    specs = resolved([target.spec for target in plan.targets])
    targets = tuple(replace(target, spec=spec) for target, spec in zip(plan.targets, specs, strict=True))
    return replace(plan, targets=targets)


def _options(arguments: argparse.Namespace) -> Options:
    """Those of the engine's options that the verb has."""
    from dataclasses import fields

    from harness.engine.plan import Options

    given = vars(arguments)
    return Options(**{field.name: given[field.name] for field in fields(Options) if field.name in given})


def list_plan(plan: Plan, stream: IO[str], *, as_json: bool) -> int:
    """Print targets and checks; returns the exit code."""
    import json

    document = plan.plain()
    if as_json:
        print(json.dumps(document, indent=2), file=stream)
        return 0
    for target in document["targets"]:
        print(target["target"], file=stream)
        for check in target["checks"]:
            tags = f"  [{', '.join(check['tags'])}]" if check["tags"] else ""
            print(f"  {check['id']}{tags}", file=stream)
            if check["description"]:
                print(f"      {check['description']}", file=stream)
    return 0


def repeat_command(arguments: argparse.Namespace) -> Callable[[str, Check], str]:
    """What gives, for a target and a check, the command that looks at just these again."""
    import shlex

    from harness.inventory.patterns import pattern_for

    def repeat(target: str, check: Check) -> str:
        words = ["harness", "run"]
        for source in arguments.inventory:
            words += ["-i", source]
        for assignment in arguments.extra_vars:
            words += ["-e", assignment]
        if arguments.vault_password_file:
            words += ["--vault-password-file", arguments.vault_password_file]
        for flag in ("transport", "budget", "window", "timeout_scale", "target_deadline", "reach_timeout"):
            value = getattr(arguments, flag)
            if value is not None:
                words += [f"--{flag.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else value]
        if arguments.settle is False:
            words.append("--no-settle")
        if arguments.fail_fast_unchanged:
            words.append("--fail-fast-unchanged")
        words.append(f"--limit={pattern_for(target)}")
        return shlex.join([*words, check.id])

    return repeat


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
