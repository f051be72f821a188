"""`harness logs`, typed as a person does, over records that the event log wrote."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.main import main
from harness.errors import UsageError
from harness.events import EventLog
from harness.events.writer import Rotation
from harness.report.choice import LEVELS, Choice, Targets
from harness.report.moment import moment
from harness.report.people import PeopleLines
from tests import forked
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
RUN = "20261123T033958Z-4d9857"
PLAN = {
    "targets": [
        {"target": "web1", "groups": ["web", "all_of_it"], "checks": []},
        {"target": "web2", "groups": ["web", "all_of_it"], "checks": []},
        {"target": "db1", "groups": ["db", "all_of_it"], "checks": []},
    ]
}
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC"}


def argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness", "logs", *arguments]


def logs(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = forked.run(
        argv(*arguments), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=scaled(60), check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def actions(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["event.action"] for line in done.stdout.splitlines()]


def write(log: EventLog) -> None:
    log.emit("run.start", "3 targets", argv=["harness"], version="0", plan=PLAN)
    for name in ("web1", "web2", "db1"):
        target = log.bind(target=name)
        target.emit("target.start", f"{name}: 1 checks", check_count=1)
        for number in range(3):
            target.emit("console.line", f"early {number}", text=f"early {number}", console=name)
        check = target.bind(module="sshd/inside", check="unit_settled")
        check.emit("check.start", "sshd/inside::unit_settled", level="debug", check_id="sshd/inside.py::unit_settled")
        for attempt in (1, 2):
            over = "ssh" if attempt == 1 else "serial"
            target.emit("console.line", f"during {attempt}", text=f"during {attempt}", console=name)
            check.bind(attempt=attempt).emit(
                "command", "exit status 3", transport=over, command=f"systemctl is-active {name}\n# {attempt}",
                exit_status=3, duration=0.012, stdout_bytes=1, stderr_bytes=0, damage={}, attempts=1, fell_back_from=[],
            )  # fmt: skip
            if attempt == 1:
                target.emit(
                    "link.fallback", "ssh failed, falling back to serial: lost", level="warning", cause="lost",
                    from_transport="ssh", to_transport="serial", may_have_run=False,
                )  # fmt: skip
            check.emit(
                "attempt.end", f"attempt {attempt}: not yet", level="debug", attempt=attempt, outcome="failed",
                duration=0.1, seen="not yet", final=False,
            )  # fmt: skip
        check.emit(
            "check.end", "sshd/inside::unit_settled failed: \x1b[31mnot yet\nreally", level="error", outcome="failed",
            duration=1.0, attempts=2, check_id="sshd/inside.py::unit_settled",
        )  # fmt: skip
        target.emit("target.end", f"{name}: done", duration=2.0, counts={})


def end(log: EventLog) -> None:
    log.emit("run.end", "0 passed, 3 failed", duration=3.0, exit_code=1, counts={"failed": 3})
    log.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where `logs/latest` is a whole record, of several segments."""
    folder = tmp_path / "logs" / RUN
    folder.mkdir(parents=True)
    (tmp_path / "logs" / "latest").symlink_to(RUN)
    (tmp_path / "logs" / "README.md").write_text("not a run")
    log = EventLog(folder / "events.jsonl", run=RUN, rotation=Rotation(size=6000))
    write(log)
    end(log)
    assert len(list(folder.glob("events.*.jsonl.gz"))) >= 2
    return tmp_path


def test_the_newest_run_is_shown_whole_and_aligned(place: Path) -> None:
    done = logs(cwd=place)
    assert done.stderr == ""
    numbered = [line for line in done.stdout.splitlines() if line[:6].strip()]
    assert [int(line[:6]) for line in numbered] == list(range(1, len(numbered) + 1))
    assert "\x1b" not in done.stdout
    assert re.fullmatch(
        r"     1  \d\d-\d\d \d\d:\d\d:\d\d\.\d{3}        info     run\.start           3 targets", numbered[0]
    )
    assert all(line[28:32] in ("    ", "web1", "web2", "db1 ") for line in numbered)
    assert {line.index("| ") for line in numbered if "console.line" in line} == {63}
    (command,) = [line for line in numbered if "web1 # 1" in line]
    assert command.endswith(
        "$ systemctl is-active web1 # 1 → exit status 3 (ssh, 12 ms, sshd/inside::unit_settled, attempt 1)"
    )
    ended = done.stdout.index("unit_settled failed: \\x1b[31mnot yet\n")
    assert done.stdout[ended:].splitlines()[1] == " " * 63 + "really"


@pytest.mark.parametrize(
    "run", ["latest", RUN, "20261123", f"logs/{RUN}", f"logs/{RUN}/events.jsonl", "./logs/latest/", "logs/latest"]
)
def test_a_run_has_many_names(place: Path, run: str) -> None:
    assert logs(run, cwd=place).stdout == logs(cwd=place).stdout


def test_from_elsewhere(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert logs("--logs", str(place / "logs"), cwd=elsewhere).stdout == logs(cwd=place).stdout
    assert "no record of a run in logs" in logs(cwd=elsewhere, code=2).stderr
    assert f"There are: {RUN}" in logs("nix", cwd=place, code=2).stderr
    assert "there is no ./nix" in logs("./nix", cwd=place, code=2).stderr
    assert "holds no record" in logs(str(elsewhere), cwd=place, code=2).stderr
    other = place / "logs" / "20261123T033959Z-000000"
    other.mkdir()
    EventLog(other / "events.jsonl", run="other").emit("run.note", "x")
    assert f"2 runs in logs begin with '2026'\n  They are: {RUN}, " in logs("2026", cwd=place, code=2).stderr


CASES: list[tuple[list[str], Callable[[dict[str, Any]], bool]]] = [
    ([], lambda e: True),
    (["--target", "web1"], lambda e: e.get("host.name") == "web1"),
    (["-l", "web"], lambda e: e.get("host.name", "").startswith("web")),
    (["--limit", "web:!web2"], lambda e: e.get("host.name") == "web1"),
    (["--target", "w*"], lambda e: e.get("host.name", "").startswith("web")),
    (["--target", "all_of_it:&db"], lambda e: e.get("host.name") == "db1"),
    (["--target", "web[1]"], lambda e: e.get("host.name") == "web2"),
    (["--level", "warning"], lambda e: e["log.level"] in ("warning", "error")),
    (["--level", "error"], lambda e: e["log.level"] == "error"),
    (["--transport", "serial"], lambda e: e.get("harness.transport") == "serial"),
    (["--transport", "serial,ssh"], lambda e: "harness.transport" in e),
    (["--action", "command"], lambda e: e["event.action"] == "command"),
    (["--action", "link.*,run.*"], lambda e: e["event.action"].startswith(("link.", "run."))),
    (["--action", "command", "--action", "check.end"], lambda e: e["event.action"] in ("command", "check.end")),
    (["--check", "unit_settled"], lambda e: "test.case.name" in e),
    (["--check", "sshd/*"], lambda e: "test.case.name" in e),
    (["--check", "*::unit_settled", "-l", "db1"], lambda e: "test.case.name" in e and e["host.name"] == "db1"),
    (["--check", "sshd/inside.py::unit_settled"], lambda e: "harness.check_id" in e),
    (["--check", "none"], lambda e: False),
    (["--since", "10m"], lambda e: True),
    (["--since", "1d2h", "--until", "2099-01-01"], lambda e: True),
    (["--until", "1h"], lambda e: False),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "wanted"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_what_is_chosen(
    place: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    arguments: list[str],
    wanted: Callable[[dict[str, Any]], bool],
) -> None:
    def told(*more: str) -> list[bytes]:
        assert main(["logs", "--logs", str(place / "logs"), *more]) == 0
        return capfdbinary.readouterr().out.splitlines()

    everything = [json.loads(line) for line in told("--json")]
    chosen = [json.loads(line) for line in told("--json", *arguments)]
    assert chosen == [event for event in everything if wanted(event)]
    numbers = [int(line[:6]) for line in told(*arguments) if line[:6].strip()]
    assert numbers == [event["event.sequence"] for event in chosen]


def test_between_two_times(place: Path) -> None:
    everything = [json.loads(line) for line in logs("--json", cwd=place).stdout.splitlines()]
    since, until = everything[5]["@timestamp"], everything[9]["@timestamp"]
    chosen = logs("--json", "--since", since, "--until", until, cwd=place)
    assert [json.loads(line) for line in chosen.stdout.splitlines()] == [
        event for event in everything if since <= event["@timestamp"] <= until
    ]


def test_json_is_the_records_own_lines(place: Path) -> None:
    done = logs("--json", "-n", "2", cwd=place)
    assert done.stdout.encode() == (place / "logs/latest/events.jsonl").read_bytes()[-len(done.stdout.encode()) :]
    assert actions(done) == ["target.end", "run.end"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--level", "loud"], "'loud' is no level"),
        (["--since", "soon"], "invalid time 'soon'"),
        (["--since", "5m", "--until", "1h"], "is after --until"),
        (["--target", "web9"], "did you mean"),
        (["--target", "~("], "regular expression"),
        (["-n", "many"], "-n"),
        (["--explain", "999"], "no event 999"),
        (["--explain", "xyz!"], "is no event"),
        (["--explain", "7ZZZZZ"], "no event whose id begins with"),
    ],
)
def test_mistakes(place: Path, arguments: list[str], told: str) -> None:
    assert told in logs(*arguments, cwd=place, code=2).stderr


def test_the_chain_of_a_command(place: Path) -> None:
    events = [json.loads(line) for line in logs("--json", "-l", "web2", cwd=place).stdout.splitlines()]
    (command,) = [e for e in events if e["event.action"] == "command" and e["harness.attempt"] == 2]
    told = logs("--explain", str(command["event.sequence"]), cwd=place).stdout
    assert told == logs("--explain", command["event.id"].lower(), cwd=place).stdout
    heads = [line for line in told.splitlines() if not line.startswith((" ", "→"))]
    assert heads == [
        f"run {RUN}", "target", "check", "attempts", "commands", "console around it",
        f"event {command['event.sequence']}",
    ]  # fmt: skip
    assert "web1" not in told
    assert [line for line in told.splitlines() if line.startswith("→")] == [
        line for line in told.splitlines() if "web2 # 2 → exit" in line
    ]
    assert "attempt 2: not yet" in told
    assert "attempt 1: not yet" not in told
    for each in ("early 2", "during 1", "during 2", "unit_settled failed", "web2: done", "0 passed, 3 failed"):
        assert each in told
    assert told.endswith("  harness.fell_back_from   []\n")
    assert "systemctl is-active web2\n" in told.partition("\nevent ")[2]
    chain = json.loads(logs("--explain", str(command["event.sequence"]), "--json", cwd=place).stdout)
    assert chain["event"] == command
    assert [e["event.action"] for e in chain["checks"]] == ["check.end"]
    assert [e["harness.attempt"] for e in chain["attempts"]] == [2]
    assert chain["commands"] == [command]
    assert [e["harness.text"] for e in chain["console"]] == [*(f"early {n}" for n in range(3)), "during 1", "during 2"]


def test_the_chain_of_a_console_line_is_what_ran_then(place: Path) -> None:
    events = [json.loads(line) for line in logs("--json", "-l", "db1", cwd=place).stdout.splitlines()]
    (line,) = [e for e in events if e.get("harness.text") == "during 2"]
    chain = json.loads(logs("--explain", line["event.id"], "--json", cwd=place).stdout)
    assert [e["test.case.name"] for e in chain["checks"]] == ["unit_settled"]
    assert [e["harness.attempt"] for e in chain["attempts"]] in ([2], [1, 2])
    assert line in chain["console"]
    told = logs("--explain", line["event.id"], cwd=place).stdout
    assert "checks that ran then" in told
    assert [each for each in told.splitlines() if each.startswith("→")] == [
        each for each in told.splitlines() if "| during 2" in each
    ]


def test_the_chain_of_a_check_and_of_the_run(place: Path) -> None:
    events = [json.loads(line) for line in logs("--json", cwd=place).stdout.splitlines()]
    (ended,) = [e for e in events if e["event.action"] == "check.end" and e["host.name"] == "web1"]
    chain = json.loads(logs("--explain", ended["event.id"], "--json", cwd=place).stdout)
    assert [e["harness.attempt"] for e in chain["attempts"]] == [1, 2]
    assert len(chain["commands"]) == 2
    chain = json.loads(logs("--explain", "1", "--json", cwd=place).stdout)
    assert [e["event.action"] for e in chain["run"]] == ["run.start", "run.end"]
    assert chain["checks"] == chain["console"] == chain["target"] == []


def test_an_id_that_two_events_begin_with_is_told(place: Path) -> None:
    ids = [json.loads(line)["event.id"] for line in logs("--json", cwd=place).stdout.splitlines()]
    common = ids[0][:4]
    assert f"events begin with {common}" in logs("--explain", common, cwd=place, code=2).stderr


def test_a_growing_record_is_followed_through_its_segments_to_its_end(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run=RUN, rotation=Rotation(size=3000))
    write(log)
    command = argv("./", "-f", "--json")
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        seen = [json.loads(follower.stdout.readline())["event.sequence"]]
        for number in range(100):
            log.emit("run.note", str(number))
        while seen[-1] < 90:
            seen.append(json.loads(follower.stdout.readline())["event.sequence"])
        end(log)
        seen += [json.loads(line)["event.sequence"] for line in follower.stdout]
        assert follower.wait(scaled(60)) == 0
    assert seen == list(range(1, seen[-1] + 1))
    assert seen[-1] > 130


def test_a_run_that_was_killed_ends_the_following_with_a_word(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run=RUN)
    write(log)
    log.close()
    done = logs("./", "-f", "-n", "1", cwd=tmp_path)
    assert "no run.end" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_ctrl_c_ends_the_following(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run=RUN)
    write(log)
    command = argv("./", "-f")
    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as follower:
        assert follower.stdout is not None
        assert b"run.start" in follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        _, error = follower.communicate(timeout=scaled(60))
    assert follower.returncode == 130
    assert error == b"harness: interrupted\n"
    end(log)


@pytest.mark.parametrize("flag", ["--json", "-n9999"])
def test_a_closed_pipe_ends_quietly(tmp_path: Path, flag: str) -> None:
    log = EventLog(tmp_path / "events.jsonl", run=RUN)
    for number in range(3000):
        log.emit("run.note", f"{number} {'x' * 50}")
    end(log)
    with subprocess.Popen(
        argv("./", flag), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        assert reader.stdout.readline()
        reader.stdout.close()
        assert reader.stderr.read() == b""
        assert reader.wait(scaled(60)) == 0


def test_what_is_damaged_is_told_and_holds_up_nothing(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("damaged")  # not below tmp_path, where all must follow the schema
    log = EventLog(tmp_path / "events.jsonl", run=RUN)
    write(log)
    end(log)
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join([*lines[:3], b"\0\0garbage\n", *lines[5:]]))
    done = logs("./", "--json", cwd=folder)
    assert len(done.stdout.splitlines()) == len(lines) - 2
    assert "no event" in done.stderr
    assert "2 events before event" in done.stderr


NOW = datetime(2026, 11, 23, 7, 31, 5, 250000, UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("10m", "2026-11-23T07:21:05.250000Z"),
        ("90s", "2026-11-23T07:29:35.250000Z"),
        ("1.5s", "2026-11-23T07:31:03.750000Z"),
        ("1h30m ago", "2026-11-23T06:01:05.250000Z"),
        ("2d", "2026-11-21T07:31:05.250000Z"),
        ("2026-11-23T07:00:00Z", "2026-11-23T07:00:00.000000Z"),
        ("2026-11-23T07:00+02:00", "2026-11-23T05:00:00.000000Z"),
        ("2026-11-23T07:00:00.123456Z", "2026-11-23T07:00:00.123456Z"),
    ],
)
def test_points_in_time(text: str, at: str) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", "m", "10", "10ms", "tomorrow", "25:00", "2026-13-01", "-5m", "9" * 30 + "d"])
def test_what_is_no_point_in_time(text: str) -> None:
    with pytest.raises(UsageError):
        moment(text, NOW)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_a_time_without_a_zone_is_the_local_one(at: datetime) -> None:
    local = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert moment(at.isoformat(), NOW) == local
    assert moment(at.isoformat(sep=" "), NOW) == local


@given(st.integers(0, 23), st.integers(0, 59), st.none() | st.integers(0, 59))
def test_a_time_of_day_is_todays(hour: int, minute: int, second: int | None) -> None:
    text = f"{hour}:{minute:02d}" + ("" if second is None else f":{second:02d}")
    found = datetime.fromisoformat(moment(text, NOW)).astimezone()
    assert (found.hour, found.minute, found.second) == (hour, minute, second or 0)
    assert found.date() == datetime.fromtimestamp(NOW).date()


events = st.fixed_dictionaries(
    {
        "@timestamp": st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(
            lambda at: at.isoformat(timespec="microseconds") + "Z"
        ),
        "log.level": st.sampled_from(LEVELS),
        "message": st.text() | st.just('"log.level":"error","event.action":"command"'),
        "event.action": st.sampled_from(["command", "link.fallback", "run.end"]),
    },
    optional={
        "host.name": st.sampled_from(["web1", "web2"]),
        "harness.transport": st.sampled_from(["ssh", "serial"]),
        "test.case.name": st.sampled_from(["a", "b"]),
        "test.suite.name": st.just("m"),
    },
)


@given(
    events,
    st.sampled_from(LEVELS),
    st.sampled_from([(), ("ssh",), ("ssh", "serial")]),
    st.sampled_from([(), ("command",), ("link.*",), ("command", "run.end")]),
    st.sampled_from([(), ("a",), ("m::*",)]),
    st.booleans(),
    st.sampled_from(["", "2026-06-01T00:00:00.000000Z"]),
)
def test_what_is_wanted_is_never_passed_over_unread(
    event: dict[str, Any],
    level: str,
    transports: tuple[str, ...],
    actions: tuple[str, ...],
    checks: tuple[str, ...],
    targets: bool,
    since: str,
) -> None:
    import orjson

    choice = Choice(Targets("web1", None) if targets else None, checks, level, transports, actions, since)
    if choice.holds(event):
        assert choice.may_hold(orjson.dumps(event))


def test_colour_is_for_those_who_look() -> None:
    event = {"@timestamp": "2026-11-23T07:00:00.000000Z", "log.level": "warning", "message": "m", "event.action": "a"}
    assert "\x1b[33mm\x1b[0m" in PeopleLines(colour=True).line(event)
    plain = PeopleLines().line(event)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", PeopleLines(colour=True).line(event)) == plain


def test_what_took_long_is_told_in_its_unit() -> None:
    event = {"event.action": "command", "message": "exit status 0", "harness.command": "x" * 500}
    for took, told in ((0.0012, "1 ms"), (1.234, "1.23 s"), (75.06, "75.1 s")):
        line = PeopleLines().line({**event, "event.duration": int(took * 1e9)})
        assert line.endswith(f"… → exit status 0 ({told})")


def test_a_runs_record_is_turned_over_as_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from harness import check\n@check\ndef notes(target):\n"
        "    for number in range(200):\n        target.note(f'note {number}')\n"
    )
    (tmp_path / "inv.ini").write_text("box ansible_host=127.0.0.1 ansible_port=1\n")
    command = [sys.executable, "-m", "harness", "run", "-i", "inv.ini", "--no-settle", "mine.py"]
    command += ["--rotate-size", "20k", "--rotate-age", "1h"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=scaled(60))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "logs" / "latest").glob("events.*.jsonl.gz"))) >= 3
    events = [json.loads(line) for line in logs("--json", cwd=tmp_path).stdout.splitlines()]
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    assert sum(event["event.action"] == "check.note" for event in events) == 200
    command += ["--rotate-keep", "1K"]  # less than one segment, compressed or not yet
    subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=scaled(60), check=True
    )
    done = logs("--json", cwd=tmp_path)
    assert "events before event" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event.action"] == "run.end"


@pytest.mark.parametrize("arguments", [["--rotate-size", "0"], ["--rotate-keep", "big"], ["--rotate-age", "soon"]])
def test_mistakes_in_how_a_record_is_kept(place: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "harness", "run", "-i", "inv.ini", "mine.py", *arguments]
    done = forked.run(command, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, timeout=scaled(60))
    assert done.returncode == 2
    assert arguments[0] in done.stderr
