"""Flags that several verbs share. Only argparse is imported here, so that `harness --help` stays quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.events.writer import Rotation


def inventory_options(parser: argparse.ArgumentParser) -> None:
    """Adds `-i`, `-e`, `--limit` and `--vault-password-file`, with Ansible's meanings.

    They arrive as `inventory` (list), `extra_vars` (list), `limit` and `vault_password_file` (text or None).
    """
    group = parser.add_argument_group("inventory")
    group.add_argument(
        "-i",
        "--inventory",
        action="append",
        default=[],
        metavar="SOURCE",
        help="file, folder, program or list of hosts (h1,h2 or h1,); may be repeated",
    )
    group.add_argument(
        "-e",
        "--extra-vars",
        action="append",
        default=[],
        metavar="VARS",
        help="key=value, @file, or a JSON/YAML mapping; wins over all other values; may be repeated",
    )
    group.add_argument("-l", "--limit", metavar="PATTERN", help="only the hosts that also match this (@file reads it)")
    group.add_argument(
        "--vault-password-file",
        metavar="FILE",
        help="the password for vaulted values; a program is run and prints it",
    )
    group.add_argument(
        "--untrusted",
        action="store_true",
        help="the inventory is somebody else's: run no program of its, read no file outside its folder",
    )


def check_options(parser: argparse.ArgumentParser, *, nargs: str = "+") -> None:
    """Adds CHECKS, `-k`, `--tags`, `--skip-tags` and `--list`."""
    parser.add_argument("checks", nargs=nargs, metavar="CHECKS", help="files or folders of checks, or FILE.py::NAME")
    choose = parser.add_argument_group("choosing checks")
    choose.add_argument(
        "-k",
        dest="keyword",
        default="",
        metavar="EXPR",
        help="only checks whose module::name matches, e.g. 'banner or key'",
    )
    choose.add_argument(
        "-t",
        "--tags",
        default="",
        metavar="TAGS",
        help="only checks with one of these tags (comma-separated)",
    )
    choose.add_argument("--skip-tags", default="", metavar="TAGS", help="no checks with one of these tags")
    choose.add_argument(
        "--list", action="store_true", dest="list_only", help="list targets and checks, and start nothing"
    )


def target_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds what says how one pass over a target is done; returns the group."""
    how = parser.add_argument_group("how to run")
    how.add_argument("--forks", type=positive, default=5, metavar="N", help="targets side by side (default 5)")
    how.add_argument("--at-once", type=positive, metavar="N", help="checks of one target side by side (default 4)")
    how.add_argument(
        "--target-deadline", type=seconds, metavar="S", help="end each target after so many seconds, boot included"
    )
    how.add_argument(
        "--reach-timeout",
        type=seconds,
        metavar="S",
        help="give up a host that is up already and refuses after so many seconds (default 30); see expect_boot",
    )
    how.add_argument(
        "--transport",
        choices=("ssh", "serial"),
        help="insist on one transport for every check that does not itself",
    )
    how.add_argument(
        "--no-settle",
        action="store_false",
        dest="settle",
        default=None,
        help="do not wait until a target has settled",
    )
    how.add_argument("--settle", action="store_true", default=None, help="wait until a target has settled (default)")
    how.add_argument(
        "--budget", type=seconds, metavar="S", help="total seconds of each check, instead of its own; 0: one attempt"
    )
    how.add_argument(
        "--fail-fast-unchanged",
        action="store_true",
        help="end a check before its budget where a settled target shows the same failure again and again (5 attempts "
        "and 10 s) while nothing moves on it",
    )
    how.add_argument(
        "--window",
        type=seconds,
        metavar="S",
        help="seconds that each observation must hold, instead of the check's own",
    )
    how.add_argument("--timeout-scale", type=factor, metavar="X", help="multiply the times allowed, for slow machines")
    how.add_argument("--shuffle", action="store_true", help="start the checks in an order drawn with the seed")
    return how


def output_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds `--logs`, `-q`, `-v` and `--json`; returns the group."""
    out = parser.add_argument_group("output")
    out.add_argument("--logs", default="logs", metavar="DIR", help="where the record goes (default logs/)")
    out.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    out.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="print attempts and observations too; -vv commands and console lines",
    )
    out.add_argument(
        "--json",
        action="store_true",
        help="print the results as one JSON document, and nothing else, on stdout",
    )
    record = parser.add_argument_group("the record's files")
    record.add_argument(
        "--rotate-size",
        type=size,
        metavar="SIZE",
        help="begin a new file of the record at this size, and compress the old one (default 64M)",
    )
    record.add_argument("--rotate-age", type=duration, metavar="TIME", help="and at this age (default 24h)")
    record.add_argument(
        "--rotate-keep",
        type=size,
        metavar="SIZE",
        help="remove the oldest files of the record beyond this size (default: never)",
    )
    return out


def rotation_of(arguments: argparse.Namespace) -> Rotation:
    """When the record is turned over, of what `output_options` read."""
    from harness.events.writer import Rotation

    rotation = Rotation(keep=arguments.rotate_keep)
    if arguments.rotate_size is not None:
        rotation = replace(rotation, size=arguments.rotate_size)
    if arguments.rotate_age is not None:
        rotation = replace(rotation, age=arguments.rotate_age)
    return rotation


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size(text: str) -> int:
    """A number of bytes above 0: 500000, 64K, 64M, 2G."""
    match = re.fullmatch(r"([0-9]+)([KMGT]?)(?:iB|B)?", text.strip(), re.IGNORECASE)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no size, such as 500K, 64M or 2G")
    return int(match[1]) * _UNITS[match[2].upper()]


def days(text: str) -> float:
    """Return the seconds of an age such as 30d, 12h, 1h30m or 90s."""
    match = re.fullmatch(r"([0-9]+)d", text.strip())
    if match and int(match[1]):
        return int(match[1]) * 86400.0
    return duration(text)


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def count(text: str) -> int:
    """A whole number from 0 up."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 up")
    return int(text)


def factor(text: str) -> float:
    """A number above 0."""
    value = seconds(text)
    if not value:
        raise argparse.ArgumentTypeError("a factor of 0 leaves no time at all")
    return value


def seconds(text: str) -> float:
    """A number from 0 up."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return value


WAIT_LOCK = "--wait-lock"
"""A flag whose number may be left out."""


def seconds_or_never(text: str) -> float:
    """A number from 0 up, or `inf`."""
    return float("inf") if text == "inf" else seconds(text)


def with_numbers(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the number that may be left out behind `--wait-lock` put there: argparse
    would take the next word for it, which may be a host."""
    given = list(words)
    end = given.index("--") if "--" in given else len(given)
    for index in range(end):
        following = given[index + 1] if index + 1 < end else ""
        if given[index] == WAIT_LOCK and not re.fullmatch(r"\d+(\.\d*)?|\.\d+|inf", following, re.ASCII):
            given[index] = f"{WAIT_LOCK}=inf"
    return given


def duration(text: str) -> float:
    """A time above 0: 90, 90s, 30m, 8h, 1h30m; in seconds."""
    from harness.inventory.kinds import seconds as read

    try:
        value = read(text)
    except ValueError:
        value = 0.0
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 8h, 30m, 1h30m or 90s")
    return value
