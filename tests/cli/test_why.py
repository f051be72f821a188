"""`harness why` as a person types it, where SSH does not serve: the first sentence, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.report.folder import last_failure
from harness.testing.pty_guest import PtyGuest
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
REFUSED = "ansible_host=127.0.0.1 ansible_port=1 ansible_user=root ansible_host_key_checking=false"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an inventory: a host whose SSH is refused and that has a console, and one that has none."""
    (tmp_path / "inv.ini").write_text(f"down {REFUSED} serial_socket={tmp_path / 'console'}\nnobody {REFUSED}\n")
    (tmp_path / "runtime").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def console(folder: Path) -> Iterator[None]:
    """A shell on the console of `down`."""
    with PtyGuest(["bash", "--norc", "-i"], folder / "console"):
        yield


def why(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "why", "-i", "inv.ini", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder / "runtime")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )


@pytest.mark.usefixtures("console")
def test_where_ssh_is_refused_the_console_is_asked_and_the_cause_comes_first(folder: Path) -> None:
    done = why(folder, "down", "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)["targets"][0]
    reach = document["reach"]
    assert (reach["reached"], reach["over"]) == (True, "serial")
    diagnosis = reach["diagnosis"]
    assert diagnosis["headline"].startswith("127.0.0.1:1 refuses the connection")
    met = [(each["transport"], each["contact"]) for each in diagnosis["transports"]]
    assert met == [("ssh", "refused"), ("serial", "answered")]
    assert "who listens on the port" not in [each["what"] for each in diagnosis["not_asked"]], "the shell was asked"


def test_where_nothing_answers_the_first_sentence_says_why(folder: Path) -> None:
    done = why(folder, "nobody")
    assert done.returncode == 3
    first = done.stdout.splitlines()[0]
    assert first.startswith("nobody  unreached 127.0.0.1:1 refuses the connection: nothing listens there")
    assert "Connection refused" in first
    assert not first.endswith(":")


def test_a_machine_that_the_last_run_could_not_start_is_not_just_not_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blank.img").write_bytes(bytes(1 << 20))
    image = f"qemu_image={tmp_path / 'blank.img'}"
    (tmp_path / "inv.ini").write_text(f"vm1 {image} qemu_binary=qemu-nope\nvm2 {image}\n")
    (tmp_path / "checks.py").write_text("from harness import check\n\n@check\ndef one(target):\n    return ''\n")
    assert main(["run", "-i", "inv.ini", "--limit", "vm1", "checks.py"]) == 3
    capsys.readouterr()
    assert main(["why", "-i", "inv.ini", "vm1"]) == 3
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("harness: vm1: the machine vm1 is not up; in the last run (")
    assert first.endswith("): qemu-nope is needed to start the machine vm1, and is not installed")
    assert main(["why", "-i", "inv.ini", "vm2"]) == 3
    assert capsys.readouterr().err.splitlines()[0] == "harness: vm2: the machine vm2 is not up"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"targets": 3}', '{"targets": [3]}', '{"run": "r", "targets": [{"target": "vm1", "error": 3}]}'],
)
def test_damaged_results_are_no_reason(tmp_path: Path, text: str) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "results.json").write_text(text)
    assert last_failure(tmp_path, "vm1") == ("", "")
