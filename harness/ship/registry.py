"""Which sink a URL means, and how it is opened."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

from harness.errors import UsageError
from harness.ship.address import Address, mask, parse
from harness.ship.options import Options
from harness.ship.sink import Sink

GROUP = "harness.sinks"
Opener = Callable[[Address, Options], Sink]
"""What a sink's module calls `open_sink`, and what an entry point leads to. It raises UsageError."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of sink: its module in harness.ship.sinks, and what its URLs may leave out."""

    module: str
    port: int = 0
    path: str = ""
    needs_host: bool = True


SCHEMES = {
    "otlp+http": Scheme("otlp", 4318, "/v1/logs"),
    "otlp+https": Scheme("otlp", 4318, "/v1/logs"),
    "elastic+http": Scheme("elastic", 9200),
    "elastic+https": Scheme("elastic", 9200),
    "loki+http": Scheme("loki", 3100, "/loki/api/v1/push"),
    "loki+https": Scheme("loki", 3100, "/loki/api/v1/push"),
    "syslog+tcp": Scheme("syslog", 514),
    "syslog+tls": Scheme("syslog", 6514),
    "syslog+udp": Scheme("syslog", 514),
    "relp": Scheme("relp", 2514),
    "relp+tls": Scheme("relp", 2514),
    "journald": Scheme("journald", 0, "/run/systemd/journal/socket", needs_host=False),
    "journal+http": Scheme("journal_upload", 19532, "/upload"),
    "journal+https": Scheme("journal_upload", 19532, "/upload"),
    "file": Scheme("file", needs_host=False),
    "stdout": Scheme("stdout", needs_host=False),
}
ALIASES = {
    "otlp": "otlp+http",
    "otlps": "otlp+https",
    "elasticsearch+http": "elastic+http",
    "elasticsearch+https": "elastic+https",
    "opensearch+http": "elastic+http",
    "opensearch+https": "elastic+https",
    "loki": "loki+http",
    "syslog": "syslog+tcp",
    "syslogs": "syslog+tls",
    "relp+tcp": "relp",
    "relps": "relp+tls",
}


@dataclass(frozen=True, slots=True)
class OpenSink:
    """A sink that can be shipped to. `key` names its checkpoint; `timeout` is the seconds that a batch is given."""

    address: Address
    sink: Sink
    key: str
    timeout: float
    known: tuple[str, ...]
    """The options that its URL may have."""


def open_sink(url: str) -> OpenSink:
    """Opens the sink of a URL; it connects later. Raises UsageError, saying what the URL should be."""
    written = "stdout:" if url == "-" else url
    word, colon, rest = written.partition(":")
    if not colon or not word:
        raise UsageError(f"{mask(url)!r} is no URL of a sink", hint=_schemes())
    scheme = ALIASES.get(word.lower(), word.lower())
    if scheme in SCHEMES:
        kind = SCHEMES[scheme]
        opener: Opener = importlib.import_module(f"harness.ship.sinks.{kind.module}").open_sink
    else:
        kind, opener = Scheme(""), _elsewhere(scheme, url)
    address = parse(f"{scheme}:{rest}", port=kind.port, path=kind.path, needs_host=kind.needs_host, scheme=scheme)
    options = Options(address)
    sink = opener(address, options)
    timeout = options.seconds("timeout", 30.0)
    options.done()
    return OpenSink(address, sink, address.key(options.identity), timeout, tuple(options.known))


def _elsewhere(scheme: str, url: str) -> Opener:
    for entry in entry_points(group=GROUP):
        if entry.name == scheme:
            opener: Opener = entry.load()
            return opener
    if scheme in ("http", "https"):
        raise UsageError(
            f"{mask(url)!r} does not say what is spoken there",
            hint=f"Write otlp+{scheme}://…, elastic+{scheme}://…, loki+{scheme}://… or journal+{scheme}://….",
        )
    near = difflib.get_close_matches(scheme, [*SCHEMES, *ALIASES], 1)
    raise UsageError(f"no sink is called {scheme!r}", hint=f"Did you mean {near[0]}://…?" if near else _schemes())


def _schemes() -> str:
    return f"Sinks are: {', '.join(SCHEMES)}, and those of installed packages (entry point {GROUP})."
