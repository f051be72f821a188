"""Where a run's record is shipped: from flags, inventory and settings; for the verbs that make a record."""

from __future__ import annotations

import argparse
import sys
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
    group.add_argument(
        "--inventory-ship-secrets",
        action="store_true",
        help="let the inventory's harness_ship take passwords and tokens from files and the environment",
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
    if settings.ship_to:
        print(f"harness: shipping where {settings.path} says", file=sys.stderr)
    for host in hosts:
        urls += sinks_of_host(host, secrets=arguments.inventory_ship_secrets)
    point_out_plain_tokens(urls)
    if arguments.ship_timeout is None:
        arguments.ship_timeout = settings.ship_timeout
    return opened(urls)


def point_out_plain_tokens(urls: Iterable[str]) -> None:
    """A token or password that goes over a network unencrypted can be read there."""
    from harness.ship.registry import open_sink

    for url in dict.fromkeys(urls):
        address = open_sink(url).address
        if address.host and not address.encrypted and not _is_loopback(address.host) and _credentials(url):
            words = f"harness: {address}: its password or token is sent unencrypted; use a scheme with +https or +tls"
            print(words, file=sys.stderr)


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _credentials(url: str) -> list[str]:
    """What a sink's URL would have sent of this machine's secrets, each as it is written. Nothing is read for it."""
    import os
    from urllib.parse import parse_qsl, urlsplit

    from harness.ship.credentials import PASSWORD_VARIABLE

    parts = urlsplit(url)
    found = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if name.endswith(("_file", "_env"))]
    if parts.username and (parts.password or os.environ.get(PASSWORD_VARIABLE)):
        found.append("password" if parts.password else f"${PASSWORD_VARIABLE}")
    return found


def sinks_of_host(host: Host, *, secrets: bool = True) -> list[str]:
    """Those that the inventory names for a host; without `secrets` none that would be sent a secret of this machine's
    (of a file or the environment). Raises UsageError, with the place, where one cannot be used."""
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
            taken = [name for name in _credentials(url) if name != "password"]
            if taken and not secrets:
                raise UsageError(
                    f"the inventory would have {', '.join(taken)} of this machine sent to a receiver of its choice",
                    hint="Give the sink with --ship, or in harness.toml; or allow it with --inventory-ship-secrets.",
                )
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
