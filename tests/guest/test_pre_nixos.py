"""The oneshot in front of sshd, on real guests: each variant has its verdict, and a sentence that says why.

Three boots are enough: the machine that hangs is mended by hand, and its oneshot started again as the slow and as the
failing one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import factor, scaled

from .conftest import INVENTORIES, ROOT, Run, gone

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

INVENTORY = str(INVENTORIES / "pre_nixos.ini")
CHECKS = str(ROOT / "checks" / "pre_nixos")
SETTLED = "(target)::settled"
BLOCKED = (
    r"ssh\.service: (re)?start job waiting; ordered after pre-nixos\.service, whose start job has been running for "
    r"[\d.]+ (min \d+ )?s \(`/bin/sh /usr/local/sbin/pre-nixos`, PID \d+\); it is itself waiting for "
    r"`systemctl reload-or-restart ssh\.service` \(PID \d+\), which waits for ssh\.service's (re)?start job: "
    r"a deadlock, which nothing ends"
)


PATIENT = ("--at-once", "2", "--collect-recipe", "quick", "-e", "pre_nixos_longest=600")


def call(folder: Path, verb: str, *arguments: str, seconds: float = 400) -> Run:
    """One call of `harness`, to its end: no terminal, no stdin, its output in pipes."""
    if verb == "run":
        # Twice the time: a look over the console takes seconds on a busy emulated machine, and they queue there. Not
        # more than six times: some of the checks look again until their budget is spent.
        arguments = (*arguments, *PATIENT, "--timeout-scale", f"{2 * min(3.0, factor()):.1f}")
    run = Run(folder, *arguments, verb=verb)
    try:
        run.finish(seconds)
    finally:
        if run.process.poll() is None:
            run.process.terminate()
            run.process.communicate(timeout=scaled(60))
    return run


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One that comes up, and one whose LAN never gets an address, in one run."""
    arguments = ("-i", INVENTORY, CHECKS, "--limit", "no-block,no-lan", "--forks", "2")
    return call(tmp_path_factory.mktemp("pre_nixos"), "run", *arguments, seconds=850)


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder from which the one that hangs was started, and is left up meanwhile."""
    folder = tmp_path_factory.mktemp("blocked")
    up = call(folder, "up", "-i", INVENTORY, "blocking", "--keep-for", "20m")
    assert up.process.returncode == 0, up.stdout + up.stderr
    try:
        yield folder
    finally:
        down = call(folder, "down", "blocking")
        assert down.process.returncode == 0, down.stdout + down.stderr


def of(run: Run, host: str) -> dict[str, dict[str, Any]]:
    """A host's results by `module::check`, its settling among them where that failed."""
    (target,) = [each for each in run.results["targets"] if each["target"] == host]
    return {f"{each['module'].rpartition('/')[2]}::{each['check']}": each for each in target["checks"]}


def outcomes(run: Run, host: str) -> dict[str, list[str]]:
    """Which checks passed, which failed, and so on."""
    found: dict[str, list[str]] = {}
    for name, result in of(run, host).items():
        found.setdefault(result["outcome"], []).append(name)
    return found


def test_the_run_as_a_whole(story: Run) -> None:
    assert story.process.returncode == 1, story.stdout + story.stderr
    assert story.stderr == ""
    assert "ioctl" not in story.stdout
    assert [each["target"] for each in story.results["targets"]] == ["no-block", "no-lan"]
    assert gone(story.machines())


def test_with_no_block_all_comes_up(story: Run) -> None:
    results = {name: each["message"] for name, each in of(story, "no-block").items()}
    assert list(outcomes(story, "no-block")) == ["passed"], story.stdout
    has = r"lan \(was \w+\) has 192\.168\.77\.\d+/24 and \d routes"
    assert re.fullmatch(has, results["lan::has_an_address"])
    assert results["oneshot::tells_its_steps"] == "told of begin, lan, address, storage, sshd, end"
    assert "main on /dev/vdb, with slash of 1020 of 1024 MiB" in results["storage::is_planned"]


def test_a_lan_without_an_address_is_told_and_keeps_nobody_out(story: Run) -> None:
    results = of(story, "no-lan")
    assert outcomes(story, "no-lan")["failed"] == ["lan::has_an_address", "lan::networkd_agrees"]
    # An address may come at any time, so these looked again until their budget was spent.
    waited = r" \(after [\d.]+ s and \d+ attempts\)"
    bare = r"lan has a carrier, and no IPv4 address; the oneshot said: lan got no address by DHCP in 30 s"
    assert re.fullmatch(bare + waited, results["lan::has_an_address"]["message"])
    configuring = r"systemd-networkd has lan as \w+ \(configuring\), not as routable \(configured\)"
    assert re.fullmatch(configuring + waited, results["lan::networkd_agrees"]["message"])
    assert "address (missing: lan got no address" in of(story, "no-lan")["oneshot::tells_its_steps"]["message"]


def test_the_one_that_hangs_is_mended_by_hand_and_then_slow_and_then_failing(blocked: Path) -> None:
    """One machine, and one thing after the other."""
    the_deadlock_is_named_at_once_in_one_sentence(blocked)
    the_way_out_is_a_command_over_the_console(blocked)
    what_is_slow_is_waited_for(blocked)
    what_failed_is_told_in_its_own_words(blocked)


def the_deadlock_is_named_at_once_in_one_sentence(blocked: Path) -> None:
    run = call(blocked, "run", "-i", INVENTORY, CHECKS, "--limit", "blocking")
    assert run.process.returncode == 1, run.stdout + run.stderr
    results = of(run, "blocking")
    stuck = ("sshd::no_job_left", "sshd::settled", "sshd::answers", "oneshot::has_done_its_work")
    told = ("oneshot::tells_its_steps", "oneshot::tells_its_status")
    assert outcomes(run, "blocking") == {
        "failed": [SETTLED, *(name for name in results if name in (*stuck, *told))],
        "passed": [*("lan::has_an_address", "lan::networkd_agrees", "sshd::comes_after_it", "storage::is_planned")],
    }
    # A wait whose budget ran out would say so at the end of its message.
    assert re.fullmatch(BLOCKED, results["sshd::settled"]["message"])
    assert re.search(rf"; {BLOCKED}$", results["sshd::answers"]["message"])
    for name in (SETTLED, *stuck, *told):
        # Where it was seen it was the verdict, at once.
        looks = [each for each in results[name]["observations"] if "a deadlock, which nothing ends" in each["seen"]]
        assert [each["attempt"] for each in looks] == [results[name]["attempts"]], results[name]
    assert "storage, sshd of its steps, and not end" in results["oneshot::tells_its_steps"]["message"]
    assert re.search(BLOCKED, run.stdout)
    # All of it was learnt over the console, since sshd never came.
    assert {e["harness.transport"] for e in run.of("command") if "harness.exit_status" in e} == {"serial"}
    # What it had to say was collected; the verdict names the page, and each file holds its own command's output.
    collected = run.record / "targets" / "blocking" / "collected"
    assert f"{collected.relative_to(blocked.resolve() / 'logs')}/summary.md" in run.stdout
    index = json.loads((collected / "index.json").read_text())
    had = {each["name"] for each in index["entries"] if each["state"] == "had"}
    assert {"jobs", "os-release", "routes", "failed-units"} <= had
    jobs = (collected / "jobs.txt").read_text()
    assert jobs.startswith("JOB ")
    assert re.search(r"ssh\.service +(re)?start waiting", jobs)
    assert re.search(r"pre-nixos\.service +start running", jobs)
    assert "ID=debian" in (collected / "os-release.txt").read_text()
    assert "192.168.77.0/24 dev lan" in (collected / "routes.txt").read_text()
    # The sentence can be had of the folder alone, too.
    why = call(blocked, "why", "logs/latest", "ssh.service")
    assert re.search(BLOCKED, why.stdout), why.stdout + why.stderr
    assert why.process.returncode == 1


def the_way_out_is_a_command_over_the_console(blocked: Path) -> None:
    why = call(blocked, "why", "-i", INVENTORY, "blocking", "ssh.service")
    assert re.search(BLOCKED, why.stdout), why.stdout + why.stderr
    status = call(blocked, "exec", "-i", INVENTORY, "blocking", "--", "cat", "/run/pre-nixos/status")
    assert status.process.returncode == 0, status.stderr
    assert {"STATE=running", "STEP=sshd", "SSHD_MODE=block"} <= set(status.stdout.split())
    ended = call(blocked, "exec", "-i", INVENTORY, "blocking", "--", "systemctl", "kill", "pre-nixos.service")
    assert ended.process.returncode == 0, ended.stderr
    # The oneshot has failed now; sshd, which only came after it, comes up.
    arguments = ("-i", INVENTORY, f"{CHECKS}/sshd.py", "--limit", "blocking", "--no-settle")
    run = call(blocked, "run", *arguments)
    assert run.process.returncode == 0, run.stdout + run.stderr
    assert set(run.outcomes().values()) == {"passed"}


def what_is_slow_is_waited_for(blocked: Path) -> None:
    """After the way out: its sshd is up."""
    script = """\
    echo pre_nixos.sshd=no-block pre_nixos.delay=45 > /etc/pre-nixos.conf
    systemctl stop ssh; systemctl reset-failed; systemctl start --no-block pre-nixos ssh"""
    again = call(blocked, "exec", "-i", INVENTORY, "blocking", "--", script)
    assert again.process.returncode == 0, again.stderr
    run = call(blocked, "run", "-i", INVENTORY, CHECKS, "--limit", "blocking")
    assert run.process.returncode == 0, run.stdout + run.stderr
    assert list(outcomes(run, "blocking")) == ["passed"]
    results = of(run, "blocking")
    took = re.search(r"and took (\d+) s", results["oneshot::has_done_its_work"]["message"])
    assert took
    assert int(took[1]) >= 45
    assert "told of begin, delay, lan" in results["oneshot::tells_its_steps"]["message"]
    # While sshd was pending the wait said what for.
    waits = [event["message"] for event in run.of("attempt.end") if event["test.suite.name"] == "(target)"]
    pending = r"pre-nixos\.service: start job running for .* in it .*sleep.*; behind it waits? .*"
    assert any(re.search(pending, words) for words in waits), waits


def what_failed_is_told_in_its_own_words(blocked: Path) -> None:
    script = "/usr/sbin/mkswap /dev/vdb; echo > /etc/pre-nixos.conf; systemctl restart pre-nixos"
    again = call(blocked, "exec", "-i", INVENTORY, "blocking", "--", script)
    assert again.process.returncode == 1, again.stdout + again.stderr
    run = call(blocked, "run", "-i", INVENTORY, CHECKS, "--limit", "blocking")
    assert run.process.returncode == 1, run.stdout + run.stderr
    results = of(run, "blocking")
    assert outcomes(run, "blocking")["failed"] == [
        SETTLED,
        *("oneshot::has_done_its_work", "oneshot::tells_its_steps", "oneshot::tells_its_status", "storage::is_planned"),
    ]
    words = (
        r"pre-nixos\.service failed \(Result=exit-code, exit status 1\) and no restart is pending; it said: "
        r"(.* \| )?there is no free disk for the volume group main: /dev/vda holds /, /dev/vdb holds swap"
    )
    for name in (SETTLED, "oneshot::has_done_its_work"):
        assert re.fullmatch(words, results[name]["message"])
    assert re.search(rf"the storage is no-disk, not planned; {words}", results["storage::is_planned"]["message"])
    # sshd only comes after it, and needs nothing of it.
    assert {results[f"sshd::{name}"]["outcome"] for name in ("settled", "answers", "no_job_left")} == {"passed"}
