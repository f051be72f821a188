"""Whoever types an installation command of this project gets this project: its name on PyPI is another one's."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
from pathlib import Path

import pytest

from harness import distribution
from harness.machine.doctor import examine

ROOT = Path(__file__).parents[1]
_INSTALL = re.compile(r"pip(?:x)? install +(?:-\S+ +)*['\"]?([\w.-]+)(?:\[(\w+)\])?")


def _settings() -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.read(ROOT / "setup.cfg")
    return found


def _commands() -> list[tuple[str, str | None]]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "harness").rglob("*.py"))]
    return [(match[1], match[2]) for page in pages for match in _INSTALL.finditer(page.read_text())]


def test_the_name_is_the_one_that_is_installed() -> None:
    assert _settings()["metadata"]["name"] == distribution.NAME
    assert importlib.metadata.distribution(distribution.NAME).requires


def test_every_installation_command_names_it_and_an_extra_that_exists() -> None:
    extras = set(_settings()["options.extras_require"])
    found = _commands()
    assert {name for name, _ in found if name not in (".", "")} == {distribution.NAME}
    assert {extra for _, extra in found if extra} <= extras


@pytest.mark.parametrize("extra", ["metrics", "pytest"])
def test_the_hint_for_an_extra(extra: str) -> None:
    assert distribution.install_command(extra) == f"pip install 'agentless-harness[{extra}]'"


def test_doctor_finds_its_requirements() -> None:
    subjects = {finding.what for finding in examine()}
    assert "python: paramiko" in subjects
    assert distribution.NAME not in subjects
