"""Plants faults in a guest, types `harness run` and `why`, and says whether the first sentence names the cause."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.patience import factor, scaled

from .fault import Fault, Healthy

ROOT = Path(__file__).parents[2]
CHECKS = (str(ROOT / "checks" / "sshd"),)
FEW = tuple(
    str(ROOT / "checks" / "sshd" / name)
    for name in ("inside.py::unit_settled", "outside.py", "console.py::login_on_console")
)
"""Checks that are enough to see a fault of those that CI plants."""
LONGEST = 420.0
"""Seconds that one verb may take."""
SHORT = ("--no-collect", "--budget", "30", "-e", "settle_timeout=25", "-e", "reach_timeout=8")
"""Options of a run: a cause that is there need not be waited for."""
_BAD = ("failed", "error", "unreachable", "infrastructure", "not_run")


@dataclass(frozen=True, slots=True)
class Verb:
    """What came of a verb: its exit code, its first sentence, and all that it printed."""

    code: int
    sentence: str
    output: str
    seconds: float

    def names(self, cause: str, code: int | None) -> bool:
        """Return whether the first sentence matches the cause, and the exit code is as expected (None: any)."""
        return re.search(cause, self.sentence, re.IGNORECASE) is not None and code in (None, self.code)


@dataclass(frozen=True, slots=True)
class Score:
    """What `run` and `why` said of a fault; `trouble` is why it could not be planted."""

    fault: Fault
    run: Verb | None = None
    why: Verb | None = None
    trouble: str = ""

    @property
    def run_named(self) -> bool:
        return self.run is not None and self.run.names(self.fault.cause, self.fault.run)

    @property
    def why_named(self) -> bool:
        return self.why is not None and self.why.names(self.fault.why_cause or self.fault.cause, self.fault.why)


class Desk:
    """A folder in which verbs are typed, with an inventory of one machine."""

    def __init__(self, folder: Path, variables: Mapping[str, str], *, boots: bool) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        given = {key: value.replace("{folder}", str(folder)) for key, value in variables.items()}
        own = {"qemu_image": "debian", "qemu_start": "boot" if boots else "snapshot", **given}
        lines = [f"{key}={shlex.quote(value) if ' ' in value else value}" for key, value in own.items() if value]
        if "qemu_image" in given and not given["qemu_image"] and "qemu_disks" not in given:
            lines = [each for each in lines if not each.startswith("qemu_")]  # a host that runs by itself
        (folder / "inventory.ini").write_text("\n".join(["[guests]", "vm1", "", "[guests:vars]", *lines, ""]))

    def type(self, verb: str, *words: str, options: Sequence[str] = ()) -> Verb:
        """Type a verb; it is ended when it takes too long."""
        began = time.monotonic()
        inventory = [] if verb == "down" else ["-i", "inventory.ini"]
        command = [sys.executable, "-m", "harness", verb, *inventory, *options]
        if verb != "down" and (load := min(4.0, factor())) > 1.1 and "--timeout-scale" not in options:
            command += ["--timeout-scale", f"{load:.1f}"]
        command += words
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=scaled(LONGEST), check=False,
        )  # fmt: skip
        output = f"{done.stdout}{done.stderr}"
        sentence = self._sentence_of_run(done.stderr) if verb == "run" else _first_line(done.stdout, done.stderr)
        return Verb(done.returncode, sentence, output, time.monotonic() - began)

    def _sentence_of_run(self, complaint: str) -> str:
        """What a run says first of what is wrong: of the target, else of the first check, else of the first finding."""
        file = self.folder / "logs" / "latest" / "results.json"
        if not file.exists():
            return _first_line(complaint, "")
        for target in json.loads(file.read_text())["targets"]:
            reasons = [target["infrastructure"], target["error"], target["unreachable"]]
            reasons += [check["message"] for check in target["checks"] if check["outcome"] in _BAD]
            reasons += [f"{finding['name']}: {finding['title']}" for finding in target["findings"]]
            if first := next((each for each in reasons if each), ""):
                return str(first).partition("\n")[0]
        return ""

    def plant(self, script: str, *, breaks_ssh: bool) -> str:
        """Run a script on the machine; return what went wrong."""
        if breaks_ssh:
            script = f"setsid -f sh -c {shlex.quote(f'sleep 1; {script}')} > /dev/null 2>&1 < /dev/null"
        done = self.type("exec", "vm1", "--", script)
        # What stops sshd may end with its status, or take our shell away: that is the fault.
        return done.output if done.code in (2, 4, 5) else ""


def plant_and_ask(fault: Fault, folder: Path, checks: Sequence[str] = CHECKS) -> Score:
    """Plant one fault, on a machine of its own, and return what was said of it."""
    for name, content in fault.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    desk = Desk(folder, fault.variables, boots=fault.boots)
    try:
        if not fault.boots:
            up = desk.type("up", "vm1")
            if up.code:
                return Score(fault, trouble=f"the machine is not up: {up.output}")
            if trouble := desk.plant(fault.plant, breaks_ssh=fault.breaks_ssh):
                return Score(fault, trouble=f"it was not planted: {trouble}")
            time.sleep(fault.settles)
        run = desk.type("run", *checks, options=(*SHORT, *(["--keep"] if fault.boots else [])))
        return Score(fault, run, desk.type("why", "vm1"))
    except subprocess.TimeoutExpired as late:
        return Score(fault, trouble=f"{late.cmd[3]} did not end in {late.timeout:.0f} s")
    finally:
        desk.type("down")


def ask_healthy(healthy: Healthy, folder: Path) -> list[str]:
    """Return the false alarms of a healthy machine."""
    desk = Desk(folder, healthy.variables, boots=healthy.boots)
    alarms: list[str] = []
    try:
        up = desk.type("up", "vm1")
        if up.code:
            return [f"the machine is not up: {up.output}"]
        if healthy.plant and (trouble := desk.plant(healthy.plant, breaks_ssh=False)):
            return [f"it was not made: {trouble}"]
        for verb, words in (("run", CHECKS), ("why", ("vm1",))):
            options = ("--no-collect", *healthy.options) if verb == "run" else healthy.options
            done = desk.type(verb, *words, options=options)
            if done.code:
                alarms.append(f"{verb} ended with {done.code}: {done.sentence}")
            elif verb == "run" and done.sentence:
                alarms.append(f"run: {done.sentence}")
    except subprocess.TimeoutExpired as late:
        alarms.append(f"{late.cmd[3]} did not end in {late.timeout:.0f} s")
    finally:
        desk.type("down")
    return alarms


def line_of(score: Score) -> str:
    """Return a score as one line."""
    if score.trouble:
        return f"??     {score.fault.name}: {' '.join(score.trouble.split())[:300]}"
    lines = []
    for verb, done, named in (("run", score.run, score.run_named), ("why", score.why, score.why_named)):
        assert done is not None, "it was planted"
        word = "ok" if named else "no"
        lines.append(f"{word:<6} {score.fault.name} {verb} {done.code} {done.seconds:.0f} s: {done.sentence[:300]}")
    return "\n".join(lines)


def summary(scores: Iterable[Score]) -> str:
    """Return how many causes were named by each verb."""
    scores = list(scores)
    run, why = sum(each.run_named for each in scores), sum(each.why_named for each in scores)
    unplanted = sum(bool(each.trouble) for each in scores)
    more = f"; {unplanted} could not be planted" if unplanted else ""
    return f"run named {run} of {len(scores)}, why {why} of {len(scores)}{more}"


def _first_line(output: str, complaint: str) -> str:
    """Return the first line that says what is wrong, without the target's name and the standing before the sentence.
    `why` says first over which transport the target is reached: where all is well there, the next sentence counts."""
    lines = (output.strip() or complaint.strip()).split("\n")
    wrong = [line for line in lines if not line.startswith(("vm1  reached ", "vm1            "))]
    return re.sub(r"^vm1  (?:[a-z]+(?: ssh)? +)?", "", (wrong or lines)[0])
