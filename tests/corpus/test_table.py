"""The corpus as a table: enough of it, of every kind, and each row can be planted."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .fault import Area, Fault
from .faults import FAULTS, HEALTHY, ROWS
from .runner import Desk, Score, Verb, _first_line, line_of, summary


def test_there_are_enough_of_every_kind() -> None:
    assert len(FAULTS) >= 60
    assert len(HEALTHY) >= 10
    names = [each.name for each in ROWS]
    assert len(set(names)) == len(names)
    assert {each.area for each in FAULTS} == set(Area)
    assert 3 <= sum(each.quick for each in ROWS) <= 15


def test_each_row_says_what_is_planted_and_what_must_be_said() -> None:
    for fault in FAULTS:
        re.compile(fault.cause)
        assert bool(fault.plant) is not fault.boots, fault.name
        assert re.search(fault.cause, "") is None, f"{fault.name}: any sentence would do"
        assert fault.run != 0, fault.name


def test_every_script_is_one_of_posix_sh() -> None:
    scripts = [each.plant for each in ROWS if each.plant]
    # A function for each: nothing is run, and a quote that is left open is an error.
    text = "\n".join(f"f{number}() {{\n{script}\n}}" for number, script in enumerate(scripts))
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def fault(**changes: object) -> Fault:
    return Fault("a", Area.SSHD, "the cause", "true", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sentence", "code", "named"),
    [("this is the cause of it", 1, True), ("this is the cause of it", 3, False), ("something else", 1, False)],
)
def test_a_cause_is_named_by_the_first_sentence_and_the_exit_code(sentence: str, code: int, named: bool) -> None:
    done = Verb(code, sentence, "", 1.0)
    score = Score(fault(), done, done)
    assert (score.run_named, score.why_named) == (named, named)
    assert line_of(score).count("ok" if named else "no") >= 2
    assert summary([score, Score(fault(), trouble="x")]).startswith(
        f"run named {int(named)} of 2, why {int(named)} of 2"
    )
    assert Score(fault(run=None, why=None), done, done).run_named is ("the cause" in sentence)


def test_an_inventory_holds_what_the_row_says(tmp_path: Path) -> None:
    Desk(tmp_path / "a", {"qemu_append": "root=/dev/vda x", "qemu_seed": "{folder}/seed"}, boots=True)
    text = (tmp_path / "a" / "inventory.ini").read_text()
    assert "qemu_append='root=/dev/vda x'" in text
    assert f"qemu_seed={tmp_path / 'a' / 'seed'}" in text
    assert "qemu_start=boot" in text
    Desk(tmp_path / "b", {"qemu_image": "", "ansible_host": "nosuchhost.invalid"}, boots=True)
    assert "qemu" not in (tmp_path / "b" / "inventory.ini").read_text()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("vm1  never     a.service failed\nvm1  coming    b.service waits", "a.service failed"),
        ("vm1  no ssh    sshd listens on port 2222\nvm1            transports: x", "sshd listens on port 2222"),
        (
            "vm1  reached   ssh answers\nvm1            serial: not used\nvm1  never     a.service failed",
            "a.service failed",
        ),
        ("vm1  reached   ssh answers", "ssh answers"),
        ("", "harness: error"),
    ],
)
def test_the_first_sentence_is_the_first_that_says_what_is_wrong(output: str, sentence: str) -> None:
    assert _first_line(output, "harness: error") == sentence
