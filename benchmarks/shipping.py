"""Ships many events to real receivers while both sides are killed every few seconds, and counts what arrived.

    python benchmarks/shipping.py [--events 1000000] [--every 4] [--to relp,otlp]

`relp` is rsyslog (its queue `Direct`, so that it answers for what it has written), `otlp` a receiver of this file's own
that writes before it answers. Each few seconds either the shipper or the receiver, drawn by lot, is ended with SIGKILL
and started again at once. The event.id of each event must then be there, whole, and nothing in another order than the
record's but what was sent again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson

from harness.events import EventLog
from harness.ship.checkpoint import acknowledged

ROOT = Path(__file__).parents[1]
RSYSLOG = """\
global(workDirectory="{folder}" maxMessageSize="64k")
main_queue(queue.type="Direct")
module(load="imrelp")
template(name="message" type="string" string="%msg%\\n")
ruleset(name="events" queue.type="Direct") {{
    action(type="omfile" file="{out}" template="message" flushOnTXEnd="on" asyncWriting="off")
}}
input(type="imrelp" port="{port}" ruleset="events" maxDataSize="64k")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--every", type=float, default=4.0, help="mean seconds between two kills")
    parser.add_argument("--to", default="relp,otlp")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--receive", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.receive:
        receive(int(arguments.receive[0]), Path(arguments.receive[1]))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="harness-shipping-", dir="/var/tmp"))
    good = True
    try:
        began = time.monotonic()
        run = write_record(folder, arguments.events)
        took = time.monotonic() - began
        print(
            f"record: {arguments.events} events, {_size(run) / 1e6:.0f} MB on disk, written in {took:.1f} s", flush=True
        )
        for kind in arguments.to.split(","):
            good &= soak(kind, run, folder, arguments.every, random.Random(arguments.seed))
    finally:
        shutil.rmtree(folder)
    return 0 if good else 1


def write_record(folder: Path, events: int) -> Path:
    """A finished record of so many events, most of them console lines."""
    run = folder / "run"
    run.mkdir()
    log = EventLog(run / "events.jsonl", run="benchmark")
    log.emit("run.start", "begins", argv=["benchmark"], version="0", plan={"targets": []})
    words = "systemd[1]: Started a service with a name that is neither short nor long"
    for number in range(events - 2):
        log.emit(
            "console.line",
            f"[{number / 1000:12.3f}] {words} {number}",
            target=f"vm{number % 7}",
            console="ttyS0",
            text=f"{words} {number}",
        )
    log.emit("run.end", "is over", duration=1.0, exit_code=0, counts={})
    log.close()
    return run


def soak(kind: str, run: Path, folder: Path, every: float, lot: random.Random) -> bool:
    """Ships the record to one receiver under fire; prints the figures; true when nothing is missing."""
    out, port = folder / f"{kind}.out", _free_port()
    shutil.rmtree(run / "ship", ignore_errors=True)
    if kind == "relp":
        config = folder / "rsyslog.conf"
        config.write_text(RSYSLOG.format(folder=folder, out=out, port=port))
        receiver = ["rsyslogd", "-n", "-f", str(config), "-i", str(folder / "rsyslog.pid")]
        url = f"relp://127.0.0.1:{port}"
    else:
        receiver = [sys.executable, __file__, "--receive", str(port), str(out)]
        url = f"otlp+http://127.0.0.1:{port}"
    shipper = [sys.executable, "-m", "harness", "ship", str(run), "--to", url]
    began = time.monotonic()
    sides = [_start(receiver), _start(shipper)]
    kills, moved = [0, 0], 0
    next_kill = began + lot.uniform(0.5, 1.5) * every
    while sides[1].poll() != 0:
        time.sleep(0.05)
        # On a busy machine a start may take longer than the time between two kills: some progress is waited for.
        if time.monotonic() < next_kill or (acknowledged(run) or 0) <= moved:
            continue
        moved = acknowledged(run) or 0
        side = lot.randrange(2)
        if sides[side].poll() is None:
            sides[side].send_signal(signal.SIGKILL)
        sides[side].wait()
        if sides[1].returncode == 0:
            break
        kills[side] += 1
        (folder / "rsyslog.pid").unlink(missing_ok=True)
        sides[side] = _start([receiver, shipper][side])
        next_kill = time.monotonic() + lot.uniform(0.5, 1.5) * every
    took = time.monotonic() - began
    sides[0].terminate()
    sides[0].wait()
    events = acknowledged(run) or 0
    return report(kind, out, events, took, kills)


def report(kind: str, out: Path, events: int, took: float, kills: list[int]) -> bool:
    """Counts what arrived."""
    seen = bytearray(events + 1)
    lines = torn = backwards = 0
    highest = 0
    with out.open("rb") as file:
        for line in file:
            sequence = _sequence(line)
            if not sequence:
                torn += 1  # the receiver was killed while it wrote: it had not answered for that line
                continue
            lines += 1
            seen[sequence] = 1
            if sequence > highest + 1:
                backwards += 1
            highest = max(highest, sequence)
    missing = events - sum(seen)
    print(
        f"{kind}: {events} events in {took:.0f} s ({events / took:.0f}/s), killed: receiver {kills[0]} times, shipper "
        f"{kills[1]} times; missing {missing}, out of order {backwards}, twice {lines - events + missing}, "
        f"torn by the receiver's end {torn}",
        flush=True,
    )
    return missing == 0 and backwards == 0


def receive(port: int, out: Path) -> None:
    """Takes OTLP, and answers when what it took is written."""
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            records = orjson.loads(body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
            lines = []
            for record in records:
                values = {each["key"]: each["value"] for each in record["attributes"]}
                sequence = int(values["event.sequence"]["intValue"])
                lines.append(orjson.dumps({"@timestamp": "", "event.sequence": sequence}) + b"\n")
            os.write(fd, b"".join(lines))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the parent's name
            pass

    ThreadingHTTPServer.allow_reuse_address = True
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def _sequence(line: bytes) -> int:
    # A line that was torn by a kill has the next one glued to it, which is whole.
    begin = line.rfind(b'{"@timestamp"')
    try:
        return int(json.loads(line[begin:])["event.sequence"]) if begin >= 0 else 0
    except json.JSONDecodeError:
        return 0


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
