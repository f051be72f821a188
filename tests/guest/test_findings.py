"""What a real machine says while it boots, while it is checked, and in its last moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

INVENTORY = """\
vm1 qemu_image=debian qemu_seed=seed qemu_append=loglevel=7 checks_at_once=1

[all:vars]
findings_expected=dependency_failed
expected_failed_units=bad.service
"""
UNITS = {
    "bad.service": "[Unit]\nDescription=A unit that cannot start\n[Service]\nType=oneshot\nExecStart=/bin/false\n",
    "needs-bad.service": "[Unit]\nDescription=A unit that needs it\nRequires=bad.service\nAfter=bad.service\n"
    "[Service]\nExecStart=/bin/true\n",
}
BUDGET = 500
CHECKS = f"""\
from harness import NotYet, check

begun = []

@check
def talks(target):
    target.read("dmesg -n 8")

@check
def crashes(target):
    # Perl reads a string at the address 1.
    assert "139" in target.read("perl -e 'unpack \\"p\\", pack \\"L!\\", 1'; echo $?")

@check
def wants_too_much(target):
    hog = "sh -c 'head -c 100000000 /dev/zero | tail > /dev/null'"
    said = target.run("systemd-run --wait -p MemoryMax=20M -p MemorySwapMax=0 " + hog)
    assert "oom-kill" in said.err + said.out

@check
def warns(target):
    target.read("echo '<4>WARNING: CPU: 0 PID: 1 at kernel/made_up.c:12 nothing+0x1/0x2' > /dev/kmsg")

@check(budget={BUDGET}, interval={BUDGET} / 3)
def waits(target):
    if not begun:
        begun.append(target.read("(sleep 2; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 & echo begun"))
    raise NotYet("what it waits for is not there")

@check
def comes_too_late(target):
    target.read("true")
"""


def seconds(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["@timestamp"]).timestamp()


def test_what_a_machine_says_is_found_whenever_it_says_it(harness: Callable[..., Run], tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(INVENTORY)
    wants = tmp_path / "seed" / "etc" / "systemd" / "system" / "multi-user.target.wants"
    wants.mkdir(parents=True)
    for name, text in UNITS.items():
        (wants.parent / name).write_text(text)
        (wants / name).symlink_to(f"../{name}")
    checks = tmp_path / "trouble.py"
    checks.write_text(CHECKS)
    run = harness("-i", str(inventory), str(checks))
    assert run.finish(550) == 1, run.stdout + run.stderr

    found = {each["name"]: each for each in run.results["targets"][0]["findings"]}
    assert set(found) == {
        "unit_failed", "dependency_failed", "segfault", "oom_kill", "kernel_warning", "panic",
    }, found  # fmt: skip
    # While it booted.
    assert found["unit_failed"]["title"] == "[FAILED] Failed to start bad.service - A unit that cannot start."
    assert found["unit_failed"]["checks"] == []
    assert found["dependency_failed"]["ruling"] == "expected"
    # With the check that ran then, and whole.
    ran = {name: [check.rpartition("::")[2] for check in each["checks"]] for name, each in found.items()}
    # (A console lags behind: what had just ended is named too.)
    assert "crashes" in ran["segfault"]
    assert not {"wants_too_much", "warns", "waits"} & set(ran["segfault"]), "they had not begun"
    assert ran["oom_kill"] == ["wants_too_much"]
    assert "warns" in ran["kernel_warning"]
    assert ran["panic"] == ["waits"]
    assert "perl[" in found["segfault"]["title"]
    oom = found["oom_kill"]["text"].splitlines()
    assert "invoked oom-killer" in oom[0]
    assert "Memory cgroup out of memory: Killed process" in oom[-1]
    assert any("Tasks state" in line for line in oom)
    # The panic: its whole report, and the end of all waits.
    panic = found["panic"]["text"].splitlines()
    assert panic[0].endswith("Kernel panic - not syncing: sysrq triggered crash")
    assert any("Call Trace:" in line for line in panic)
    assert "end Kernel panic" in panic[-1]
    by_name = {check["check"]: check for check in run.results["targets"][0]["checks"]}
    outcomes = {name: check["outcome"] for name, check in by_name.items()}
    assert outcomes == {
        "talks": "passed", "crashes": "passed", "wants_too_much": "passed", "warns": "passed", "waits": "failed",
        "comes_too_late": "unreachable", "findings": "failed",
    }  # fmt: skip
    assert "its kernel panicked: Kernel panic - not syncing: sysrq triggered crash" in by_name["waits"]["message"]
    assert by_name["waits"]["duration"] < BUDGET / 3
    assert "panic (critical, forbidden)" in by_name["findings"]["message"]
    assert "oom_kill" not in by_name["findings"]["message"]
    # What a person sees.
    assert "FINDING vm1  panic (critical, forbidden)" in run.stdout
    assert "FINDING vm1  segfault (error): perl[" in run.stdout
    assert "FINDING vm1  dependency_failed" not in run.stdout

    last = run.of("console.line")[-1]
    line = next(record for record in run.of("console.line") if "Kernel panic - not syncing" in record["harness.text"])
    end = next(record for record in run.of("check.end") if record["test.case.name"] == "waits")
    print(f"from the panic's first line to the check's end: {seconds(end) - seconds(line):.2f} s")
    print(f"from its last line: {seconds(end) - seconds(last):.2f} s")
