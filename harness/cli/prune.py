"""`harness prune`: remove old runs from `logs/`."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """\
Bounds that are not given are taken from the settings (`harness.toml`):

  [prune]
  older_than = "30d"
  max_size = "10G"
  keep = 100
  keep_failures = true

A run that is going on, one with a machine that is up, and one whose record is not shipped yet are never removed.

exit codes:
  0    done
  2    usage error, or a folder that cannot be removed
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its flags."""
    from harness.cli.options import days, positive, size

    parser = subparsers.add_parser(
        "prune",
        help="remove old runs from logs/",
        description="Removes the folders of runs, and of other verbs' records, that are older, more, or larger than "
        "wanted; the oldest first.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the runs are (default logs/)")
    parser.add_argument("--older-than", type=days, metavar="TIME", help="remove what is older: 30d, 12h, 90m")
    parser.add_argument(
        "--max-size", type=size, metavar="SIZE", help="keep the newest that have at most this size together: 500M, 10G"
    )
    parser.add_argument("--keep", type=positive, metavar="N", help="keep the newest N")
    parser.add_argument(
        "--keep-failures",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="keep runs that failed or were killed",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="remove nothing; say what would be removed")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove what the bounds say. Raises UsageError."""
    import json
    import os
    import time

    from harness.cli import config
    from harness.errors import UsageError
    from harness.report.prune import Policy, look_at, removable, remove, tidy

    logs = Path(arguments.logs)
    if not logs.is_dir():
        raise UsageError(f"there is no folder {logs}", hint="Name where the runs are with --logs DIR.")
    set_up = config.load(os.environ)
    policy = Policy(
        age=set_up.prune.age if arguments.older_than is None else arguments.older_than,
        size=set_up.prune.size if arguments.max_size is None else arguments.max_size,
        count=set_up.prune.count if arguments.keep is None else arguments.keep,
        keep_failures=set_up.prune.keep_failures if arguments.keep_failures is None else arguments.keep_failures,
    )
    if not policy.bounded:
        raise UsageError(
            "nothing says what is to be removed",
            hint="Give --older-than, --max-size or --keep, or set them in harness.toml below [prune].",
        )
    found = look_at(logs)
    going = removable(found, policy, time.time())
    removed = going if arguments.dry_run else [each for each in going if remove(each)]
    if not arguments.dry_run:
        tidy(logs)
    total = sum(each.size for each in removed)
    if arguments.json:
        document = {
            "dry_run": arguments.dry_run,
            "removed": [{"run": each.path.name, "bytes": each.size, "failed": each.failed} for each in removed],
            "bytes": total,
            "kept": [{"run": each.path.name, "reason": each.busy} for each in found if each not in removed],
        }
        print(json.dumps(document, indent=2))
        return 0
    word = "would remove" if arguments.dry_run else "removed"
    for each in removed:
        print(f"{word} {each.path} ({each.size / (1 << 20):.1f} MiB{', failed' if each.failed and each.run else ''})")
    for each in found:
        if each.busy:
            print(f"kept {each.path}: {each.busy}")
    print(f"{word} {len(removed)} of {len(found)} folders, {total / (1 << 20):.1f} MiB")
    return 0
