"""Flags that several verbs share. Only argparse is imported here, so that `harness --help` stays quick."""

from __future__ import annotations

import argparse


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
