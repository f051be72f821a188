"""Where a run's record is shipped: from flags, inventory and settings; for the verbs that make a record."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from harness.events import EventLog
    from harness.inventory import Host
    from harness.ship.escort import Escort

VARIABLE = "harness_ship"


def ship_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--ship`, `--no-ship` and `--ship-timeout`."""
    from harness.cli.options import seconds

    group = parser.add_argument_group("shipping the record (docs/shipping.md)")
    group.add_argument(
        "--ship",
        action="append",
        default=[],
        metavar="URL",
        help="ship the record there while the run goes on, e.g. otlp+http://HOST:4318; may be repeated",
    )
    group.add_argument("--no-ship", action="store_true", help="ship nowhere, whatever the inventory and settings say")
    group.add_argument(
        "--ship-timeout",
        type=seconds,
        metavar="S",
        help="how long to ship on after the run (default 30 s); then the command that sends the rest is printed",
    )


def sinks_of(arguments: argparse.Namespace, hosts: Iterable[Host]) -> list[str]:
    """The URLs of all sinks of this run, each once. Raises UsageError where one cannot be used, before anything is
    started."""
    import os

    from harness.cli import config
    from harness.errors import UsageError
    from harness.inventory.variables import TABLE

    if arguments.no_ship:
        return []
    settings = config.load(os.environ)
    urls = [*arguments.ship, *settings.ship_to]
    for host in hosts:
        value = host.vars.get(VARIABLE)
        if value is not None:
            read = TABLE[VARIABLE].read(value)
            assert isinstance(read, list | tuple)
            urls += [str(each) for each in read]
    for url in urls:
        if url == "-" or url.lower().startswith("stdout:"):
            raise UsageError("a run's own output is on stdout", hint="Ship to a file, or use harness ship afterwards.")
    if arguments.ship_timeout is None:
        arguments.ship_timeout = settings.ship_timeout
    return opened(urls)


def opened(urls: Sequence[str]) -> list[str]:
    """The URLs, each receiver once, after each of their sinks was opened. Raises UsageError."""
    if not urls:
        return []
    from harness.ship.registry import open_sink

    return list({open_sink(url).key: url for url in reversed(urls)}.values())[::-1]


def without_passwords(urls: Sequence[str]) -> None:
    """For a verb that writes down how it was called. Raises UsageError where a URL has a password in it."""
    from harness.errors import UsageError
    from harness.ship.registry import open_sink

    for url in urls:
        if open_sink(url).address.password:
            raise UsageError(
                "how a soak is begun is written down, and the URL of a sink has a password in it",
                hint="Give it with ?password_env=NAME or ?password_file=PATH.",
            )


def begin(
    folder: Path, urls: Sequence[str], timeout: float, log: EventLog, told: Callable[[str, bool], None]
) -> Escort | None:
    """Starts to ship; None where there is no sink. The URLs' passwords are masked in the record."""
    if not urls:
        return None
    from urllib.parse import quote

    from harness.ship.escort import Escort
    from harness.ship.registry import open_sink

    for url in urls:
        if password := open_sink(url).address.password:
            log.add_secret(password)
            log.add_secret(quote(password, safe=""))
    return Escort(folder, urls, timeout, told)
