"""The site is made without a warning, and its reference has all that the code has."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.main import VERBS, build_parser
from harness.events.kinds import KINDS
from harness.inventory.variables import VARIABLES
from harness.manual.markdown import markdown_of
from harness.manual.page import Page, page_of
from tests.patience import scaled

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made as `scripts/docs` makes it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-d", str(folder / "doctrees"),
         str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=scaled(280),
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "html"


def text_of(page: Path) -> str:
    """What a reader sees, about."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def pages(page: Page) -> list[Page]:
    return [page, *(each for below in page.below for each in pages(below))]


def test_its_reference_has_all_that_the_code_has(site: Path) -> None:
    commands = " ".join(text_of(site / "cli.html").split())
    for page in pages(page_of(build_parser()))[1:]:
        assert page.usage in commands, page.command
        for group in page.groups:
            for argument in group.arguments:
                assert argument.meaning.replace("`", "") in commands
    variables = text_of(site / "variables.html")
    assert [variable.name for variable in VARIABLES if variable.name not in variables] == []
    assert [kind for kind in KINDS if not (site / "events" / f"{kind}.html").exists()] == []
    python = text_of(site / "api.html")
    for name in ("NotYet", "Never", "Skip", "unit_up", "CommandResult", "TransportLost", "RecordReader"):
        assert name in python


def test_every_page_leads_to_every_other(site: Path) -> None:
    """No page of docs/ is left out of the site's navigation."""
    start = (site / "index.html").read_text(encoding="utf-8")
    names = sorted(path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "index")
    left_out = [name for name in names if f'"{name}.html"' not in start]
    assert not left_out, f"{left_out} stand in no toctree of docs/index.md"


def test_scripts_docs_does_the_same() -> None:
    script = (ROOT / "scripts" / "docs").read_text(encoding="utf-8")
    assert "-m sphinx -b html -W --keep-going -q" in script


def test_what_markdown_would_take_for_its_own_is_escaped() -> None:
    (page,) = (each for each in page_of(build_parser()).below if each.command == "harness logs")
    lines = list(markdown_of(page))
    assert lines[0] == "## harness logs"
    assert r": of these kinds, e.g. command or 'link.\*' (docs/events); comma-separated, may be repeated" in lines
    assert set(VERBS) >= {"logs"}
