"""A plain file, one event a line. Acknowledged: written and synced to disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.ship.address import Address
from harness.ship.durable import append_durably
from harness.ship.event import Event
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits, Unavailable
from harness.user import expanded


class FileSink:
    """Adds whole lines to a file, which may be shared by several runs; what a killed one left half is taken off."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.limits = limits
        self._path = path

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        deadline.check(f"writing {self._path}")
        try:
            append_durably(self._path, b"".join(event.line + b"\n" for event in events))
        except OSError as error:
            raise Unavailable(f"cannot write {self._path}: {error.strerror}", sent=False) from error
        return TAKEN

    def close(self) -> None:
        return


def open_sink(address: Address, options: Options) -> FileSink:
    if address.host not in ("", "localhost") or not address.path:
        raise UsageError(f"{address} names no file of this machine", hint="Write file:///PATH, or file:PATH.")
    path = expanded(address.path).absolute()
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no plain file", hint="Name a file, or stdout:.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint="Make it first.")
    return FileSink(path, Limits(options.count("batch", 2000), options.size("batch_bytes", 1_000_000)))
