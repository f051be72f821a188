"""A soak's figures for Prometheus, at an address of one's own; made by its official client library.

The text format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from harness.distribution import install_command
from harness.errors import UsageError
from harness.soak.tally import Spread, Tally

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


def parse_address(text: str) -> tuple[str, int]:
    """Reads `ADDRESS:PORT`; `[::1]:PORT` for IPv6. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is no ADDRESS:PORT, such as 127.0.0.1:9300")
    return host, int(port)


def check_address(text: str) -> None:
    """Raises UsageError where it is no address, or the library is missing."""
    try:
        parse_address(text)
        importlib.import_module("prometheus_client")
    except ValueError as error:
        raise UsageError(f"--metrics {error}") from None
    except ImportError:
        raise UsageError(
            "--metrics takes the library prometheus_client, which is not installed",
            hint=install_command("metrics"),
        ) from None


class Metrics:
    """Serves the figures as they are when they are asked for."""

    def __init__(self, address: str, tally: Callable[[], Tally]) -> None:
        """Listens at once. Raises UsageError where the address cannot be had."""
        from prometheus_client import CollectorRegistry, start_http_server

        host, port = parse_address(address)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(tally))
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise UsageError(f"--metrics {address}: nothing can listen there: {error.strerror or error}") from None
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Listens no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Collector:
    """The tally as metrics; what the library calls at each request."""

    def __init__(self, tally: Callable[[], Tally]) -> None:
        self._tally = tally

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily as Counter
        from prometheus_client.metrics_core import SummaryMetricFamily as Summary

        iterations = Counter("harness_iterations", "Finished iterations.", labels=["target"])
        bad = Counter("harness_bad_iterations", "Iterations with a complaint.", labels=["target"])
        trials = Counter("harness_trials", "Checks by outcome.", labels=["target", "check", "outcome"])
        flaky = Counter("harness_flaky_trials", "Passes that were flaky.", labels=["target", "check"])
        faults = Counter("harness_faults", "Faults done to the target.", labels=["target", "fault"])
        links = Counter("harness_link", "What the links met.", labels=["target", "what"])
        summaries: list[tuple[Any, str]] = [
            (Summary("harness_settle_seconds", "Time until the target had settled.", labels=["target"]), "settle"),
            (Summary("harness_reset_seconds", "Time that a reset took.", labels=["target"]), "reset"),
            (
                Summary("harness_recovery_seconds", "Time from a fault to an answer.", labels=["target"]),
                "recovery",
            ),
        ]
        for name, target in dict(self._tally().targets).items():
            iterations.add_metric([name], target.iterations)
            bad.add_metric([name], target.bad_iterations)
            for label, check in dict(target.checks).items():
                flaky.add_metric([name, label], check.flaky)
                for outcome, count in dict(check.outcomes).items():
                    trials.add_metric([name, label, outcome], count)
            for fault, count in dict(target.faults).items():
                faults.add_metric([name, fault], count)
            for what, count in dict(target.links).items():
                links.add_metric([name, what], count)
            for family, which in summaries:
                _summarise(family, name, getattr(target, which))
        yield from (iterations, bad, trials, flaky, faults, links, *(family for family, _ in summaries))


def _summarise(family: Any, name: str, spread: Spread) -> None:
    for share in (0.5, 0.9, 0.99):
        value = spread.quantile(share)
        if value is not None:
            family.add_sample(family.name, {"target": name, "quantile": str(share)}, value)
    family.add_sample(f"{family.name}_count", {"target": name}, spread.count)
    family.add_sample(f"{family.name}_sum", {"target": name}, spread.total)
