"""What bash, zsh and fish offer when a word of a `harness` command is completed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.complete import unknown_names
from harness.cli.main import VERBS, build_parser
from tests.cli.shells import ROOT, completed_at_a_terminal, offered_by_bash, offered_by_fish
from tests.patience import scaled

CHECKS = """\
from pathlib import Path
from harness import check as looked_at
import harness

Path("imported").touch()


@looked_at
def first(target):
    pass


@looked_at.each(unit=["a", "b"])
def second(target, unit):
    pass


@harness.check(budget=3)
def third(target):
    pass


def no_check(target):
    pass
"""
INI = "[web]\nweb1\nweb2\n[db]\ndata1\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an inventory, checks and two runs."""
    (tmp_path / "lab.ini").write_text(INI)
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "found.ini").write_text("found1\n")
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "all.py").write_text(CHECKS)
    (tmp_path / "checks" / "_hidden.py").write_text(CHECKS)
    (tmp_path / "checks" / "broken.py").write_text("def x(:")
    check = {"module": "all", "check": "first"}
    for run in ("20260101T000000Z-aaaaaa", "20260102T000000Z-bbbbbb"):
        folder = tmp_path / "logs" / run
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps({"targets": [{"checks": [check]}]}))
    (tmp_path / "logs" / "latest").symlink_to("20260102T000000Z-bbbbbb")
    (tmp_path / "logs" / "up").mkdir()
    (tmp_path / "logs" / "up" / "up1").symlink_to("nowhere")
    return tmp_path


CASES = [
    ("harness ", list(VERBS)),
    ("harness so", ["soak"]),
    ("harness run --transp", ["--transport"]),
    ("harness run --transport ", ["ssh", "serial"]),
    ("harness run -i ", ["bin/", "checks/", "inventories/", "lab.ini", "logs/"]),
    ("harness run -i lab.ini checks/", ["checks/all.py", "checks/broken.py"]),
    ("harness run -i lab.ini --limit ", ["web1", "web2", "data1", "all", "web", "db"]),
    ("harness run -i lab.ini -l web", ["web1", "web2", "web"]),
    ("harness run -i web7,web8 -l w", ["web7", "web8"]),
    ("harness run --limit fo", ["found1"]),
    ("harness inventory -i lab.ini --host ", ["web1", "web2", "data1"]),
    ("harness report ", ["latest", "20260102T000000Z-bbbbbb", "20260101T000000Z-aaaaaa"]),
    ("harness report 20260101", ["20260101T000000Z-aaaaaa"]),
    ("harness report --format j", ["json", "junit"]),
    ("harness logs --level w", ["warning"]),
    ("harness logs --action link.f", ["link.fallback"]),
    ("harness history al", ["all::first"]),
    ("harness exec -i lab.ini da", ["data1"]),
    ("harness down ", ["up1"]),
    ("harness image build d", ["debian"]),
    ("harness soak --reset s", ["snapshot"]),
    ("harness completion ", ["bash", "zsh", "fish"]),
    ("harness run -i none.ini -l w", []),
    ("harness run --seed ", []),
]


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_what_bash_and_fish_offer(place: Path, line: str, expected: list[str]) -> None:
    words, said = offered_by_bash(line, place)
    assert sorted(words) == sorted(expected)
    assert said == ""
    words, said = offered_by_fish(line, place)
    assert sorted(words) == sorted(expected)
    assert said == ""


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("harness soa", "harness soak"),
        ("harness run -i lab.ini -l dat", "harness run -i lab.ini -l data1"),
        ("harness run -i lab.ini checks/al", "harness run -i lab.ini checks/all.py"),
        ("harness run -i lab.ini checks/all.py::fi", "harness run -i lab.ini checks/all.py::first"),
        ("harness run -i lab.ini -l web1:dat", "harness run -i lab.ini -l web1:data1"),
        ("harness run -i lab.ini --limit=dat", "harness run -i lab.ini --limit=data1"),
        ("harness report 20260101", "harness report 20260101T000000Z-aaaaaa"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab_at_a_terminal(place: Path, shell: str, typed: str, line: str) -> None:
    assert completed_at_a_terminal(shell, typed, place) == line


def test_the_names_of_checks_without_importing_them(place: Path) -> None:
    words, said = offered_by_bash("harness run -i lab.ini checks/all.py::", place)
    assert words == ["first", "second", "third"]  # bash has the part before a colon already
    words, said = offered_by_fish("harness run -i lab.ini checks/all.py::", place)
    assert words == [f"checks/all.py::{name}" for name in ("first", "second", "third")]
    assert said == ""
    assert not (place / "imported").exists()
    assert offered_by_bash("harness run -i lab.ini checks/broken.py::", place) == ([], "")


def test_no_program_is_run_and_no_error_printed(place: Path) -> None:
    """A broken file beside a program and a vaulted one: what can be read is offered."""
    sources = place / "sources"
    sources.mkdir()
    (sources / "1.ini").write_text("good1\n")
    program = sources / "2.py"
    program.write_text("#!/bin/sh\ntouch started\necho '{}'\n")
    program.chmod(0o755)
    (sources / "3.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    (place / "bad.yml").write_text("all: [\n")
    line = "harness run -i sources -i sources/2.py -i bad.yml -i lab.ini --vault-password-file sources/2.py -l "
    words, said = offered_by_bash(line, place)
    assert {"good1", "web1", "data1"} <= set(words)
    assert said == ""
    assert not (place / "started").exists()
    assert not list((place / "logs").glob("*started*"))


def test_every_argument_has_its_words() -> None:
    unknown = unknown_names(build_parser())
    assert not unknown, (
        f"a shell does not know what to offer for {', '.join(unknown)}: call the argument as the others are called "
        "(metavar=), or add it to WORDS in harness/cli/complete.py"
    )


def test_help_does_not_import_the_library() -> None:
    script = "import sys, harness.cli.main as main; main.build_parser(); print('argcomplete' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=scaled(60)
    )
    assert done.stdout.strip() == "False"
