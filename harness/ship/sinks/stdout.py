"""Standard output, one event a line. Acknowledged: our own kernel took it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.durable import write_all
from harness.ship.event import Event
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits


class StdoutSink:
    """Writes to what standard output is now. Raises BrokenPipeError when its reader has gone: nobody will read more."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        deadline.check("writing to standard output")
        sys.stdout.flush()
        write_all(sys.stdout.fileno(), b"".join(event.line + b"\n" for event in events))
        return TAKEN

    def close(self) -> None:
        return


def open_sink(address: Address, options: Options) -> StdoutSink:
    return StdoutSink(Limits(options.count("batch", 500), options.size("batch_bytes", 256_000)))
