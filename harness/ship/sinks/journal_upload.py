"""systemd-journal-remote, as systemd-journal-upload speaks to it (systemd-journal-remote.service(8)): entries in the
Journal Export Format (https://systemd.io/JOURNAL_EXPORT_FORMATS/) posted to `/upload`.

Acknowledged: it has answered 202, when the entries are in its journal file (which it maps: a power cut there may cost
some).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.event import Event
from harness.ship.http import HttpClient, not_an_answer, require_taken
from harness.ship.journal_fields import dumped, fields
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits

_ACCEPTED = 202
_HEADERS = {"Content-Type": "application/vnd.fdo.journal"}
_NAMESPACE = uuid.UUID("6f1c1c2e-6a3c-4a51-9d54-2f0f3f0d9c11")


class JournalUploadSink:
    """Posts entries; the run's id is used as the boot id that each journal entry must have."""

    def __init__(self, address: Address, options: Options) -> None:
        # systemd before 2018 took no field of more than 768 kB; the sum of all is below that here.
        self.limits = Limits(
            options.count("batch", 500), options.size("batch_bytes", 1_000_000), options.size("max_bytes", 700_000)
        )
        self._path = address.path
        self._client = HttpClient(address, options, compress=False)  # it takes no gzip

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        body = b"\n".join(entry(event) for event in events) + b"\n"
        response = self._client.post(self._path, body, _HEADERS, deadline)
        require_taken(response, self._client.address)
        if response.status != _ACCEPTED:
            raise not_an_answer(response, self._client.address, "the 202 of systemd-journal-remote")
        return TAKEN

    def close(self) -> None:
        self._client.close()


def open_sink(address: Address, options: Options) -> JournalUploadSink:
    return JournalUploadSink(address, options)


def entry(event: Event) -> bytes:
    """One entry. Its monotonic time is the sequence: it grows with each event, as the journal wants it."""
    boot = uuid.uuid5(_NAMESPACE, event.text("cicd.pipeline.run.id")).hex
    head = {
        "__REALTIME_TIMESTAMP": str(event.microseconds),
        "__MONOTONIC_TIMESTAMP": str(event.sequence),
        "_BOOT_ID": boot,
    }
    if host := event.text("host.name"):
        head["_HOSTNAME"] = host
    return dumped(head | fields(event))
