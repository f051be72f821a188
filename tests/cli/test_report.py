"""`harness report` and `harness history`, as they are typed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engine.outcome import CheckResult, Outcome, RunResult, TargetResult
from harness.report.folder import create
from harness.report.write import write_reports
from tests import forked
from tests.patience import scaled
from tests.soak import planted
from tests.soak.planted import Planted

ROOT = Path(__file__).parents[2]
CHECK = CheckResult(
    target="vm1", check="banner", module="sshd/outside", check_id="checks/sshd/outside.py::banner",
    outcome=Outcome.PASSED, message="", started=1e9, duration=0.25, attempts=1, transports=("ssh",),
    location="checks/sshd/outside.py:28",
)  # fmt: skip


def harness(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=scaled(120),
        check=False,
    )


def run(logs: Path, now: float, *checks: CheckResult) -> str:
    folder = create(logs, now)
    write_reports(RunResult(folder.run, now, 3.0, (TargetResult("vm1", checks),)), folder)
    return folder.run


def soak(logs: Path, now: float, plan: Planted) -> str:
    folder = create(logs, now)
    planted.write(folder.path, plan)
    return folder.run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    run(logs, 1.0e9, CHECK)
    run(logs, 1.1e9, replace(CHECK, outcome=Outcome.FAILED, message="no \x1b[31mbanner\x1b[0m came"))
    return tmp_path


def test_a_page_lies_in_the_runs_folder_and_the_verdict_is_told(place: Path) -> None:
    done = harness("report", "latest", cwd=place)
    assert done.returncode == 0, done.stderr
    verdict, path = done.stdout.splitlines()
    assert verdict.endswith(": failed: 1 of 1 trial failed.")
    page = Path(place / path.removeprefix("report: "))
    assert page.name == "report.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "no banner came" in page.read_text()
    assert (place / "logs" / "latest" / "report.html").exists()


def test_a_run_is_named_by_its_id_a_part_of_it_or_its_path(place: Path) -> None:
    first = sorted(path.name for path in (place / "logs").iterdir())[0]
    for name in (first, first[:9], f"logs/{first}", str(place / "logs" / first / "results.json")):
        done = harness("report", name, "--format", "json", cwd=place)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["verdict"]["word"] == "passed"


@pytest.mark.parametrize("name", ["out.html", "out.md", "out.json", "out.xml"])
def test_the_ending_says_which_format(place: Path, name: str) -> None:
    done = harness("report", "latest", "-o", name, cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"report: {name}" in done.stdout
    beginning = {"html": "<!DOCTYPE html>", "md": "## ", "json": "{", "xml": "<?xml"}[name.partition(".")[2]]
    assert (place / name).read_text().startswith(beginning)


def test_a_name_that_is_no_text_can_be_written_to(place: Path) -> None:
    done = harness("report", "latest", "-o", "caf\udce9.html", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "report: caf\\xdce9.html" in done.stdout
    assert (place / "caf\udce9.html").exists()


def test_all_but_html_go_to_stdout(place: Path) -> None:
    assert ET.fromstring(harness("report", "latest", "--format", "junit", cwd=place).stdout).get("failures") == "1"
    assert json.loads(harness("report", "latest", "--format", "ctrf", cwd=place).stdout)["reportFormat"] == "CTRF"
    assert harness("report", "latest", "--format", "markdown", cwd=place).stdout.startswith("## ❌ Run ")
    assert harness("report", "latest", "-o", "-", cwd=place).stdout.startswith("<!DOCTYPE html>")


MISTAKES = [
    (["report"], 2, "RUN"),
    (["report", "none"], 2, "no run 'none' in logs"),
    (["report", "20"], 2, "2 runs in logs begin with '20'"),
    (["report", "."], 2, "holds no record"),
    (["report", ""], 2, "holds no record"),
    (["report", "x" * 5000], 2, "cannot look for the run"),
    (["report", "caf\udce9"], 2, "no run 'caf\\udce9'"),
    (["report", "latest", "--logs", "nowhere"], 2, "no record of a run in nowhere"),
    (["report", "latest", "--format", "pdf"], 2, "pdf"),
    (["report", "latest", "-o", "no/such/folder.html"], 2, "cannot write no/such/folder.html"),
    (["report", "latest", "-o", "logs"], 2, "it is a folder"),
    (["report", "latest", "--confidence", "100"], 2, "--confidence"),
    (["report", "latest", "--rate", "nan"], 2, "--rate"),
    (["report", "latest", "--fail-on-worse"], 2, "one was given"),
    (["report", "latest", "latest", "--format", "junit"], 2, "cannot be told as junit"),
    (["history", "--logs", "nowhere"], 2, "there are no runs in nowhere/"),
    (["history", "--last", "0"], 2, "--last"),
    (["history", "none"], 4, "no check 'none'"),
    (["history", "--target", "vm9"], 4, "no check on vm9"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), MISTAKES)
def test_mistakes(place: Path, arguments: list[str], code: int, words: str) -> None:
    done = harness(*arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_damaged_run_is_told_and_history_goes_on_without_it(place: Path) -> None:
    broken = create(place / "logs", 1.2e9)
    (broken.path / "results.json").write_text("{")
    done = harness("report", broken.run, cwd=place)
    assert done.returncode == 2
    assert "is no results of harness" in done.stderr
    done = harness("history", cwd=place)
    assert done.returncode == 0
    assert "left out" in done.stderr
    assert "sshd/outside::banner  .F  1 of 2 runs clean" in done.stdout


def test_github_gets_annotations_and_a_summary(place: Path) -> None:
    summary = place / "summary.md"
    there = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(place)}
    done = harness("report", "latest", cwd=place, **there)
    assert done.returncode == 0, done.stderr
    expected = "::error file=checks/sshd/outside.py,line=28,title=sshd/outside%3A%3Abanner on vm1::no banner came"
    assert expected in done.stdout.splitlines()
    assert summary.read_text().startswith("## ❌ Run ")
    done = harness("report", "latest", "--format", "json", cwd=place, **there)
    json.loads(done.stdout)
    assert expected in done.stderr.splitlines()
    done = harness("report", "latest", cwd=place, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY="/no/such/file")
    assert done.returncode == 2
    assert "GITHUB_STEP_SUMMARY" in done.stderr


def test_a_soak_and_a_comparison(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    before = soak(logs, 1.0e9, Planted(iterations=60, flaky=0.0, unfinished=True))
    after = soak(logs, 1.1e9, Planted(iterations=60, flaky=0.0, failing=0.4))
    done = harness("report", before, "--confidence", "90", "--rate", "95", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "passed: 720 trials passed, none was flaky." in done.stdout
    assert "1 trial of unfinished iterations is not counted" in done.stdout
    document = json.loads(harness("report", before, "--format", "json", "--rate", "95", cwd=tmp_path).stdout)
    assert document["checks"][0]["runs_needed"] == 0
    done = harness("report", before, after, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith(f"{after} against {before}: worse.")
    assert f"worse         {planted.FAILING} on vm1: it passes less often" in done.stdout
    assert (logs / after / f"against-{before}.html").exists()
    assert harness("report", before, after, "--fail-on-worse", cwd=tmp_path).returncode == 1
    assert harness("report", after, before, "--fail-on-worse", cwd=tmp_path).returncode == 0
    assert json.loads(harness("report", before, after, "--format", "json", cwd=tmp_path).stdout)["verdict"] == "worse"
    done = harness("history", planted.FAILING, cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"{planted.FAILING} on vm1"
    assert "100 % of 60 (94.0" in lines[1]
    assert "failed" in lines[2]


def test_history_of_all_and_of_one(place: Path) -> None:
    done = harness("history", cwd=place)
    assert done.stdout.splitlines()[-1] == "sshd/outside::banner  .F  1 of 2 runs clean"
    for name in (
        "banner",
        "sshd/outside::banner",
        "sshd/outside.py::banner",
        "outside",
        "checks/sshd/outside.py::banner",
    ):
        lines = harness("history", name, cwd=place).stdout.splitlines()
        assert [line.split()[3] for line in lines[1:]] == ["passed", "failed"]
        assert lines[2].endswith("no banner came")
    assert len(json.loads(harness("history", "--json", cwd=place).stdout)["entries"]) == 2
    assert "1 run," in harness("history", "--last", "1", cwd=place).stdout


def test_a_reader_that_goes_away_is_no_error(place: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m harness report latest -o - | head -n 1"],
        cwd=place, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(place)},
        capture_output=True, text=True, timeout=scaled(60), check=False,
    )  # fmt: skip
    assert done.stdout == "<!DOCTYPE html>\n"
    assert done.stderr == ""


def test_a_real_run_is_told(tmp_path: Path) -> None:
    """What `harness run` leaves is what `harness report` reads; nobody is at home, so nothing could be reached."""
    (tmp_path / "mine.py").write_text("from harness import check\n@check\ndef fine(target):\n    target.read('true')\n")
    (tmp_path / "inv.ini").write_text("vm1 ansible_host=127.0.0.1 ansible_port=1\n")
    assert harness("run", "-i", "inv.ini", "mine.py", "-e", "settle_timeout=1", cwd=tmp_path).returncode == 3
    done = harness("report", "latest", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ": unreachable: 1 of 1 trial could not reach the target." in done.stdout
    page = (tmp_path / "logs" / "latest" / "report.html").read_text()
    assert "harness run -i inv.ini mine.py -e settle_timeout=1" in page


def test_a_real_soak_is_told_with_its_flakes(tmp_path: Path) -> None:
    """What `harness soak` leaves is what `harness report` reads. Every fourth look fails, so some pass only when they
    are carried once more; the checks ask nothing of the target, at which nobody is at home."""
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nfrom harness import check\n@check(budget=0)\ndef flaky(target):\n"
        "    seen = Path('seen'); looks = len(seen.read_text()) + 1 if seen.exists() else 1\n"
        "    seen.write_text('x' * looks)\n    assert looks % 4, 'the planted flake'\n"
        "@check\ndef fine(target):\n    return 'fine'\n"
    )
    (tmp_path / "inv.ini").write_text("vm1 ansible_host=127.0.0.1 ansible_port=1\n")
    done = harness("soak", "-i", "inv.ini", "mine.py", "--no-settle", "--iterations", "7", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(harness("report", "latest", "--format", "json", cwd=tmp_path).stdout)
    rows = {row["check"]: row for row in document["checks"]}
    assert (rows["mine::flaky"]["trials"], rows["mine::flaky"]["outcomes"]["passed"]) == (7, 7)
    assert rows["mine::flaky"]["flaky_rate"]["count"] == 2
    assert rows["mine::fine"]["pass_rate"]["value"] == 1.0
    assert document["verdict"]["word"] == "flaky"
    assert (document["iterations"], document["ended"]) == ({"vm1": 7}, True)
    assert document["total"]["mean_time_between_failures"]["failures"] == 2
    (case,) = ET.fromstring(harness("report", "latest", "--format", "junit", cwd=tmp_path).stdout).findall(
        "testsuite/testcase[@name='flaky']"
    )
    assert len(case.findall("flakyFailure")) == 2
    assert "the planted flake" in (case.findtext("flakyFailure/stackTrace") or "")
    assert "mine::flaky  ~" in harness("history", cwd=tmp_path).stdout
