"""Attacks that cost memory or time, in processes of bounded memory; the table of them is in docs/security.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import scaled
from tests.security.attacks import ATTACKS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What became of each attack; one process bears them all, one after the other."""
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.attacks", *ATTACKS],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=scaled(240), check=False,
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found, done.stderr
    return {each["name"]: each for each in found}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_withstood_within_memory_and_time(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    assert name in outcomes, "the process did not survive the one before"
    assert not outcomes[name]["problem"], outcomes[name]["problem"]
    assert outcomes[name]["seconds"] < outcomes[name]["allowed"]


def test_the_documentation_lists_every_attack() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE))
    assert set(ATTACKS) <= listed
