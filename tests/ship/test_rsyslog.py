"""A real rsyslog, over everything that it listens on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ship.registry import open_sink
from tests.ship.daemons import Rsyslog, free_port, program, rsyslog
from tests.ship.runs import Run, Trip, ship


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Rsyslog]:
    with rsyslog(tmp_path / "rsyslog") as made:
        yield made


def url(receiver: Rsyslog, kind: str) -> str:
    keys = f"ca={receiver.folder}/ca.pem&cert={receiver.folder}/client.pem&key={receiver.folder}/client.key"
    return {
        "tcp": f"syslog+tcp://127.0.0.1:{receiver.tcp}",
        "udp": f"syslog+udp://127.0.0.1:{receiver.tcp}",
        "tls": f"syslog+tls://127.0.0.1:{receiver.tls}?{keys}",
        "relp": f"relp://127.0.0.1:{receiver.relp}",
        "relp+tls": f"relp+tls://127.0.0.1:{receiver.relp_tls}?{keys}",
    }[kind]


@pytest.mark.parametrize("kind", ["tcp", "tls", "udp", "relp", "relp+tls"])
def test_every_event_arrives_as_it_is(receiver: Rsyslog, run: Run, kind: str) -> None:
    run.say(
        *(
            f"line {number} of the console: \x07 é \u2028 «{'x' * number}»"
            for number in range(20 if kind == "udp" else 700)
        )
    )
    run.end()
    trip = ship(run, url(receiver, kind))
    lines = run.lines()
    assert receiver.lines(len(lines)) == lines
    headers = receiver.lines(len(lines), "headers")
    assert headers[1] == b'vm1 harness run console.line 14 [meta sequenceId="2"]'
    assert trip.told == []
    assert trip.pauses == []


@pytest.mark.parametrize("kind", ["tcp", "relp"])
def test_long_fields_are_cut_to_what_it_takes(receiver: Rsyslog, run: Run, kind: str) -> None:
    text = "é" * 20_000
    run.say(text, "short")
    run.end()
    ship(run, url(receiver, kind))
    got = [json.loads(line) for line in receiver.lines(4)]
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert [each["event.sequence"] for each in got] == [1, 2, 3, 4]
    assert f"the whole is in long/{digest}.txt" in got[1]["message"] + got[1]["harness.text"]
    assert (run.folder / "long" / f"{digest}.txt").read_text() == text


@pytest.mark.parametrize(
    ("kind", "lacking"),
    # This rsyslog's imtcp does not hold a client's name against an input's PermittedPeer; its imrelp does.
    [("tls", "ca"), ("tls", "client"), ("relp+tls", "ca"), ("relp+tls", "client"), ("relp+tls", "right name")],
)
def test_nothing_is_sent_where_a_certificate_is_not_trusted(
    receiver: Rsyslog, run: Run, kind: str, lacking: str
) -> None:
    run.end()
    whole = url(receiver, kind)
    shown = {
        "ca": whole.partition("?")[0],
        "client": whole.partition("&")[0],
        "right name": whole.replace("/client.", "/server."),
    }[lacking]
    trip = Trip(run, open_sink(shown).sink, most=3)
    assert not trip.go()
    assert trip.shipper.position.sequence == 0
    assert not (receiver.folder / "messages").exists()
    if lacking == "ca":
        assert "its certificate is not trusted" in trip.told[0]


def test_nobody_listens_for_datagrams(run: Run) -> None:
    run.say(*(f"{number}" for number in range(200)))
    run.end()
    trip = Trip(run, open_sink("syslog+udp://127.0.0.1:9").sink, most=3)
    assert not trip.go()
    assert "Connection refused" in trip.told[0]


def test_an_rsyslog_that_is_started_again_gets_the_rest(tmp_path: Path, run: Run) -> None:
    """While it is away nothing moves; then it gets what is left."""
    run.say("first")
    with rsyslog(tmp_path / "rsyslog") as receiver:
        address = url(receiver, "relp")
        trip = Trip(run, open_sink(address).sink)
        assert trip.go()
        receiver.lines(2)
    run.say("second")
    run.end()
    away = Trip(run, open_sink(address).sink, most=2)
    assert not away.go()
    assert away.shipper.position.sequence == 2
    with rsyslog(tmp_path / "rsyslog") as receiver:
        ship(run, url(receiver, "relp"))
        assert receiver.lines(4) == run.lines()


FULL_DISK = """
set -e
mount -t tmpfs -o size=1m tmpfs {disk} || exit 77
rsyslogd -n -f {folder}/rsyslog.conf -i {folder}/pid > {folder}/log 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
dd if=/dev/zero of={disk}/filler bs=4k count=150 2> /dev/null
{python} -m harness ship {run} --to 'relp://127.0.0.1:{port}?timeout=300' 2> {folder}/said &
shipper=$!
wait_for() {{ for _ in $(seq 1200); do if "$@"; then return; fi; sleep 0.05; done; echo "never: $*"; exit 1; }}
full() {{ [ $(stat -f -c %a {disk}) = 0 ]; }}
wait_for full
sleep 2  # it is retried each second; nothing may go on while it is full
wc -l < {disk}/harness.jsonl > {folder}/before
kill -0 $shipper
rm {disk}/filler
wait $shipper
cp {disk}/harness.jsonl {folder}/got
"""


def documented(pattern: str) -> str:
    """The first block of docs/shipping.md that begins so."""
    text = (Path(__file__).parents[2] / "docs" / "shipping.md").read_text()
    match = re.search(rf"^```\w*\n({pattern}.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert match, pattern
    return match[1]


def test_the_documented_configuration_loses_nothing_on_a_full_disk(tmp_path: Path, run: Run) -> None:
    """The configuration and the program as they are in docs/shipping.md, on a file system without space."""
    program("rsyslogd")
    unshare = [program("unshare"), "--mount", "--propagation", "private"]
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    if subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True).returncode:
        pytest.skip("no namespace of mounts can be made here")
    run.say(*(f"line {number} {'x' * 200}" for number in range(900)))
    run.end()
    folder, port = tmp_path / "rsyslog", free_port()
    (disk := folder / "disk").mkdir(parents=True)
    writer = folder / "append-events"
    writer.write_text(documented("#!/usr/bin/python3"))
    writer.chmod(0o755)
    config = documented(r'module\(load="imrelp"\)\nmodule\(load="omprog"\)')
    config = config.replace("/usr/local/lib/append-events", f"{sys.executable} {writer}")
    config = config.replace("/var/log/harness.jsonl", f"{disk}/harness.jsonl").replace('port="2514"', f'port="{port}"')
    (folder / "rsyslog.conf").write_text(f'global(workDirectory="{folder}")\n{config}')
    script = FULL_DISK.format(disk=disk, folder=folder, python=sys.executable, run=run.folder, port=port)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    done = subprocess.run(
        [*unshare, "bash", "-c", script], env=environment, timeout=250, check=False, capture_output=True, text=True
    )
    notes = [(folder / name).read_text() for name in ("said", "log") if (folder / name).exists()]
    assert done.returncode == 0, (done.stdout, done.stderr, notes)
    lines = run.lines()
    assert 0 < int((folder / "before").read_text()) < len(lines)
    assert (folder / "got").read_bytes().splitlines() == lines
