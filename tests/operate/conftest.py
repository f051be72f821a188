"""Boards with a real shell on their console, and people at terminals."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.testing.pty_guest import PtyGuest
from tests.operate.person import Person

PROMPT = "root@board:~# "


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PtyGuest]:
    """A board whose console stands in `inv.ini` as `board`."""
    bash = shutil.which("bash")
    assert bash
    with PtyGuest([bash, "--norc", "-i"], tmp_path / "console", env={"PS1": PROMPT}) as guest:
        (tmp_path / "inv.ini").write_text(f"board serial_socket={guest.path}\n")
        yield guest


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    """Lets a person type `harness …` at a terminal of their own."""
    people: list[Person] = []

    def sits_down(*arguments: str, **options: dict[str, str]) -> Person:
        people.append(Person(tmp_path, *arguments, **options))
        return people[-1]

    yield sits_down
    for each in people:
        each.close()
