"""`harness init`: what it writes is used as it stands, and nothing is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.init import FILES
from harness.cli.main import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_it_writes_is_used_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    commands = [line.split()[1:] for line in said.splitlines() if line.startswith("  harness ")]
    assert len(commands) == 3
    assert main(commands[0]) == 0
    assert capsys.readouterr() == ("1 target: no problem found\n", "")
    assert main(commands[1]) == 0
    assert "checks/first.py::kernel_runs" in capsys.readouterr().out
    assert commands[2] == commands[1][:-1]  # the same, without --list: a guest's test does it


def test_another_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["init", "new/my lab"]) == 0
    assert "  cd 'new/my lab'\n" in capsys.readouterr().out
    assert sorted(str(path.relative_to("new/my lab")) for path in Path("new").rglob("*.*")) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_written_over(capsys: pytest.CaptureFixture[str], name: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("mine")
    assert main(["init"]) == 2
    assert f"{name} is there already; nothing was written" in capsys.readouterr().err
    assert [path for path in Path().rglob("*") if path.is_file()] == [Path(name)]
    assert Path(name).read_text() == "mine"
    assert main(["init", "--force"]) == 0
    assert Path(name).read_text() != "mine"


def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("inventories").write_text("a file")
    assert main(["init"]) == 2
    assert "cannot write inventories/hosts.ini" in capsys.readouterr().err


def test_the_settings_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    """As they stand, and with the comment signs before each setting taken away."""
    from harness.cli.config import load

    assert main(["init"]) == 0
    assert load({}).ship_to == ()
    text = Path("harness.toml").read_text()
    Path("harness.toml").write_text(text.replace("# to =", "to ="))
    assert load({}).ship_to == ("otlp+http://logs.example.com:4318",)
