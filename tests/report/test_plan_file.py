"""The plan of a run has a file of its own, however large it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from harness.cli.main import main
from harness.events import EventLog
from harness.report.plan_file import NAME, read_plan, write_plan

LARGEST_EVENT = 64 << 10


def test_a_plan_of_2000_targets_makes_no_large_event(tmp_path: Path) -> None:
    checks = [{"id": f"checks/sshd.py::c{number}", "check": f"sshd::c{number}"} for number in range(40)]
    targets = [{"target": f"vm{number}", "groups": ["all", "lab"], "checks": checks} for number in range(2000)]
    plan = write_plan(tmp_path, targets)
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.emit("run.start", "80000 checks", argv=["harness"], version="0", plan=plan)
    log.emit("run.end", "none", duration=1.0, exit_code=0, counts={})
    log.close()
    assert all(len(line) < LARGEST_EVENT for line in (tmp_path / "events.jsonl").read_bytes().splitlines())
    first = json.loads((tmp_path / "events.jsonl").read_bytes().splitlines()[0])["harness.plan"]
    whole = (tmp_path / NAME).read_bytes()
    assert len(whole) > LARGEST_EVENT
    assert first == {
        "targets": 2000, "checks": 80_000, "file": NAME, "sha256": hashlib.sha256(whole).hexdigest(),
    }  # fmt: skip
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0
    assert read_plan(tmp_path) == targets


def test_a_run_with_many_targets_writes_it_and_logs_reads_it(tmp_path: Path) -> None:
    hosts = "".join(f"vm{number} ansible_host=127.0.0.1 ansible_port=1 settle=no\n" for number in range(30))
    (tmp_path / "inv.ini").write_text(f"[lab]\n{hosts}[other]\nvm0\n")
    (tmp_path / "mine.py").write_text(
        "from harness import check\n\n@check(budget=0.1, interval=0.05)\ndef c(target):\n    assert target.read('x')\n"
    )
    logs = tmp_path / "logs"
    arguments = ["-i", str(tmp_path / "inv.ini"), "--logs", str(logs), str(tmp_path / "mine.py")]
    assert main(["run", *arguments, "-q"]) == 3
    folder = (logs / "latest").resolve()
    start = json.loads((folder / "events.jsonl").read_bytes().splitlines()[0])
    assert start["harness.plan"]["sha256"] == hashlib.sha256((folder / NAME).read_bytes()).hexdigest()
    assert [(each["target"], each["groups"]) for each in read_plan(folder)][:2] == [
        ("vm0", ["lab", "other"]), ("vm1", ["lab"]),
    ]  # fmt: skip
