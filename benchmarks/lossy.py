"""Ships over a link that resets some of the requests, and compares the rates with the loss-free one.

    python benchmarks/lossy.py [--events 100000] [--loss 0,2,5,10,30] [--rounds 3]

An OTLP receiver of this file resets each request with the given probability, half of the time before it has read the
batch and half of the time after it has taken it (the answer is lost). All rates are measured in turns in each round,
so that other load on the machine meets them alike; the median of each is printed. Every event must arrive. The exit
code is 1 where an event is missing, or where the rate at 30 % is below a third of the loss-free one.
"""

from __future__ import annotations

import argparse
import gzip
import random
import shutil
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson

from harness.deadline import Cancellation
from harness.events import EventLog
from harness.ship.registry import open_sink
from harness.ship.shipper import Shipper

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--loss", default="0,2,5,10,30", help="per cent of requests that are reset")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    losses = [float(word) for word in arguments.loss.split(",")]
    lot = random.Random(arguments.seed)
    rates: dict[float, list[float]] = {loss: [] for loss in losses}
    folder = Path(tempfile.mkdtemp(prefix="harness-lossy-", dir="/var/tmp"))
    missing = 0
    try:
        run = write_record(folder, arguments.events)
        for _ in range(arguments.rounds):
            for loss in losses:
                took, arrived = ship(run, loss / 100, lot)
                rates[loss].append(arguments.events / took)
                missing += arguments.events - arrived
    finally:
        shutil.rmtree(folder)
    medians = {loss: statistics.median(each) for loss, each in rates.items()}
    best = medians.get(0.0, max(medians.values()))
    for loss, rate in medians.items():
        print(f"{loss:4g} % of requests reset: {rate:8.0f} events/s, {rate / best:.2f} of the loss-free rate")
    print(f"missing: {missing}")
    return 1 if missing or medians.get(30.0, best) < best / 3 else 0


def write_record(folder: Path, events: int) -> Path:
    """Write a finished record of so many events."""
    run = folder / "run"
    run.mkdir()
    log = EventLog(run / "events.jsonl", run="benchmark")
    for number in range(events - 1):
        text = f"systemd[1]: Started a service with a name that is neither short nor long {number}"
        log.emit("console.line", text, target=f"vm{number % 7}", console="ttyS0", text=text)
    log.emit("run.end", "is over", duration=1.0, exit_code=0, counts={})
    log.close()
    return run


def ship(run: Path, loss: float, lot: random.Random) -> tuple[float, int]:
    """Ship the record from its beginning. Return the seconds that it took and how many different events arrived."""
    shutil.rmtree(run / "ship", ignore_errors=True)
    arrived: set[int] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            fate = lot.random()
            if fate < loss / 2:
                self.reset()
                return
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            for record in orjson.loads(body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
                sequence = next(each["value"] for each in record["attributes"] if each["key"] == "event.sequence")
                arrived.add(int(sequence["intValue"]))
            if fate < loss:
                self.reset()
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def reset(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.close()

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the parent's name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    opened = open_sink(f"otlp+http://127.0.0.1:{server.server_address[1]}")
    shipper = Shipper(run, opened.sink, name="sink", key="sink", told=_tell, cancellation=Cancellation(), follow=False)
    began = time.monotonic()
    try:
        shipper.ship()
    finally:
        shipper.close()
        server.shutdown()
        server.server_close()
    return time.monotonic() - began, len(arrived)


def _tell(words: str) -> None:
    print(f"  {words}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
