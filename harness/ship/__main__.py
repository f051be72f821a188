"""The process that ships a run's record while the run goes on: see :mod:`harness.ship.escort`, which starts it.

On stdin comes one line of JSON with what to do; the next line, or the end of the pipe, says that the run has ended, in
whatever way. What a person should know goes to stdout, a line of JSON each.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from harness.deadline import Cancellation
from harness.errors import HarnessError
from harness.ship.convoy import Convoy
from harness.ship.notes import Notes
from harness.ship.registry import open_sink


def main() -> int:
    """Ships until all is there, or the time after the run's end is over."""
    order = json.loads(sys.stdin.buffer.readline())
    run = Path(order["run"])
    cancellation = Cancellation()
    notes = Notes(run, _tell)
    signal.signal(signal.SIGTERM, lambda number, frame: cancellation.cancel("it received SIGTERM"))
    threading.Thread(target=_watch, args=(cancellation, float(order["timeout"])), daemon=True).start()
    try:
        sinks = order["sinks"]
        convoy = Convoy([run], lambda: [open_sink(url) for url in sinks], told=notes, cancellation=cancellation)
        for journey in convoy.ship():
            notes(journey.words, journey.bad)
    except HarnessError as error:
        notes(str(error))
    except Exception as error:
        notes.keep(traceback.format_exc())
        notes(f"shipping has failed, by a fault of harness or of a sink: {error!r} (see {run}/ship/ship.log)")
    return 0


def _watch(cancellation: Cancellation, timeout: float) -> None:
    """Waits for the end of the run, and then for so many seconds."""
    sys.stdin.buffer.readline()
    if not cancellation.wait(timeout):
        cancellation.cancel(f"the {timeout:g} s of --ship-timeout are over")


def _tell(words: str, bad: bool) -> None:
    # The run may have been killed; what there is to say is then in the file only.
    with contextlib.suppress(OSError):
        os.write(1, json.dumps({"words": words, "bad": bad}).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
