"""A whole pytest session against a hostile target: what it says is shown in failures, and drives nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.patience import scaled
from tests.security import hostile_sshd as sshd
from tests.security.test_printed import EVIL, _says, _ssh
from tests.security.test_trust import _drives_no_terminal, _obeyed

_NAME = "two" + re.sub("[][:]", "", EVIL)  # these have a meaning in names of hosts
_SUITE = """
import logging
import sys
import warnings

import pytest


def test_compares(target):
    assert target.run("cat /etc/motd").out == "hello"


def test_prints(target):
    found = target.run("cat /etc/motd")
    print("printed", found.out)
    print("printed", found.err, file=sys.stderr)
    logging.getLogger().warning("logged %s", found.out)
    assert found.ok


def test_raises(target):
    raise ValueError(target.run("cat /etc/motd").out)


def test_fails(target):
    pytest.fail(target.run("cat /etc/motd").out)


def test_skips(target):
    pytest.skip(target.run("cat /etc/motd").out)


def test_is_expected_to_fail(target):
    pytest.xfail(target.run("cat /etc/motd").out)


@pytest.mark.harness(budget=1, interval=0.2)
def test_is_carried_as_a_check(target):
    assert target.run("cat /etc/motd").out == "hello"


def test_warns(target):
    warnings.warn("warned " + target.run("cat /etc/motd").out)


def test_reads(target):
    target.read("cat /etc/motd")


@pytest.fixture
def broken(target):
    yield
    raise RuntimeError(target.run("cat /etc/motd").out)


def test_tears_down(target, broken):
    pass
"""


def _session(folder: Path, hosts: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code and the output of pytest, where a CI system reads it."""
    (folder / "test_it.py").write_text(_SUITE)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n")
    (folder / "i.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    environment = {**os.environ, "GITHUB_ACTIONS": "true", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-v", "--harness-inventory", "i.json", "--color=no"],
        cwd=folder, env=environment, capture_output=True, timeout=scaled(120), check=False,
    )  # fmt: skip
    text = done.stdout.decode() + done.stderr.decode()
    assert "set-output" in text, text
    assert _drives_no_terminal(text), [line for line in text.split("\n") if not _drives_no_terminal(line)]
    assert not _obeyed(text), [line for line in text.split("\n") if _obeyed(line)]
    assert "internal error" not in text.lower(), text
    return done.returncode, text


def test_a_session_under_a_hostile_target_drives_nothing(tmp_path: Path) -> None:
    with sshd.HostileSshd(attack=_says(EVIL.encode(), EVIL.encode())) as server:
        code, text = _session(tmp_path, {name: _ssh(server, settle=False) for name in ("one", _NAME)})
    assert code == 1, text
    assert "12 failed, 4 passed, 2 skipped, 2 xfailed, 2 warnings, 2 errors" in text, text
    for words in ("printed", "logged", "warned", "ValueError", "add-mask"):
        assert words in text


def test_an_inventory_that_cannot_be_used_drives_nothing(tmp_path: Path) -> None:
    code, text = _session(tmp_path, {f"two{EVIL}": {}})
    assert code == 4, text
    assert "is no range" in text
