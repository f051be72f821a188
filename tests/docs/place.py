"""The folder in which a reader would type what the documentation says, and what comes of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.docs.reading import Block, Command, File
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
EXAMPLE = "20261123T033958Z-4d9857"
"""The run that the pages speak of."""
_TIMEOUT = 150.0
_LENT = ("inventories", "checks", "docs", "README.md")


class Place:
    """A copy of what a checkout shows to its user, with `harness` on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _LENT:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        programs = folder / ".bin"
        programs.mkdir()
        for program, module in (("harness", "harness"), ("pytest", "pytest")):
            (programs / program).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
            (programs / program).chmod(0o755)
        (programs / "python").symlink_to(sys.executable)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "HARNESS_"))},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }

    def keep_a_run(self) -> None:
        """Lays the folder of the first run down under the name that the pages give as an example of one."""
        logs = self.folder / "logs"
        if not (logs / EXAMPLE).exists():
            shutil.copytree((logs / "latest").resolve(), logs / EXAMPLE)

    def write(self, files: Sequence[File]) -> None:
        """Lays down the files that a page shows."""
        for file in files:
            path = self.folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8")

    def carry_out(self, block: Block) -> list[str]:
        """Types the block's commands; returns what is wrong, a text for each."""
        return [wrong for command in block.commands if (wrong := self._type(block, command))]

    def _type(self, block: Block, command: Command) -> str:
        place = f"{block.page}:{command.line}: {command.text}"
        try:
            done = subprocess.run(
                ["bash", "-c", command.text],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=(timeout := scaled(_TIMEOUT)),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return f"{place}\nwent on for {timeout:.0f} s; it printed:\n{error.output!r}"
        if done.returncode != block.exit_status:
            return (
                f"{place}\nexit status {done.returncode}, and the page expects {block.exit_status} "
                f"(`<!-- run: exit N -->` before the block says otherwise); it printed:\n{done.stdout}"
            )
        if command.prints and not block.varies and not matches(command.prints, done.stdout):
            return (
                f"{place}\nprinted something else than the page shows (`…` stands for anything, a line of its own for "
                f"any lines; `<!-- run: output varies -->` compares nothing):\n{done.stdout}"
            )
        return ""


def matches(expected: Sequence[str], printed: str) -> bool:
    """Whether the lines are what was printed: `…` stands for any text in its line, and alone for any lines. Spaces at
    the ends of lines and empty lines at the end do not count; a run of spaces is one (a page aligns as it likes)."""
    pattern = ""
    for line in _lines("\n".join(expected)):
        pattern += r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.rstrip().splitlines()]
