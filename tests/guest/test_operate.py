"""The operator's verbs on a real machine that is up, typed as a script types them: no terminal anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.patience import scaled

from .conftest import RESTORED, Run, alive, gone

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

FAILING = """\
from harness import check

@check(budget=5)
def never_so(target):
    assert target.read("echo up") == "down"

@check(budget=5)
def not_looked_at(target):
    raise Never("the run has stopped before")
"""
LOCAL = str(RESTORED)


@dataclass
class Desk:
    """A folder in which verbs are typed."""

    folder: Path

    def start(self, verb: str, *words: str) -> Run:
        return Run(self.folder, *words, verb=verb)

    def type(self, verb: str, *words: str, seconds: float = 250) -> Run:
        run = self.start(verb, *words)
        run.finish(seconds)
        return run

    def type_with(self, data: bytes, verb: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        import sys

        from .conftest import ROOT

        return subprocess.run(
            [sys.executable, "-m", "harness", verb, "-i", LOCAL, *words],
            cwd=self.folder, input=data, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=scaled(250), check=False,
        )  # fmt: skip

    def answer(self, *words: str) -> dict[str, Any]:
        """What `exec --json` says of vm1."""
        run = self.type("exec", "-i", LOCAL, "-n", "--json", *words)
        document: dict[str, Any] = json.loads(run.stdout)
        return document

    @property
    def machine(self) -> dict[str, Any]:
        (machine,) = json.loads(self.type("status", "--json").stdout)["machines"]
        assert isinstance(machine, dict)
        return machine


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Run]]:
    """A run that failed, and left its machine up."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    checks = desk.folder / "failing.py"
    checks.write_text(FAILING.replace("import check", "import Never, check"))
    run = desk.type("run", "-i", LOCAL, "--debug-on-failure", "--at-once", "1", str(checks))
    yield desk, run
    desk.type("down")


@pytest.fixture
def desk(failed: tuple[Desk, Run]) -> Desk:
    return failed[0]


def test_a_failure_leaves_the_machine_up_and_says_how_to_go_on(failed: tuple[Desk, Run]) -> None:
    desk, run = failed
    assert run.process.returncode == 1, run.stderr
    assert run.outcomes() == {"failing::never_so": "failed", "failing::not_looked_at": "skipped"}
    for verb in ("why", "exec", "console"):
        assert f"  harness {verb} -i {LOCAL} vm1" in run.stdout
    machine = desk.machine
    assert alive(machine["pid"])
    # Nobody is at a terminal: it does not stay up for ever.
    assert machine["until"] - machine["started"] == pytest.approx(1800, abs=300)
    assert "it ends in" in desk.type("status").stdout
    # It is up, and stays the same one.
    again = desk.type("up", "-i", LOCAL)
    assert again.process.returncode == 0
    assert f"is up already (QEMU is process {machine['pid']}" in again.stdout
    # Its whole life is one log.
    log = Path(machine["folder"], "console.log").read_bytes()
    assert b"SeaBIOS" in log
    assert b"login:" in log


def test_commands_answer_for_themselves(desk: Desk) -> None:
    run = desk.type("exec", "-i", LOCAL, "-n", "vm1", "--", "echo out; echo err >&2; exit 7")
    assert (run.stdout, run.stderr, run.process.returncode) == ("out\n", "err\n", 7)
    data = bytes(range(256)) * 40
    for transport in ("ssh", "serial"):
        done = desk.type_with(data, "exec", "--transport", transport, "vm1", "--", "cat", "-")
        assert (done.stdout, done.returncode) == (data, 0), transport
    # Several words are a program and its arguments.
    assert desk.answer("vm1", "--", "printf", "%s|", "a b", "$HOME", "'")["stdout"] == "a b|$HOME|'|"
    assert desk.answer("vm1", "--", "printf '\\377'")["stdout_base64"] == "/w=="
    prefixed = desk.type("exec", "-i", LOCAL, "-n", "--prefix", "all", "--", "echo a; echo b; printf c")
    assert prefixed.stdout == "vm1  a\nvm1  b\nvm1  c\n"
    assert "# exit status 0, over ssh" in prefixed.stderr


def test_a_command_goes_on_where_its_transport_was_lost(desk: Desk) -> None:
    mark, go = "/run/once", "/run/go"
    waits = f"while [ ! -e {go} ]; do sleep 1; done"
    run = desk.start(
        "exec", "-i", LOCAL, "-n", "--json", "vm1", "--", f"echo a; echo x >>{mark}; {waits}; echo b; exit 4"
    )
    end = time.monotonic() + scaled(60)
    while desk.answer("--transport", "serial", "vm1", "--", "cat", mark).get("exit_status"):
        assert time.monotonic() < end
    killed = desk.answer(
        *("--transport", "serial", "vm1", "--"),
        f"systemctl stop ssh.socket ssh; pkill -KILL sshd; systemd-run --quiet --on-active=5 touch {go}; echo done",
    )
    assert killed["stdout"] == "done\n"
    assert run.finish(200) == 4, run.stderr
    answer = json.loads(run.stdout)
    assert (answer["stdout"], answer["exit_status"], answer["transports"]) == ("a\nb\n", 4, ["ssh", "serial"])
    assert desk.answer("vm1", "--", "cat", mark)["stdout"] == "x\n", "it was run once"
    assert desk.answer("vm1", "--", "systemctl reset-failed; systemctl start ssh")["exit_status"] == 0


def test_what_is_interrupted_is_ended_on_the_machine(desk: Desk) -> None:
    run = desk.start("exec", "-i", LOCAL, "-n", "vm1", "--", "echo begun; sleep 4321")
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "begun\n"
    run.process.send_signal(signal.SIGINT)
    assert run.finish(60) == 130
    assert desk.answer("vm1", "--", "pgrep -f '[s]leep 4321'")["exit_status"] == 1
    late = desk.type("exec", "-i", LOCAL, "-n", "--deadline", "20", "vm1", "--", "echo begun; sleep 5432")
    assert (late.stdout, late.process.returncode) == ("begun\n", 1)
    assert "had not ended at its deadline; it was ended on the target" in late.stderr
    assert desk.answer("vm1", "--", "pgrep -f '[s]leep 5432'; ls -d /run/.harness-*")["stdout"].count("\n") == 1


def test_files_go_there_and_back(desk: Desk) -> None:
    data = os.urandom(30_000)
    (desk.folder / "file").write_bytes(data)
    for transport in ("ssh", "serial"):
        put = desk.type("put", "-i", LOCAL, "--transport", transport, "--mode", "640", "vm1", "file", "/root/")
        assert put.process.returncode == 0, put.stderr
        assert f"put to /root/file: 30000 bytes over {transport}" in put.stdout
        got = desk.type("get", "-i", LOCAL, "--transport", transport, "vm1", "/root/file", f"back-{transport}")
        assert got.process.returncode == 0, got.stderr
        assert (desk.folder / f"back-{transport}").read_bytes() == data
    assert desk.answer("vm1", "--", "stat -c %a /root/file")["stdout"] == "640\n"
    none = desk.type("get", "-i", LOCAL, "vm1", "/root/none")
    assert none.process.returncode == 1
    assert "/root/none cannot be read" in none.stderr
    assert desk.type("put", "-i", LOCAL, "vm1", "nothing", "/root/").process.returncode == 2


def test_a_run_uses_what_is_up_and_leaves_it_up(desk: Desk) -> None:
    checks = desk.folder / "fine.py"
    checks.write_text(
        "from harness import check\n\n@check\ndef says(target):\n    assert target.read('echo x') == 'x'\n"
    )
    run = desk.type("run", "-i", LOCAL, str(checks))
    assert run.process.returncode == 0, run.stdout + run.stderr
    assert not run.machines()
    (attached,) = run.of("machine.attached")
    assert attached["process.pid"] == desk.machine["pid"]


def test_when_it_is_down_that_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    up = desk.type("up", "-i", LOCAL)
    assert up.process.returncode == 0, up.stdout + up.stderr
    pid = desk.machine["pid"]
    down = desk.type("down", "vm*")
    assert (down.stdout, down.process.returncode) == ("vm1  is down\n", 0)
    assert gone([pid])
    assert desk.type("down").process.returncode == 0
    run = desk.type("exec", "-i", LOCAL, "-n", "vm1", "--", "true")
    assert run.process.returncode == 3
    assert "the machine vm1 is not up" in run.stderr
    assert f"harness up -i {LOCAL} vm1" in run.stderr
    assert json.loads(desk.type("status", "--json").stdout)["machines"] == []
