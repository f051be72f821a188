"""Looks at real guests, recorded: what each of them means, with no guest.

`HARNESS_RECORD_LOOKS=tests/target/looks pytest tests/guest/test_settling.py` records them anew.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.target.look import (
    Look,
    jobs_command,
    journal_command,
    parse_look,
    show_command,
    system_command,
    unit_command,
)
from harness.target.observe import SOCKETS, SYSLOG
from harness.target.services import service_command
from harness.target.settle import judge_target
from harness.target.standing import Standing
from harness.target.units import IncompleteAnswer
from harness.target.why import explain, explain_queue

CASES: list[dict[str, Any]] = [
    json.loads(file.read_text()) for file in sorted((Path(__file__).parent / "looks").glob("*.json"))
]
WHOLE = "look at all"


def parsed(case: dict[str, Any], lines: list[str] | None = None) -> Look:
    return parse_look("\n".join(case["output"] if lines is None else lines), of_user=bool(case.get("user")))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["command"].removeprefix("look at "))
def test_a_look_means_what_it_meant(case: dict[str, Any]) -> None:
    if case["command"] == WHOLE:
        standing, told = judge_target(parsed(case))
        assert (standing.value, told) == (case["standing"], case["sentence"])
        look = parsed(case)
        assert {job.unit: str(explain(look, look.states[job.unit])) for job in look.jobs} == case["units"]
        return
    answer = explain(parsed(case))
    assert str(answer) == case["sentence"]
    assert answer.standing.value == case["standing"]
    assert (answer.knot and answer.knot.value) == case["knot"]
    assert list(answer.chain) == case["chain"]


def test_every_standing_and_every_knot_is_among_them() -> None:
    assert {case["standing"] for case in CASES} == set(Standing)
    assert {case.get("knot") for case in CASES} == {None, "cycle", "deadlock"}


@settings(deadline=None)
@given(st.data())
def test_whatever_is_missing_of_an_answer_it_is_asked_for_again_or_judged(data: st.DataObject) -> None:
    """`systemctl show` leaves properties out at times, processes end while they are looked at, a journal is rotated."""
    case = data.draw(st.sampled_from(CASES))
    lines: list[str] = case["output"]
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=12))
    with contextlib.suppress(IncompleteAnswer):
        look = parsed(case, [line for number, line in enumerate(lines) if number not in gone])
        if case["command"] == WHOLE:
            assert judge_target(look)[1]
        elif look.asked:
            assert explain(look).sentence
        explain_queue(look)


ODD = "a b;$(touch x)'@USER@"
COMMANDS = [
    unit_command("x.service"),
    unit_command(ODD),
    unit_command(ODD, ODD),
    system_command(),
    system_command(ODD),
    show_command([ODD, "b.service"]),
    show_command([ODD, "b.service"], ODD),
    jobs_command(),
    jobs_command(ODD),
    journal_command([ODD, "b.service"], 3, 10),
    journal_command([ODD, "b.service"], 3, 10, ODD),
    service_command(ODD),
    SOCKETS,
    SYSLOG.replace("@LINES@", "9"),
]


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "sh"]], ids=" ".join)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_shell_understands_the_commands(shell: list[str], command: str) -> None:
    subprocess.run([*shell, "-n", "-c", command], check=True)
    assert not re.search("@(?!USER)[A-Z]+@", command)


# Programs that answer as they would where there is a systemd: only the shell's own work is tried.
STAND_IN = r"""
block() { printf 'Id=%s\nBindsTo="d\\\\x2de.device"\nLoadState=loaded\nActiveState=inactive\nSubState=dead\n\n' "$1"; }
systemctl() {
case "$*" in
*list-jobs*) printf '%s\n' '7 a\x2db.service start running' '`-  waiting for job 9 (x.device/start) - -' \
'9 x.device start running' '8 c.service start waiting';;
*show*) while [ "$1" != -- ]; do shift; done; shift; for u in "$@"; do block "$u"; done;;
esac
}
journalctl() { echo "$*"; }
"""


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "sh"]], ids=" ".join)
def test_every_shell_puts_the_right_questions(shell: list[str]) -> None:
    done = subprocess.run(
        [*shell, "-c", STAND_IN + unit_command(r"a\x2db.service")], capture_output=True, text=True, check=True
    )
    look = parse_look(done.stdout)
    assert look.asked[0].name == r"a\x2db.service"
    # Near it: what it is bound to, unescaped; what runs; what waits.
    assert set(look.states) == {r"a\x2db.service", r"d\x2de.device", "x.device", "c.service"}
    assert [(job.id, job.running, job.after) for job in look.jobs] == [(7, True, (9,)), (9, True, ()), (8, False, ())]
    assert r"UNIT=a\x2db.service _PID=1 + _SYSTEMD_UNIT=a\x2db.service" in done.stdout
    assert "JOB_ID=9 _PID=1" in done.stdout
    assert abs(look.up - float(Path("/proc/uptime").read_text().split()[0])) < 60
    assert look.now_us > 0
