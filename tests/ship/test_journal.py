"""systemd's two ways in: a real systemd-journal-remote, and the socket of journald."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ship.journal_fields import fields
from harness.ship.registry import open_sink
from tests.patience import scaled
from tests.ship.daemons import free_port, program, started
from tests.ship.runs import Run, Trip, ship
from tests.ship.test_formats import export_format


def test_journal_remote_takes_every_event(run: Run, tmp_path: Path) -> None:
    run.say(*(f"line {number}: \x07 é\nand more «{'x' * number}»" for number in range(600)))
    run.end()
    port, journal = free_port(), tmp_path / "out.journal"
    daemon = program("systemd-journal-remote")
    command = [daemon, f"--listen-http=127.0.0.1:{port}", f"--output={journal}", "--split-mode=none"]
    with started(command, [port], tmp_path / "log"):
        trip = ship(run, f"journal+http://127.0.0.1:{port}")
    assert trip.told == []
    shown = subprocess.run(
        [program("journalctl"), f"--file={journal}", "-o", "json", "--no-pager", "-a"], capture_output=True, check=True
    )
    entries = [json.loads(line) for line in shown.stdout.splitlines()]
    events = run.events()
    assert len(entries) == len(events)
    for entry, event in zip(entries, events, strict=True):
        for name, value in fields(event).items():
            got = entry[name] if isinstance(entry[name], str) else bytes(entry[name]).decode()
            assert got == value, name
        assert int(entry["__REALTIME_TIMESTAMP"]) == event.microseconds
    assert {entry["_HOSTNAME"] for entry in entries[1:-1]} == {"vm1"}


JOURNALD = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal || exit 77
{journald} > {log} 2>&1 &
daemon=$!
for _ in $(seq 300); do [ -S /run/systemd/journal/socket ] && break; sleep 0.1; done
{python} -m harness ship {run} --to journald: --timeout 60
code=$?
for _ in $(seq 300); do
    journalctl --sync > /dev/null 2>&1
    journalctl -D /run/log/journal SYSLOG_IDENTIFIER=harness -o json --no-pager -a > {out} 2> /dev/null
    [ "$(wc -l < {out})" -ge {count} ] && break
    sleep 0.1
done
kill $daemon
wait $daemon
exit $code
"""


def test_a_real_journald_has_every_event(run: Run, tmp_path: Path) -> None:
    """One of our own, with a /run of its own, where this user may make that."""
    run.say(*(f"line {number}: é «{'x' * number}»" for number in range(200)))
    run.end()
    out = tmp_path / "out"
    script = JOURNALD.format(
        journald=program("systemd-journald"),
        log=tmp_path / "log",
        python=sys.executable,
        run=run.folder,
        out=out,
        count=len(run.events()),
    )
    unshare = [program("unshare"), "--mount", "--propagation", "private"]
    if os.geteuid() or subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/run"], check=False).returncode:
        pytest.skip("no namespace of mounts can be made here")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [*unshare, "bash", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=scaled(200),
        check=False,
    )
    assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
    entries = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [entry["EVENT_ID"] for entry in entries] == run.ids()
    assert entries[5]["MESSAGE"] == run.events()[5].text("message")


def test_the_socket_of_journald(run: Run, tmp_path: Path) -> None:
    """A datagram an event; what is too large for one comes as a file that cannot be changed any more."""
    run.say("short", "two\nlines", "x" * 9_000_000)
    run.end()
    path = tmp_path / "socket"
    got: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        sink = open_sink(f"journald:{path}").sink
        trip = Trip(run, sink)
        assert trip.go(), trip.told
        for _ in run.events():
            data, ancillary, _, _ = journal.recvmsg(1 << 20, 1024)
            for _, _, raw in ancillary:
                (fd,) = array.array("i", raw)
                with os.fdopen(fd, "rb") as file:
                    data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
            got.append(data)
    events = run.events()
    assert [export_format(data)[0] for data in got] == [
        {name.encode(): value.encode() for name, value in fields(event).items()} for event in events
    ]


def test_a_journald_that_is_not_there(run: Run, tmp_path: Path) -> None:
    run.end()
    trip = Trip(run, open_sink(f"journald:{tmp_path}/none").sink, most=3)
    assert not trip.go()
    assert "No such file" in trip.told[0]
