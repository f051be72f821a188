"""Where a run's record is shipped: from flags, inventory and settings; for the verbs that make a record."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from harness.errors import UsageError
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

    if arguments.no_ship:
        return []
    settings = config.load(os.environ)
    urls = [*arguments.ship, *settings.ship_to]
    for url in urls:
        _of_a_run(url)
    for host in hosts:
        urls += sinks_of_host(host)
    if arguments.ship_timeout is None:
        arguments.ship_timeout = settings.ship_timeout
    return opened(urls)


def sinks_of_host(host: Host) -> list[str]:
    """Those that the inventory names for a host. Raises UsageError, with the place, where one cannot be used."""
    from harness.errors import UsageError

    try:
        read = host.setting(VARIABLE)
    except UsageError as error:
        raise _masked(error) from None
    if read is None:
        return []
    assert isinstance(read, list | tuple), f"{VARIABLE} is a list in the table of variables"
    urls = [str(each) for each in read]
    for url in urls:
        try:
            _of_a_run(url)
            opened([url])
        except UsageError as error:
            raise _masked(host.error(VARIABLE, error.message, hint=error.hint)) from None
    return urls


def _masked(error: UsageError) -> UsageError:
    """The error without the password of a URL that stands in the line it shows."""
    from dataclasses import replace

    from harness.errors import UsageError
    from harness.ship.address import mask

    source = replace(error.source, text=mask(error.source.text)) if error.source else None
    return UsageError(mask(error.message), source=source, hint=mask(error.hint))


def _of_a_run(url: str) -> None:
    from harness.errors import UsageError

    if url == "-" or url.lower().startswith("stdout:"):
        raise UsageError("a run's own output is on stdout", hint="Ship to a file, or use harness ship afterwards.")


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
