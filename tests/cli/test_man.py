"""The manual's pages: made of what `--help` shows, clean for `man`, and installed with the package."""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest

from harness.cli.main import VERBS, build_parser
from harness.manual.page import Definitions, Lines, Page, Paragraph, Section, page_of
from harness.manual.roff import man_pages
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
PAGES = man_pages(page_of(build_parser()), "9.9", date(2026, 11, 23))


def man(source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(source)],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "120", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )


def flags_of(page: Page) -> list[str]:
    own = [flag for group in page.groups for argument in group.arguments for flag in argument.flags]
    return own + [flag for below in page.below for flag in flags_of(below)]


@pytest.mark.parametrize("name", PAGES)
def test_man_shows_it_without_a_warning(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(PAGES[name], encoding="utf-8")
    done = man(tmp_path / name)
    assert done.returncode == 0
    assert done.stderr == ""
    words = " ".join(done.stdout.split())
    page = next(each for each in (PAGE, *PAGE.below) if f"{each.name}.1" == name)
    assert f"NAME {page.name} - {page.summary}" in words
    for flag in flags_of(page) if page is not PAGE else []:
        assert flag in words, flag


PAGE = page_of(build_parser())


def test_there_is_a_page_for_each_verb() -> None:
    assert list(PAGES) == ["harness.1", *(f"harness-{verb}.1" for verb in VERBS)]


def test_what_roff_would_take_for_its_own_is_shown(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser(
        prog="odd",
        description=".begins with a dot, and holds \\fB a backslash, `this` and 'that' and --flag.\n\n  .lines\n  'too",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--x", help="'quoted' first; 5 %% of %(default)s", default=7)
    source = tmp_path / "odd.1"
    source.write_text(man_pages(page_of(parser), "1", date(2026, 1, 1))["odd.1"])
    done = man(source)
    assert done.stderr == ""
    words = " ".join(done.stdout.split())
    assert ".begins with a dot, and holds \\fB a backslash, `this` and 'that' and --flag." in words
    assert ".lines 'too" in words
    assert "'quoted' first; 5 % of 7" in words


def test_sections_are_found_in_the_text() -> None:
    parser = argparse.ArgumentParser(
        prog="x",
        description="First line\nof it.\n\n  x --a\n\n  x --b",
        epilog="codes:\n  0    well\n  10   not so\n\nA word more.\nexamples:\n  x  # comment",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    page = page_of(parser)
    assert page.description == (Paragraph("First line of it."), Lines(("x --a",)), Lines(("x --b",)))
    assert page.sections == (
        Section("codes", (Definitions((("0", "well"), ("10", "not so"))),)),
        Section("Notes", (Paragraph("A word more."),)),
        Section("examples", (Definitions((("x", "# comment"),)),)),
    )


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd), "SOURCE_DATE_EPOCH": "86400"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )


def test_the_command(tmp_path: Path) -> None:
    done = harness("man", "-o", "pages", cwd=tmp_path)
    assert done.stdout.splitlines() == [f"pages/{name}" for name in PAGES]
    source = (tmp_path / "pages" / "harness-soak.1").read_text()
    assert harness("man", "soak", "--roff", cwd=tmp_path).stdout == source
    assert '"1970-01-02"' in source
    assert "HARNESS-SOAK(1)" in harness("man", "soak", cwd=tmp_path).stdout
    assert "HARNESS(1)" in harness("man", cwd=tmp_path).stdout
    (tmp_path / "file").touch()
    done = harness("man", "-o", "file", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot write the pages to file" in done.stderr


def test_man_finds_them_beside_the_program(tmp_path: Path) -> None:
    """As `scripts/setup` and a wheel lay them down."""
    (tmp_path / "bin").mkdir()
    assert harness("man", "-o", "share/man/man1", cwd=tmp_path).returncode == 0
    done = subprocess.run(
        ["man", "-w", "harness", "harness-soak"],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert done.stdout.split() == [f"{tmp_path}/share/man/man1/{name}.1" for name in ("harness", "harness-soak")]


def test_they_are_made_by_python_alone() -> None:
    """While the package is built none of the libraries is there that it needs when it runs."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from harness.cli.man import made; print(*made())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=scaled(60), check=False
    )
    assert done.stdout.split() == list(PAGES), done.stderr


def test_the_wheel_brings_them(tmp_path: Path) -> None:
    """In a wheel, what stands in data/share/man/man1 comes to where `man` looks beside the folder of the program."""
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "harness"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", "out", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=scaled(200),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    found = {Path(name).name for name in names if ".data/data/share/man/man1/" in name}
    assert found == set(PAGES)
    assert "harness/cli/begin/checks/first.py" in names
