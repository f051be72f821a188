"""`harness ship`, and `harness run --ship`, typed as a person does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.cli import config
from harness.errors import Source, UsageError
from tests import forked
from tests.patience import scaled
from tests.ship.daemons import free_port, wait_until
from tests.ship.receivers import HttpReceiver, Reply, serving
from tests.ship.runs import Run

ROOT = Path(__file__).parents[2]
CHECK = "from harness import check\n\n@check\ndef fine(target):\n    'Says yes.'\n"


def argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness", *arguments]


def environment(cwd: Path, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(cwd)} | more


def harness(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        argv(*arguments),
        cwd=cwd,
        env=environment(cwd, **more),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=scaled(90),
        check=False,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a check, an inventory of a target that is not there, and one finished run of four events."""
    (tmp_path / "mine.py").write_text(CHECK)
    (tmp_path / "inv.ini").write_text("vm1 ansible_host=127.0.0.1 ansible_port=1\n")
    (tmp_path / "logs").mkdir()
    run = Run(tmp_path / "logs" / "20261123T033958Z-4d9857")
    run.say("one", "two")
    run.end()
    (tmp_path / "logs" / "latest").symlink_to("20261123T033958Z-4d9857")
    return tmp_path


RUN = ("run", "-i", "inv.ini", "mine.py", "--target-deadline", f"{scaled(2):.1f}")


def test_a_finished_run(place: Path) -> None:
    done = harness("ship", "latest", "--to", "file:out.jsonl", "--to", "file:other.jsonl", cwd=place)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("4 events sent\n") == 2
    record = (place / "logs/latest/events.jsonl").read_bytes()
    assert (place / "out.jsonl").read_bytes() == (place / "other.jsonl").read_bytes() == record
    again = harness("ship", "logs/latest", "--to", "file:out.jsonl", cwd=place)
    assert "0 events sent" in again.stderr
    assert (place / "out.jsonl").read_bytes() == record


def test_many_runs(place: Path) -> None:
    for number in range(20):
        run = Run(place / "logs" / f"run{number}")
        run.end()
    done = harness(
        "ship", *sorted(f"logs/{path.name}" for path in (place / "logs").iterdir()), "--to", "file:out", cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("events sent") == 21, "`latest` is one of them"
    lines = (place / "out").read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 20 * 2 + 4


def test_stdout_has_the_events_and_nothing_else(place: Path) -> None:
    done = harness("ship", "20261123", "--to", "-", cwd=place)
    assert done.stdout.encode() == (place / "logs/latest/events.jsonl").read_bytes()


def test_a_closed_pipe_ends_quietly(place: Path) -> None:
    command = f"{sys.executable} -m harness ship latest --to - | true"
    done = subprocess.run(
        command, shell=True, cwd=place, env=environment(place), capture_output=True, timeout=scaled(60)
    )
    assert b"Traceback" not in done.stderr
    assert b"internal" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ship", "latest"], 2, "no sink was given"),
        (["ship", "latest", "--to", "https://logs"], 2, "otlp+https://"),
        (["ship", "latest", "--to", "otlp://logs?bach=1"], 2, "Did you mean 'batch'"),
        (["ship", "nothing", "--to", "-"], 2, "no run 'nothing'"),
        (["ship", "mine.py", "--to", "-"], 2, "holds no record"),
        (["ship", "--to", "-"], 2, "RUN"),
        (["ship", "latest", "--to", "-", "--timeout", "soon"], 2, "--timeout"),
        ([*RUN, "--ship", "gelf://logs"], 2, "Sinks are"),
        ([*RUN, "-e", "harness_ship=otlp:"], 2, "variable 'harness_ship': 'otlp+http:' names no host"),
        ([*RUN, "-e", "harness_ship=-"], 2, "a run's own output is on stdout"),
        ([*RUN, "-e", '{"harness_ship": {"a": 1}}'], 2, "expected a list"),
        (["inventory", "-i", "inv.ini", "-e", "harness_ship=otpl://me:hunter2@logs", "check"], 2, "Did you mean otlp"),
        ([*RUN, "--ship", "relp://logs", "--ship-timeout", "x"], 2, "--ship-timeout"),
        ([*RUN, "--ship", "-"], 2, "a run's own output is on stdout"),
    ],
)
def test_mistakes(place: Path, arguments: list[str], code: int, said: str) -> None:
    done = harness(*arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert len(list((place / "logs").iterdir())) == 2, "nothing was started"


def test_what_is_left_and_the_command_that_sends_it(place: Path) -> None:
    port = free_port()
    url = f"otlp+http://me:hunter2@127.0.0.1:{port}"
    done = harness("ship", "latest", "--to", url, "--timeout", "0.5", cwd=place)
    assert done.returncode == 3
    assert "4 left" in done.stderr
    assert "refused" in done.stderr
    assert "hunter2" not in done.stderr
    command = done.stderr.rpartition("Send the rest with: ")[2].strip()
    assert command.startswith("HARNESS_SHIP_PASSWORD=… harness ship ")
    for file in (place / "logs/latest/ship").iterdir():
        assert "hunter2" not in file.read_text()
        assert file.stat().st_mode & 0o77 == 0
    receiver = HttpReceiver()
    with serving(receiver):
        rest = command.partition("harness ")[2].replace(str(port), str(receiver.port)).split()
        sent = harness(*rest, cwd=place, HARNESS_SHIP_PASSWORD="hunter2")
    assert sent.returncode == 0, sent.stderr
    assert receiver.taken[0].headers["Authorization"] == "Basic bWU6aHVudGVyMg=="


def test_refused_events_are_told_by_the_exit_code(place: Path) -> None:
    def decide(request: object) -> Reply:
        return Reply(400) if b'"two"' in getattr(request, "body", b"") else Reply()

    receiver = HttpReceiver(decide)
    with serving(receiver):
        done = harness("ship", "latest", "--to", f"otlp://127.0.0.1:{receiver.port}", cwd=place)
    assert done.returncode == 1
    assert "1 refused (see" in done.stderr
    assert "rejected.jsonl" in done.stderr


def test_ctrl_c(place: Path) -> None:
    process = subprocess.Popen(
        argv("ship", "latest", "--to", f"otlp://127.0.0.1:{free_port()}"),
        cwd=place,
        env=environment(place),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "it is tried again, and the record keeps everything" in first
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(scaled(30)) == 130
    assert "4 left" in rest


def test_a_run_that_goes_on_is_followed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen(argv("ship", "run/", "--to", f"file:{out}"), cwd=tmp_path, env=environment(tmp_path))
    for number in range(3):
        run.say(f"line {number}")
        count = number + 2
        wait_until(lambda count=count: out.exists() and out.read_bytes().count(b"\n") == count, lambda: "not followed")  # type: ignore[misc]
    now = harness("ship", "run/", "--to", "stdout:", "--no-follow", cwd=tmp_path)
    assert now.stdout.count("\n") == 4
    run.end()
    assert process.wait(scaled(30)) == 0
    assert out.read_bytes().splitlines() == run.lines()


def test_a_run_ships_as_it_goes(place: Path) -> None:
    """To two sinks, from a flag, the inventory and a settings file; one of them is not there."""
    receiver = HttpReceiver()
    (place / "inv.ini").write_text("vm1 ansible_host=127.0.0.1 ansible_port=1 harness_ship=file:inventory.jsonl\n")
    (place / "harness.toml").write_text('[ship]\nto = ["file:settings.jsonl"]\ntimeout = 1\n')
    with serving(receiver):
        done = harness(
            *RUN,
            "--ship",
            f"otlp://me:hunter2@127.0.0.1:{receiver.port}",
            "--ship",
            f"relp://127.0.0.1:{free_port()}",
            cwd=place,
        )
    assert done.returncode == 3, done.stderr
    assert "1 unreachable" in done.stdout
    folder = (place / "logs/latest").resolve()
    record = (folder / "events.jsonl").read_bytes()
    assert (place / "settings.jsonl").read_bytes() == (place / "inventory.jsonl").read_bytes() == record
    got = sum(request.body.count(b'"eventName"') for request in receiver.taken)
    assert got == record.count(b"\n")
    assert f"events sent, {got} left" in done.stdout
    assert f"Send the rest with: harness ship logs/{folder.name} --to relp://127.0.0.1:" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    for path in folder.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path
    assert b"relp" not in record.replace(b"--ship", b"").partition(b"\n")[2], "what shipping meets is not in the record"


def test_a_sink_that_is_at_fault_costs_the_run_nothing(place: Path) -> None:
    """A sink of a package, with a mistake in it."""
    info = place / "lab-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[harness.sinks]\nlab = lab:open_sink\n")
    (place / "lab.py").write_text(
        "from harness.ship.sink import Limits\n"
        "class Lab:\n"
        "    limits = Limits(batch := 2)\n"
        "    def send(self, events, deadline):\n"
        "        if events[0].sequence > 1: raise KeyError('a mistake')\n"
        "        from harness.ship.sink import TAKEN\n"
        "        return TAKEN\n"
        "    def close(self): pass\n"
        "def open_sink(address, options):\n"
        "    assert address.host == 'here' and options.text('colour') == 'red'\n"
        "    return Lab()\n"
    )
    done = harness(*RUN, "--ship", "lab://here?colour=red", cwd=place, PYTHONPATH=f"{ROOT}:{place}")
    assert done.returncode == 3, done.stderr
    assert "by a fault of harness or of a sink: KeyError('a mistake')" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "a mistake" in (place / "logs/latest/ship/ship.log").read_text()


def test_a_soak_ships_as_a_run_does(place: Path) -> None:
    soak = ("soak", *RUN[1:], "--iterations", "2")
    done = harness(*soak, "--ship", "file:out.jsonl", cwd=place)
    assert "events sent" in done.stdout, done.stdout + done.stderr
    assert (place / "out.jsonl").read_bytes() == (place / "logs/latest/events.jsonl").read_bytes()
    refused = harness(*soak, "--ship", "otlp://me:hunter2@logs", cwd=place)
    assert refused.returncode == 2
    assert "password_env" in refused.stderr
    assert "hunter2" not in refused.stderr


def test_no_ship_ships_nowhere(place: Path) -> None:
    done = harness(*RUN, "--ship", "file:out.jsonl", "--no-ship", cwd=place)
    assert done.returncode == 3
    assert not (place / "out.jsonl").exists()


def test_quiet_and_json_keep_their_word(place: Path) -> None:
    done = harness(*RUN, "--ship", "file:out.jsonl", "--json", cwd=place)
    assert json.loads(done.stdout)["counts"]
    assert "shipping" not in done.stderr


def test_a_killed_run_is_shipped_to_its_last_line(place: Path) -> None:
    process = subprocess.Popen(
        argv("run", "-i", "inv.ini", "mine.py", "--ship", "file:out.jsonl"),
        cwd=place,
        env=environment(place),
        stdout=subprocess.DEVNULL,
    )
    out = place / "out.jsonl"
    wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") > 2, lambda: "nothing was shipped")
    process.kill()
    process.wait()
    record = place / "logs" / os.readlink(place / "logs/latest") / "events.jsonl"
    log = record.parent / "ship" / "ship.log"
    wait_until(lambda: log.exists() and "events sent" in log.read_text(), lambda: "its shipper did not come to its end")
    assert out.read_bytes() == record.read_bytes()


def test_ctrl_c_while_a_run_waits_for_its_sink(place: Path) -> None:
    """The run has its verdict; what is left is said, and the exit code is the run's."""
    process = subprocess.Popen(
        argv(*RUN, "--ship", f"relp://127.0.0.1:{free_port()}", "--ship-timeout", "300"),
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    waiting = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C ends it" in line:
                waiting.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert waiting.wait(scaled(60))
    process.send_signal(signal.SIGINT)
    assert process.wait(scaled(30)) == 3
    reader.join(scaled(10))
    assert any("Send the rest with: harness ship" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("to = [", "no TOML"),
        ("[shop]\n", "there is no setting shop"),
        ("ship = 1\n", "ship is no table"),
        ("[ship]\ntoo = []\n", "there is no setting ship.too"),
        ("[ship]\nto = [1]\n", "no list of URLs"),
        ("[ship]\ntimeout = -1\n", "ship.timeout"),
        ("[ship]\ntimeout = true\n", "ship.timeout"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "harness.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load({"HARNESS_CONFIG": str(path)})
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_settings(tmp_path: Path) -> None:
    assert config.read({}, Source("x")) == config.Config()
    assert config.read({"ship": {"to": "-", "timeout": 5}}, Source("x")) == config.Config(("-",), 5.0)
    home = tmp_path / ".config" / "harness"
    home.mkdir(parents=True)
    assert config.find({"HOME": str(tmp_path)}) is None
    (home / "harness.toml").write_text("")
    assert config.find({"HOME": str(tmp_path)}) == home / "harness.toml"
    assert config.find({"XDG_CONFIG_HOME": str(tmp_path / "none")}) is None
    with pytest.raises(UsageError, match="cannot be read"):
        config.load({"HARNESS_CONFIG": str(tmp_path / "none.toml")})
