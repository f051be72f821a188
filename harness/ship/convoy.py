"""Records to sinks, each pair by a thread, and what is left when the time is over."""

from __future__ import annotations

import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Cancellation
from harness.errors import Cancelled, HarnessError
from harness.events.tail import last_sequence
from harness.printing import typed_path
from harness.ship.checkpoint import FOLDER
from harness.ship.credentials import PASSWORD_VARIABLE
from harness.ship.registry import OpenSink
from harness.ship.shipper import Shipper

_AT_ONCE = 16  # pairs; each may hold a connection and some megabytes
_LOOK = 0.2  # seconds; waiting in short pieces lets Ctrl-C through
_GRACE = 5.0  # seconds in which a cancelled thread lets go; one that asks a dead name server may not
_STACK = 1 << 20  # bytes of a thread's stack: what is done here is not deep


@dataclass(frozen=True, slots=True)
class Journey:
    """What became of one record on its way to one sink."""

    run: Path
    sink: OpenSink
    sent: int
    refused: int
    left: int
    trouble: str
    lost: int = 0
    damage: str = ""

    @property
    def bad(self) -> bool:
        """Whether not everything has arrived."""
        return bool(self.left or self.trouble or self.incomplete)

    @property
    def incomplete(self) -> bool:
        """Whether something will never arrive: it was refused, or is missing in the record."""
        return bool(self.refused or self.lost or self.damage)

    @property
    def words(self) -> str:
        """One line for a person, and the command that sends what is left."""
        what = f"{self.run} to {self.sink.address}: {self.sent} events sent"
        if self.refused:
            what += f", {self.refused} refused (see {self.run / 'rejected.jsonl'})"
        if self.lost:
            what += f", {self.lost} were no longer in the record"
        if self.damage:
            what += f", the end of the record cannot be read: {self.damage}"
        if not self.left and not self.trouble:
            if self.lost or self.damage:
                what += (
                    "\n  All that can be read was sent. If you have the files, put them back into "
                    f"{self.run}, and send the record anew with: {self.anew}"
                )
            return what
        what += f", {self.left} left"
        if self.trouble:
            what += f": {self.trouble}"
        return f"{what}\n  Send the rest with: {self.command}"

    @property
    def anew(self) -> str:
        """What sends the record from its beginning."""
        return f"rm {shlex.quote(typed_path(self.run / FOLDER / self.sink.key))}.json; {self.command}"

    @property
    def command(self) -> str:
        """What sends the rest. A password that stood in the URL is to be given again, where nobody reads it."""
        command = shlex.join(["harness", "ship", typed_path(self.run), "--to", self.sink.address.without_password])
        return f"{PASSWORD_VARIABLE}=… {command}" if self.sink.address.password else command


class Convoy:
    """Ships some records to some sinks, several at a time, in the order given."""

    def __init__(
        self,
        runs: Sequence[Path],
        sinks: Callable[[], Sequence[OpenSink]],
        *,
        told: Callable[[str], None],
        cancellation: Cancellation,
        follow: bool = True,
    ) -> None:
        """`sinks` opens the sinks anew for each run, since none is shared by threads. Without `follow`, a record that
        is still being written is shipped up to its last line of now."""
        self._told = told
        self._cancellation = cancellation
        self._follow = follow
        self._pairs = [(run, sink) for run in runs for sink in sinks()]
        self._waiting = deque(range(len(self._pairs)))
        self._journeys: dict[int, Journey] = {}
        self._broken: list[BaseException] = []

    def ship(self) -> list[Journey]:
        """Return when all is shipped, or was cancelled. Raises what is a fault of harness or of
        a package's sink."""
        old = threading.stack_size(_STACK)
        try:
            threads = [
                threading.Thread(target=self._work, name=f"ship-{number}", daemon=True)
                for number in range(min(_AT_ONCE, len(self._pairs)))
            ]
            for thread in threads:
                thread.start()
        finally:
            threading.stack_size(old)
        try:
            self._wait(threads)
        except KeyboardInterrupt:
            self._cancellation.cancel("interrupted")
            self._wait(threads)
        if self._broken:
            raise self._broken[0]
        return [
            self._journeys.get(at) or Journey(run, sink, 0, 0, _left(run, 0), "it does not let go")
            for at, (run, sink) in enumerate(self._pairs)
        ]

    def _wait(self, threads: Sequence[threading.Thread]) -> None:
        end: float | None = None
        for thread in threads:
            while thread.is_alive() and (end is None or time.monotonic() < end):
                thread.join(_LOOK)
                if end is None and self._cancellation.cancelled:
                    end = time.monotonic() + _GRACE

    def _work(self) -> None:
        while True:
            try:
                at = self._waiting.popleft()
            except IndexError:
                return
            self._carry(at)

    def _carry(self, at: int) -> None:
        run, sink = self._pairs[at]
        try:
            shipper = Shipper(
                run,
                sink.sink,
                name=str(sink.address),
                key=sink.key,
                told=self._told,
                cancellation=self._cancellation,
                timeout=sink.timeout,
                follow=self._follow,
            )
        except HarnessError as error:
            self._journeys[at] = Journey(run, sink, 0, 0, _left(run, 0), _advised(error))
            return
        except OSError as error:
            self._journeys[at] = Journey(run, sink, 0, 0, _left(run, 0), f"cannot write into {run}: {error.strerror}")
            return
        trouble = ""
        try:
            shipper.ship()
        except Cancelled as error:
            trouble = shipper.trouble or str(error)
        except HarnessError as error:
            trouble = _advised(error)
        except BaseException as error:
            self._broken.append(error)
        finally:
            shipper.close()
        self._journeys[at] = Journey(
            run,
            sink,
            shipper.sent,
            shipper.refused,
            _left(run, shipper.position.sequence),
            trouble,
            shipper.lost,
            shipper.damage,
        )


def _advised(error: HarnessError) -> str:
    return f"{error.message} ({error.hint.rstrip('.')})" if error.hint else error.message


def _left(run: Path, sequence: int) -> int:
    return max(0, last_sequence(run) - sequence)
