"""`harness inventory`: show what an inventory says, and why; check it without touching a target."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from harness.cli.options import inventory_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.errors import UsageError
    from harness.inventory import Host, Inventory

_DESCRIPTION = """\
Shows the inventory as harness reads it, in the formats of ansible-inventory, and checks it.

  harness inventory -i hosts --list
  harness inventory -i hosts --graph --vars
  harness inventory -i hosts --explain web1 ansible_port
  harness inventory -i hosts check
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    parser = subparsers.add_parser(
        "inventory",
        help="show, explain and check an inventory",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inventory_options(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="all hosts and groups, as JSON (the default)")
    what.add_argument("--host", metavar="H", help="the variables of one host, as JSON")
    what.add_argument("--graph", action="store_true", help="the tree of groups; name a group to start there")
    what.add_argument(
        "--explain",
        nargs=2,
        metavar=("H", "VAR"),
        help="which file and line gave a variable its value, and what that overrode",
    )
    parser.add_argument("--vars", action="store_true", help="with --graph: show variables as well")
    parser.add_argument(
        "--playbook-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder of checks, whose group_vars and host_vars count too; may be repeated",
    )
    parser.add_argument(
        "word",
        nargs="?",
        metavar="check | GROUP",
        help="check: validate all targets without touching them; with --graph: where to start",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carries the verb out; returns the exit code. Raises HarnessError."""
    from harness.errors import UsageError
    from harness.inventory import load

    if not args.inventory:
        raise UsageError(
            "no inventory was given",
            hint="Name one with -i: a file, a folder, a program, or a list such as -i host1,",
        )
    check = args.word == "check" and not args.graph
    if args.word and not check and not args.graph:
        raise UsageError(f"unknown word {args.word!r}", hint="Expected: check. A group is named with --graph.")
    if args.vars and not args.graph:
        raise UsageError("--vars goes with --graph", hint="To see one host's variables: --host H")
    if check and (args.list or args.host or args.explain):
        raise UsageError("check goes without --list, --host and --explain")
    inventory = load(
        args.inventory,
        extra_vars=args.extra_vars,
        playbook_dirs=args.playbook_dir,
        vault_password_file=args.vault_password_file,
        validate=False,
        untrusted=args.untrusted,
    )
    return _check(inventory, args.limit) if check else _show(inventory, args)


def _show(inventory: Inventory, args: argparse.Namespace) -> int:
    from harness.errors import UsageError
    from harness.inventory import render

    if args.limit and (args.explain or args.host or args.graph):
        # They show what they are asked for, as Ansible does; but a misspelt limit is told.
        inventory.select_names(limit=args.limit)
    if args.explain:
        text = render.explanation(inventory.explain(*args.explain))
    elif args.host:
        names = inventory.select_names(args.host)
        if len(names) != 1:
            raise UsageError(f"--host {args.host!r} names {len(names)} hosts, expected one")
        text = render.to_json(render.host_json(inventory, names[0]))
    elif args.graph:
        text = render.graph(inventory, args.word or "all", show_vars=args.vars)
    else:
        names = inventory.select_names(limit=args.limit)
        text = render.to_json(render.list_json(inventory, names))
    _warn(inventory)
    print(text)
    return 0


def _check(inventory: Inventory, limit: str | None) -> int:
    from harness.errors import ExitCode
    from harness.inventory.validate import odd_names, problems

    hosts = inventory.select(limit=limit)
    inventory.model.notices.extend(odd_names(inventory))
    # What the values are for is asked once they are values: whether a host can be reached at all, a disk is there, …
    found = problems(inventory, hosts) or _target_problems(hosts)
    _warn(inventory)
    for problem in found:
        print(f"error: {inventory.templater.masked(str(problem))}", file=sys.stderr)
    targets = f"{len(hosts)} target{'s' if len(hosts) != 1 else ''}"
    if found:
        print(f"{targets}: {len(found)} problem{'s' if len(found) != 1 else ''}", file=sys.stderr)
        return ExitCode.USAGE
    print(f"{targets}: no problem found")
    return ExitCode.PASSED


def _target_problems(hosts: Iterable[Host]) -> list[UsageError]:
    """What keeps hosts from becoming targets. Nothing is started or connected to."""
    from harness.cli.shipping import sinks_of_host
    from harness.engine.findings.rules import finding_rules
    from harness.errors import UsageError
    from harness.target.spec import target_spec

    found = []
    for host in hosts:
        try:
            target_spec(host)
            finding_rules(host)
            sinks_of_host(host)
        except UsageError as error:
            found.append(error)
    return found


def _warn(inventory: Inventory) -> None:
    for notice in inventory.warnings:
        print(f"warning: {notice}", file=sys.stderr)
