"""`harness ship`: a run's record to where logs are kept."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.ship.convoy import Journey

_EPILOG = """\
sinks:
  otlp+http[s]://HOST[:4318][/v1/logs]      OpenTelemetry logs
  elastic+http[s]://HOST[:9200]             Elasticsearch, OpenSearch: _bulk
  loki+http[s]://HOST[:3100]                Loki
  syslog+tcp://, syslog+tls://, syslog+udp://HOST[:PORT]
  relp://HOST[:2514], relp+tls://…          syslog with acknowledgements
  journald:                                 this machine's journal
  journal+http[s]://HOST[:19532]            systemd-journal-remote
  file:PATH, stdout:
A URL's options stand behind a question mark: docs/shipping.md has them all. Credentials come from the
environment or a file: password_env=, password_file=, token_env=, token_file=, headers_env=, headers_file=.

exit codes:
  0    everything was shipped
  1    everything was shipped but what a receiver refused for good (it is in rejected.jsonl in the run's folder), or
       what is missing or damaged in the record
  2    usage error; nothing was sent
  3    something is left: --timeout was over
  130  interrupted

examples:
  harness ship latest --to syslog+tls://logs.example.com:6514?ca=ca.pem
  harness ship logs/20261123T033958Z-4d9857 --to otlp+http://127.0.0.1:4318
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.options import seconds

    parser = subparsers.add_parser(
        "ship",
        help="send a run's record to where logs are kept",
        description="Sends the events of runs to sinks, during the run or afterwards: at least once, in order. What a "
        "sink has acknowledged is kept in the run's folder, so that the next call goes on from there.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, its id, or latest")
    parser.add_argument("--to", action="append", default=[], metavar="URL", help="the sink; may be repeated")
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the runs are (default logs/)")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="end after so many seconds, whatever is left")
    parser.add_argument(
        "--no-follow", action="store_true", help="do not wait for more events of a run that still goes on"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ships; says for each run and sink what became of it."""
    import os
    import threading
    from pathlib import Path

    from harness.cli import config
    from harness.cli.interrupts import ending_signals
    from harness.cli.shipping import opened, point_out_plain_tokens
    from harness.deadline import Cancellation
    from harness.errors import ExitCode, UsageError
    from harness.report.folder import find
    from harness.ship.convoy import Convoy
    from harness.ship.registry import open_sink

    urls = opened(arguments.to or config.load(os.environ).ship_to)
    if not urls:
        raise UsageError("no sink was given", hint="Name one with --to URL; `harness ship --help` shows their kinds.")
    point_out_plain_tokens(urls)
    # `logs/*` has the newest run twice: by its name, and as `latest`.
    found = [find(Path(arguments.logs), word) for word in arguments.runs]
    runs = list({path.resolve(): path for path in reversed(found)}.values())[::-1]
    cancellation = Cancellation()
    interrupted = Cancellation()

    def stop(name: str) -> None:
        interrupted.cancel(f"interrupted by {name}")
        cancellation.cancel(interrupted.reason)

    if arguments.timeout is not None:
        timer = threading.Timer(
            arguments.timeout, cancellation.cancel, (f"the {arguments.timeout:g} s of --timeout are over",)
        )
        timer.daemon = True
        timer.start()
    convoy = Convoy(
        runs,
        lambda: [open_sink(url) for url in urls],
        told=_tell,
        cancellation=cancellation,
        follow=not arguments.no_follow,
    )
    # What was not acknowledged is sent by the next call.
    with ending_signals(stop, lambda: os._exit(int(ExitCode.INTERRUPTED))):
        journeys = convoy.ship()
    for journey in journeys:
        _tell(journey.words)
    if interrupted.cancelled:
        return int(ExitCode.INTERRUPTED)
    return int(_code(journeys))


def _code(journeys: list[Journey]) -> int:
    from harness.errors import ExitCode

    if any(journey.left or journey.trouble for journey in journeys):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if any(journey.incomplete for journey in journeys) else ExitCode.PASSED


def _tell(words: str) -> None:
    print(f"harness: {words}", file=sys.stderr, flush=True)
