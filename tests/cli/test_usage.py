"""What a person may mistype, and what they are told; nothing is started, no traceback is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
GOOD = """from harness import check

@check
def fine(target):
    'Says yes.'

@check(tags=['net'])
def other(target):
    pass
"""


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=scaled(60),
        check=False,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "inv.ini").write_text(
        "vm1 ansible_host=127.0.0.1 ansible_port=1\nvm2 ansible_host=127.0.0.1 ansible_port=1\n"
    )
    return tmp_path


CASES = [
    (["run", "-i", "inv.ini", "none.py"], 2, "no such file or folder of checks: none.py"),
    (["run", "-i", "none.ini", "mine.py"], 2, "none.ini"),
    (["run", "-i", "inv.ini", "mine.py", "--limit", "vm9"], 2, "vm9"),
    (["run", "-i", "inv.ini", "mine.py", "-k", "zzz"], 4, "none of 2 checks"),
    (["run", "-i", "inv.ini", "mine.py", "-k", "a or"], 2, "-k"),
    (["run", "-i", "inv.ini", "mine.py", "-t", "zzz"], 4, "none of 2 checks"),
    (["run", "-i", "inv.ini", "mine.py::nothing"], 2, "no check named 'nothing'"),
    (["run", "-i", "inv.ini", "mine.py", "--forks", "0"], 2, "--forks"),
    (["run", "-i", "inv.ini", "mine.py", "--budget", "soon"], 2, "--budget"),
    (["run", "-i", "inv.ini"], 2, "CHECKS"),
    (["run", "-i", "inv.ini", "mine.py", "-e", "qemu_image=none-such"], 2, "none-such"),
    (["run", "-i", "inv.ini", "mine.py", "-e", "check_budget=soon"], 2, "check_budget"),
    (["run", "mine.py"], 2, "no inventory was given"),
    (["run", "-i", "inv.ini", "mine.py", "--timeout-scale", "0"], 2, "--timeout-scale"),
    (["walk"], 2, "walk"),
    ([], 2, "VERB"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), CASES)
def test_mistakes(place: Path, arguments: list[str], code: int, words: str) -> None:
    done = harness(*arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (place / "logs").exists()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("from harness import check\n@check\ndef c(): pass\n", 3, "one parameter"),
        ("import none_such\n", 1, "none_such"),
        ("def x(:\n", 1, "invalid syntax"),
    ],
)
def test_a_bad_check_module_is_told_with_its_place(place: Path, text: str, line: int, words: str) -> None:
    (place / "bad.py").write_text(text)
    done = harness("run", "-i", "inv.ini", "bad.py", cwd=place)
    assert done.returncode == 2
    assert f"bad.py:{line}" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_list_starts_nothing(place: Path) -> None:
    done = harness("run", "-i", "inv.ini", "mine.py", "--list", "--limit", "vm1", cwd=place)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "vm1"
    assert "mine.py::fine" in done.stdout
    assert "[net]" in done.stdout
    assert "vm2" not in done.stdout
    assert not (place / "logs").exists()


def test_nobody_at_home_is_unreachable(place: Path) -> None:
    done = harness("run", "-i", "inv.ini", "mine.py", "-e", "settle_timeout=1", cwd=place)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "UNREACHABLE vm1" in done.stdout
    assert "refused" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_json_is_all_that_stands_on_stdout(place: Path) -> None:
    import json

    done = harness("run", "-i", "inv.ini", "mine.py", "-e", "settle_timeout=1", "--json", "-v", cwd=place)
    assert json.loads(done.stdout)["counts"]["unreachable"] == 4
    assert "UNREACHABLE" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_is_there_and_names_the_exit_codes(place: Path, arguments: list[str]) -> None:
    done = harness(*arguments, cwd=place)
    assert done.returncode == 0
    if "--help" in arguments:
        assert "130  interrupted" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    """What `--help` costs is what it imports; the time itself is measured in benchmarks/."""
    script = (
        "import sys; from harness.cli.main import build_parser; build_parser(); "
        "heavy = {'paramiko', 'rich', 'jinja2', 'yaml', 'structlog', 'tenacity', 'serial', 'asyncio'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=scaled(60)
    )
    assert done.stdout.strip() == "[]"


def test_a_reader_that_goes_away_is_no_error(place: Path) -> None:
    command = f"{sys.executable} -m harness run -i inv.ini mine.py --list | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_a_run_whose_reader_goes_away_keeps_its_verdict(place: Path) -> None:
    command = f"{sys.executable} -m harness run -i inv.ini mine.py --no-settle | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (place / "logs" / "latest" / "results.json").exists()


def test_a_full_disk_ends_the_run_with_its_reason(place: Path) -> None:
    done = harness("run", "-i", "inv.ini", "mine.py", "--no-settle", "--logs", "/dev/full/logs", cwd=place)
    assert done.returncode == 2
    assert "--logs" in done.stderr


def test_texts_that_are_no_unicode_are_shown(place: Path) -> None:
    (place / "surrogate.py").write_text(
        "from harness import check\n@check\ndef c(target):\n    return b'caf\\xe9'.decode(errors='surrogateescape')\n"
        "@check\ndef d(target):\n    raise AssertionError('\\udce9')\n"
    )
    done = harness(
        "run", "-i", "inv.ini", "surrogate.py", "--no-settle", "--limit", "vm1", "--budget", "0", "-v", cwd=place
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "caf\\udce9" in done.stdout
    assert (place / "logs" / "latest" / "junit.xml").exists()


def test_inventory_check_tells_what_keeps_a_host_from_being_a_target(place: Path) -> None:
    (place / "inv.ini").write_text("a qemu_kernel=none/vmlinuz\nb ansible_host=x harness_transports=serial\nc\n")
    done = harness("inventory", "-i", "inv.ini", "check", cwd=place)
    assert done.returncode == 2
    assert "none/vmlinuz" in done.stderr
    assert "'b' cannot be reached" in done.stderr
    assert "3 targets: 2 problems" in done.stderr
    assert harness("inventory", "-i", "inv.ini", "check", "--limit", "c", cwd=place).returncode == 0
