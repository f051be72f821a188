"""`harness collect` and `harness why` as a person types them, against a real sshd and real consoles on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.testing.pty_guest import PtyGuest
from tests.forked import Forked
from tests.patience import scaled
from tests.transport.ssh.conftest import Sshd, make_sshd

ROOT = Path(__file__).parents[2]
RECIPES = """\
commands:
  who: echo this is who
  fails: echo out; echo bad news >&2; exit 9
  many: seq 1 100000
  secret: echo the word is opensesame
  never: {run: sleep 600, timeout: 1}
recipes:
  mine: [who, fails, many, secret]
  slow: [who, never, fails]
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = make_sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


class Place:
    """A folder with an inventory and recipes beside it."""

    def __init__(self, folder: Path, sshd: Sshd) -> None:
        self.folder = folder
        ssh = (
            f"ansible_host=127.0.0.1 ansible_port={sshd.port} ansible_user=root ansible_host_key_checking=false "
            f"ansible_ssh_private_key_file={sshd.client_key}"
        )
        console = f"serial_socket={folder / 'console'}"
        (folder / "inv.ini").write_text(
            f"[all:vars]\napi_token=opensesame\nsettle=false\n[ssh]\nbox {ssh}\nsecond {ssh}\n[serial]\ncon {console}\n"
            f"[both]\ndown {ssh.replace(str(sshd.port), '1')} {console}2\n"
            "[gone]\nnobody ansible_host=127.0.0.1 ansible_port=1\n"
        )
        (folder / "collect.yml").write_text(RECIPES)
        (folder / "runtime").mkdir(mode=0o700)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return Forked(
            [sys.executable, "-m", "harness", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(self.folder / "runtime")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=scaled(120))
        assert "Traceback" not in out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def collect(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.run("collect", "-i", "inv.ini", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def index(self, folder: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / folder / "index.json").read_text())
        return document


@pytest.fixture
def place(tmp_path: Path, sshd: Sshd) -> Place:
    return Place(tmp_path, sshd)


@pytest.fixture
def consoles(tmp_path: Path) -> Iterator[None]:
    shell = ["bash", "--norc", "-i"]
    with PtyGuest(shell, tmp_path / "console"), PtyGuest(shell, tmp_path / "console2"):
        yield


@pytest.mark.usefixtures("consoles")
def test_each_command_has_a_file_of_its_own_over_ssh_and_over_serial(place: Place) -> None:
    done = place.collect("box:con:down", "--recipe", "mine", "-o", "out", "--max-file", "1K")
    for name, over in (("box", "ssh"), ("con", "serial"), ("down", "serial")):
        folder = place.folder / "out" / name
        assert (folder / "who.txt").read_text() == "this is who\n"
        assert (folder / "fails.txt").read_text() == "out\n"
        assert (folder / "fails.err.txt").read_text() == "bad news\n"
        assert (folder / "many.txt").read_text().startswith("1\n2\n3\n")
        assert (folder / "many.txt").read_text().endswith("\n[harness: cut here after 1024 bytes; there was more]\n")
        assert (folder / "secret.txt").read_text() == "the word is ********\n"
        document = place.index(f"out/{name}")
        entries = {entry["name"]: entry for entry in document["entries"]}
        assert {entry["transport"] for entry in entries.values()} == {over}
        assert [entries[each]["exit_status"] for each in ("who", "fails")] == [0, 9]
        assert entries["who"]["fell_back_from"] == (["ssh"] if name == "down" else [])
        assert document["complete"]
        assert "summary.md" in done.stdout
        assert f"{name}  collected" in done.stdout
        for path in [folder.parent, folder, *folder.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert "(ssh did not serve)" in (place.folder / "out" / "down" / "summary.md").read_text()
    assert not (place.folder / "logs" / "latest").exists()


def test_it_goes_into_the_runs_folder_and_json_says_where(place: Place) -> None:
    done = place.collect("ssh", "--recipe", "mine", "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["exit_code"]) == ("harness.collect/1", 0)
    for row in document["targets"]:
        assert row["complete"]
        assert place.index(row["folder"])["recipe"] == "mine"
    assert [row["target"] for row in document["targets"]] == ["box", "second"]


def test_one_that_cannot_be_reached_does_not_keep_the_others(place: Place) -> None:
    done = place.collect("box:nobody", "--recipe", "mine", "-o", "out", code=3)
    assert "box  collected" in done.stdout
    assert "nobody  ended early" in done.stdout
    document = place.index("out/nobody")
    assert {entry["state"] for entry in document["entries"]} == {"not_had"}
    assert "refused" in document["ended_early"]


def test_the_standard_recipe_has_nothing_that_hangs_or_is_lost_here(place: Place) -> None:
    place.collect("box", "-o", "out")
    document = place.index("out/box")
    states = {entry["name"]: entry["state"] for entry in document["entries"]}
    assert {name for name, state in states.items() if state in ("partial", "not_had")} == {"never"}  # from collect.yml
    assert {states[name] for name in ("mounts", "kernel-version", "processes", "who")} == {"had"}


def test_ctrl_c_keeps_what_was_had(place: Place) -> None:
    (place.folder / "collect.yml").write_text(RECIPES.replace("timeout: 1", "timeout: 100"))
    process = place.start("collect", "-i", "inv.ini", "box", "--recipe", "slow", "-o", "out")
    end = time.monotonic() + scaled(60)
    while not (place.folder / "out" / "box" / "who.txt").exists():
        assert time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=scaled(60))
    assert process.returncode == 130, out + err
    document = place.index("out/box")
    assert [(entry["name"], entry["state"]) for entry in document["entries"][-3:]] == [
        ("who", "had"),
        ("never", "not_had"),
        ("fails", "not_had"),
    ]
    assert document["ended_early"] == "interrupted by SIGINT"
    assert "ended early" in out


def test_what_does_not_end_is_ended_and_the_whole_has_its_time(place: Place) -> None:
    place.collect("box", "--recipe", "slow", "-o", "out")
    states = {entry["name"]: entry["state"] for entry in place.index("out/box")["entries"]}
    assert (states["never"], states["fails"]) == ("partial", "had")
    (place.folder / "collect.yml").write_text(RECIPES.replace("timeout: 1", "timeout: 100"))
    for flag, folder in (("--collect-timeout", "late"), ("--deadline", "later")):
        place.collect("box", "--recipe", "slow", "-o", folder, flag, "8", code=1)
        document = place.index(f"{folder}/box")
        assert document["entries"][-1]["state"] == "not_had"
        assert re.fullmatch(r"the time for all of it was over \([2-8]\.\d s\)", document["ended_early"])


def test_a_reader_that_goes_away_ends_no_collecting(place: Place) -> None:
    collect = f"{sys.executable} -m harness collect -i inv.ini ssh --recipe mine -o out --forks 1"
    command = f"{collect} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=scaled(120),
        check=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert place.index("out/box")["complete"]
    assert place.index("out/second")["complete"]


MISTAKES = [
    (["collect", "-i", "inv.ini", "box", "--recipe", "mien"], 2, "did you mean 'mine'"),
    (["collect", "-i", "inv.ini", "nosuch"], 2, "nosuch"),
    (["collect", "-i", "inv.ini"], 2, "PATTERN"),
    (["collect", "box"], 2, "no inventory was given"),
    (["collect", "-i", "inv.ini", "box", "-o", "inv.ini/x"], 2, "cannot make the folder"),
    (["collect", "-i", "inv.ini", "box", "--max-file", "much"], 2, "--max-file"),
    (["collect", "-i", "inv.ini", "box", "--transport", "serial"], 2, "no transport 'serial'"),
    (["why", "nowhere"], 2, "there is no nowhere"),
    (["why", "."], 2, "no folder that was collected"),
    (["why", "-i", "inv.ini", "nobody"], 3, "refused"),
    (["run", "-i", "inv.ini", "--collect-recipe", "mien", str(ROOT / "checks" / "sshd")], 2, "did you mean 'mine'"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), MISTAKES)
def test_mistakes_are_told(place: Place, arguments: list[str], code: int, words: str) -> None:
    done = place.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr


def test_bad_yaml_beside_the_inventory_is_told_with_its_line(place: Place) -> None:
    (place.folder / "collect.yml").write_text("commands:\n  a: date\n  b:\n    rnu: x\n")
    for verb in (["collect", "box"], ["run", str(ROOT / "checks" / "sshd")]):
        done = place.run(verb[0], "-i", "inv.ini", *verb[1:])
        assert done.returncode == 2
        assert "collect.yml:4" in done.stderr
        assert "did you mean 'run'" in done.stderr


def test_a_folder_that_is_taken_is_left_alone(place: Place) -> None:
    place.collect("box", "--recipe", "mine", "-o", "out")
    before = (place.folder / "out" / "box" / "index.json").read_text()
    assert "holds something already" in place.collect("box", "--recipe", "mine", "-o", "out", code=2).stderr
    assert (place.folder / "out" / "box" / "index.json").read_text() == before


def test_the_catalogue_is_listed_with_what_stands_beside_the_inventory(place: Place) -> None:
    text = place.collect("--list").stdout
    assert "  mine " in text
    assert "who " in text
    document = json.loads(place.collect("--list", "--json").stdout)
    assert document["recipes"]["mine"]["commands"] == ["who", "fails", "many", "secret"]
    assert document["commands"]["who"]["run"] == "echo this is who"


# -- why, where there is no systemd ------------------------------------------------------------------------------------


def test_why_names_a_service_that_is_not_there_live_and_from_the_folder(place: Place) -> None:
    live = place.run("why", "-i", "inv.ini", "box", "none-such")
    assert live.returncode == 1, live.stderr
    named, reached = live.stdout.splitlines()  # what is wrong comes first
    assert reached.startswith("box  reached   ssh answers (root@127.0.0.1:")
    assert named.startswith("box  never     none-such is not installed")
    place.collect("box", "--recipe", "mine", "--unit", "none-such", "-o", "out")
    kept = place.run("why", "out", "none-such")
    assert (kept.returncode, kept.stdout.splitlines()) == (1, [named])
    other = place.run("why", "out/box", "another")
    assert other.returncode == 4
    assert "another: it was not collected" in other.stdout
    document = json.loads(place.run("why", "out", "none-such", "--json").stdout)
    assert document["settled"] is False
    assert document["targets"][0]["units"][0]["standing"] == "never"


BUSYBOX = shutil.which("busybox") or "busybox"


@pytest.fixture
def busybox(tmp_path: Path) -> Iterator[None]:
    """A console on which there is nothing but busybox, as in many an initramfs."""
    (tmp_path / "bin").mkdir()
    for name in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
        (tmp_path / "bin" / name).symlink_to(BUSYBOX)
    with PtyGuest([BUSYBOX, "sh", "-i"], tmp_path / "console", env={"PATH": str(tmp_path / "bin")}):
        yield


@pytest.mark.usefixtures("busybox")
def test_busybox_is_asked_with_the_commands_that_it_has(place: Place) -> None:
    (place.folder / "collect.yml").unlink()
    done = place.collect("con", "-o", "out")
    assert "con  unknown     con is not run by systemd" in done.stdout
    document = place.index("out/con")
    entries = {entry["name"]: entry for entry in document["entries"]}
    assert not [name for name, entry in entries.items() if entry["state"] in ("not_had", "partial")]
    for name in ("kernel-version", "processes", "mounts", "space", "addresses", "routes", "links", "sockets-netstat"):
        assert (entries[name]["state"], entries[name]["exit_status"]) == ("had", 0), name
        assert entries[name]["stdout"]["bytes"] > 30, name
    assert entries["units"]["why"] == "the target has no systemd"
    assert entries["journal"]["state"] == "left_out"
    done = place.run("why", "-i", "inv.ini", "con")
    assert (done.returncode, done.stderr[:9]) == (4, "harness: ")
    assert "Name what is to be explained" in done.stderr


# -- a run that fails ------------------------------------------------------------------------------------------------

CHECKS = """\
from harness import Never, check

@check
def good(target):
    assert target.run("true").ok

@check
def bad(target):
    raise Never(f"it is {target.read('uname')}")
"""


def failing(place: Place, *arguments: str, limit: str = "box", verb: str = "run") -> subprocess.CompletedProcess[str]:
    (place.folder / "mine.py").write_text(CHECKS)
    return place.run(verb, "-i", "inv.ini", "mine.py", "--limit", limit, "--collect-recipe", "mine", *arguments)


@pytest.mark.usefixtures("consoles")
@pytest.mark.parametrize(("limit", "over"), [("box", "ssh"), ("con", "serial")])
def test_a_run_that_fails_collects_by_itself_and_the_verdict_names_the_files(
    place: Place, limit: str, over: str
) -> None:
    done = failing(place, limit=limit)
    assert done.returncode == 1, done.stdout + done.stderr
    record = (place.folder / "logs" / "latest").resolve()
    folder = record / "targets" / limit / "collected"
    assert (folder / "who.txt").read_text() == "this is who\n"
    document = place.index(str(folder))
    assert document["because"] == "mine::bad"
    assert document["entries"][0]["transport"] == over
    assert f"targets/{limit}/collected/summary.md" in done.stdout
    results = json.loads((record / "results.json").read_text())
    assert results["targets"][0]["collected"] == f"targets/{limit}/collected"
    assert f"collected: targets/{limit}/collected" in (record / "junit.xml").read_text()
    events = [json.loads(line) for line in (record / "events.jsonl").read_text().splitlines()]
    actions = [event["event.action"] for event in events]
    assert actions.index("check.end") < actions.index("collect.start") < actions.index("collect.end")
    assert actions.index("collect.end") < actions.index("target.end")
    assert actions.count("collect.start") == 1
    report = place.run("report", "latest", "--format", "markdown")
    assert f"collected: targets/{limit}/collected" in report.stdout


def test_a_run_that_passes_or_does_not_want_it_collects_nothing(place: Place) -> None:
    for arguments, code in ((["-k", "good"], 0), (["--no-collect"], 1), (["--collect-timeout", "0"], 1)):
        done = failing(place, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert not list((place.folder / "logs").glob("*/targets/box/collected"))
        assert "summary.md" not in done.stdout


def test_collecting_that_takes_too_long_is_ended_and_the_verdict_stays(place: Place) -> None:
    (place.folder / "collect.yml").write_text(RECIPES.replace("timeout: 1", "timeout: 100"))
    done = failing(place, "--collect-recipe", "slow", "--collect-timeout", "6")
    assert done.returncode == 1, done.stdout + done.stderr
    folder = next((place.folder / "logs").glob("2*/targets/box/collected"))
    document = place.index(str(folder))
    assert [entry["state"] for entry in document["entries"][-3:]] == ["had", "partial", "not_had"]
    assert "the time for all of it was over" in document["ended_early"]


def test_a_target_that_is_not_there_is_not_asked(place: Place) -> None:
    done = failing(place, "--budget", "1", limit="nobody")
    assert done.returncode == 3
    assert not list((place.folder / "logs").glob("*/targets/nobody/collected"))


def test_a_soak_collects_at_the_first_failure_of_each_kind(place: Place) -> None:
    done = failing(place, "--iterations", "3", "--reset", "none", verb="soak")
    assert done.returncode == 1, done.stdout + done.stderr
    folders = sorted((place.folder / "logs").glob("2*/targets/box/collected/*"))
    assert [path.name for path in folders] == ["iteration-1"]
    assert (folders[0] / "who.txt").read_text() == "this is who\n"
    trials = [
        json.loads(line)
        for line in (place.folder / "logs" / "latest" / "trials.jsonl").read_text().splitlines()
        if '"collected"' in line
    ]
    assert [(trial["check"], trial["iteration"]) for trial in trials] == [("bad", 1)]
    assert trials[0]["collected"] == "targets/box/collected/iteration-1"
