"""A power cut in a soak that ships, and `harness soak --resume` after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_ship import harness
from tests.ship.receivers import HttpReceiver, serving

CHECK = """from harness import check

@check(budget=0.1, interval=0.05)
def hello(target):
    assert target.read("echo hello") == "hello"
"""


def recorded(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def arrived(receiver: HttpReceiver) -> list[tuple[str, int]]:
    """Return the identity and the sequence number of each event that came, in the order of arrival."""
    found = []
    for request in receiver.taken:
        for resource in json.loads(request.body)["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for log in scope["logRecords"]:
                    fields = {each["key"]: each["value"] for each in log["attributes"]}
                    found.append((fields["event.id"]["stringValue"], int(fields["event.sequence"]["intValue"])))
    return found


@pytest.mark.parametrize("synced", [0.0, 0.5])
def test_what_is_recorded_after_a_power_cut_arrives(tmp_path: Path, synced: float) -> None:
    """The events that were not on the disk are lost, and the checkpoint and the trials are not: the checkpoint then
    points behind the end of the record."""
    (tmp_path / "mine.py").write_text(CHECK)
    (tmp_path / "inv.ini").write_text("vm1 ansible_host=127.0.0.1 ansible_port=1 settle=no\n")
    (tmp_path / "known-flakes.yml").write_text("- check: mine::*\n  tracker: https://example.org/1\n  warn: true\n")
    receiver = HttpReceiver()
    with serving(receiver):
        ship = ("--ship", f"otlp+http://127.0.0.1:{receiver.port}?gzip=no")
        soak = ("soak", "-i", "inv.ini", "mine.py", "--iterations", "2", "--retries", "0", *ship)
        done = harness(*soak, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        folder = (tmp_path / "logs" / "latest").resolve()
        before = recorded(folder)
        assert {identity for identity, _ in arrived(receiver)} == {str(event["event.id"]) for event in before}
        lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
        kept = max(1, int(len(lines) * synced))
        (folder / "events.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:20])
        done = harness("soak", "--resume", "latest", "--iterations", "3", *ship, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    after = recorded(folder)
    assert len(after) > kept
    assert [event["event.action"] for event in after][kept:].count("soak.resume") == 1
    got = arrived(receiver)
    wanted = {str(event["event.id"]) for event in (*before, *after)}
    assert {identity for identity, _ in got} == wanted
    numbers = dict(got)
    assert len(set(numbers.values())) == len(numbers), "no sequence number is used twice"
    ends = [line for line in (folder / "trials.jsonl").read_text().splitlines() if '"outcome"' in line]
    assert [json.loads(line)["iteration"] for line in ends] == [1, 2, 3]
