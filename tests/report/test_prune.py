"""Old runs are removed by age, size and number, and nothing that somebody uses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import config
from harness.cli.main import main
from harness.errors import Source, UsageError
from harness.events import EventLog
from harness.report import prune
from harness.report.folder import OPERATED, folders
from harness.report.prune import Kept, Policy, forget_operated, is_operated, look_at, removable

KEPT = st.builds(
    Kept, st.integers(0, 10**6).map(lambda number: Path(f"{number:06d}")), st.floats(0, 1000), st.integers(0, 100),
    st.booleans(), st.sampled_from(["", "busy"]), st.booleans(),
)  # fmt: skip
POLICY = st.builds(
    Policy,
    st.none() | st.floats(0, 1000),
    st.none() | st.integers(0, 500),
    st.none() | st.integers(1, 9),
    st.booleans(),
)


@given(st.lists(KEPT, max_size=12, unique_by=lambda each: each.path), POLICY)
def test_what_goes_and_what_stays(found: list[Kept], policy: Policy) -> None:
    going = removable(found, policy, 1000.0)
    stays = [each for each in found if each not in going]
    assert not any(each.busy for each in going)
    assert not (policy.keep_failures and any(each.failed and each.run for each in going))
    assert going == sorted(going, key=lambda each: (each.ended, each.path.name))
    free = [each for each in stays if not each.busy and not (policy.keep_failures and each.failed and each.run)]
    if policy.count is not None:
        assert len(free) <= policy.count
    if policy.age is not None:
        assert all(1000.0 - each.ended <= policy.age for each in free)
    if policy.size is not None and len(free) == len(stays):
        assert sum(each.size for each in stays) <= policy.size
    if not policy.bounded:
        assert going == []


def a_run(logs: Path, name: str, *, code: int | None = 0, verb: str = "run", at: float = 1e9) -> Path:
    folder = logs / name
    folder.mkdir(parents=True)
    log = EventLog(folder / "events.jsonl", run=name)
    if verb == "run":
        log.emit("run.start", "x", argv=[], version="1", plan={"targets": 0})
        if code is not None:
            log.emit("run.end", "x", duration=1.0, counts={}, exit_code=code)
    else:
        log.emit("operate.start", "x", argv=[], version="1", verb=verb)
        log.emit("operate.end", "x", verb=verb, duration=1.0, exit_code=code)
    log.close()
    os.utime(folder / "events.jsonl", (at, at))
    return folder


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    for number in range(4):
        a_run(logs, f"2026{number}", code=number % 2, at=1e9 + number)
    a_run(logs, "2025x", code=None, at=1e9 - 5)
    (logs / "latest").symlink_to("20260")
    return logs


def names(logs: Path) -> list[str]:
    return sorted(path.name for path in logs.iterdir() if path.is_dir() and not path.is_symlink())


def test_a_dry_run_removes_nothing_and_a_run_what_it_said(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prune", "--logs", str(logs), "--keep", "2", "--json"]
    assert main([*arguments, "--dry-run"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert names(logs) == ["2025x", "20260", "20261", "20262", "20263"]
    assert main(arguments) == 0
    assert names(logs) == ["20262", "20263"]
    assert json.loads(capsys.readouterr().out)["removed"] == said["removed"]
    assert os.readlink(logs / "latest") == "20263"


def test_failures_are_kept_where_that_is_wanted(logs: Path) -> None:
    assert main(["prune", "--logs", str(logs), "--older-than", "1d", "--keep-failures"]) == 0
    assert names(logs) == ["2025x", "20261", "20263"]


def test_a_run_that_goes_on_is_never_removed(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    going_on = EventLog(logs / "20260" / "events.jsonl", run="20260")
    assert main(["prune", "--logs", str(logs), "--older-than", "1s"]) == 0
    assert names(logs) == ["20260"]
    assert "it is being written" in capsys.readouterr().out
    going_on.close()


def test_a_machine_that_is_up_and_a_record_that_is_not_shipped_stay(logs: Path) -> None:
    (logs / "20261" / "targets" / "vm1").mkdir(parents=True)
    (logs / "up").mkdir()
    (logs / "up" / "vm1").symlink_to(Path("..") / "20261" / "targets" / "vm1")
    (logs / "20262" / "ship").mkdir()
    (logs / "20262" / "ship" / "sink.json").write_text("no checkpoint")
    assert main(["prune", "--logs", str(logs), "--keep", "1"]) == 0
    assert names(logs) == ["20261", "20262", "20263", "up"]


def test_what_a_killed_removal_left_is_finished(logs: Path) -> None:
    (logs / "20260").rename(logs / f"{prune._REMOVING}20260")
    assert main(["prune", "--logs", str(logs), "--keep", "9"]) == 0
    assert names(logs) == ["2025x", "20261", "20262", "20263"]
    assert os.readlink(logs / "latest") == "20263"


@pytest.mark.parametrize("arguments", [[], ["--keep", "0"], ["--older-than", "x"], ["--max-size", "x"]])
def test_bounds_that_say_nothing_are_refused(logs: Path, arguments: list[str]) -> None:
    try:
        code = main(["prune", "--logs", str(logs), *arguments])
    except SystemExit as left:
        code = int(str(left.code))
    assert code == 2
    assert len(names(logs)) == 5


def test_settings_of_prune() -> None:
    table = {"older_than": "30d", "max_size": "10G", "keep": 100, "keep_failures": True}
    found = config.read({"prune": table}, Source("harness.toml")).prune
    assert found == Policy(30 * 86400.0, 10 << 30, 100, True)
    wrong: list[object] = [{"keep": "x"}, {"older_than": "x"}, {"max_size": []}, {"keep_failures": 1}, {"kep": 1}, 3]
    for table_ in wrong:
        with pytest.raises(UsageError, match="prune"):
            config.read({"prune": table_}, Source("harness.toml"))


def test_verbs_that_are_no_runs_do_not_pile_up(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        a_run(logs, f"2027{number}", verb="exec")
    (logs / "20270" / "targets" / "vm1" / "collected").mkdir(parents=True)
    assert [path.name for path in logs.glob("2027*") if not is_operated(path)] == []
    assert sum(not each.run for each in look_at(logs)) == 6
    forget_operated(logs, most=2)
    assert sorted(path.name for path in logs.glob("2027*")) == ["20270", "20274", "20275"]
    assert len(list(logs.glob("2026*"))) == 4
    main(["history", "--logs", str(logs)])
    assert "2027" not in capsys.readouterr().err


def test_a_verb_that_is_no_run_leaves_no_folder_among_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert main(["exec", "-i", "127.0.0.1,", "-e", "ansible_port=1", "all", "--", "true"]) != 0
    logs = tmp_path / "logs"
    assert [path.name for path in logs.iterdir()] == [OPERATED]
    assert len(folders(logs / OPERATED)) == 3
    (record, *_) = folders(logs / OPERATED)
    assert record.stat().st_mode & 0o077 == 0
    capsys.readouterr()
    assert main(["logs", record.name, "--action", "operate.end", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["harness.exit_code"] != 0
    assert main(["history"]) == 2
    assert "there are no runs" in capsys.readouterr().err
    assert main(["prune", "--keep", "1"]) == 0
    assert len(folders(logs / OPERATED)) == 1
    forget_operated(logs, most=0)
    assert folders(logs / OPERATED) == []
