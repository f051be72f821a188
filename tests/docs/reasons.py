"""The reasons why a command of the documentation may stay unrun, each with what shows that it holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.docs.reading import Block

ROOT = Path(__file__).parents[2]
_HOURS = re.compile(r"--for[= ]\d+h|--iterations[= ]\d{3,}|--until-fail|--max-failures|--reset[= ]")
_INSTALLS = re.compile(r"(sudo )?(pip3? install|apt(-get)? install|scripts/|git clone|cd )")


def _board(text: str) -> bool:
    """A real machine on the network or a serial line."""
    return "board" in text or "/dev/tty" in text or "192.0.2." in text


def _hours(text: str) -> bool:
    """It goes on for hours."""
    return _HOURS.search(text) is not None


def _installs(text: str) -> bool:
    """It changes the computer that it runs on."""
    return all(_INSTALLS.match(line.strip()) for line in text.splitlines())


def _elsewhere(text: str) -> bool:
    """A host that is not there."""
    return "example.com" in text


REASONS: dict[str, Callable[[str], bool]] = {
    "needs a board": _board,
    "needs hours": _hours,
    "installs": _installs,
    "needs a host that is not there": _elsewhere,
}


def problem(block: Block) -> str:
    """Why the reason does not hold; empty where it does. `shown by PATH` is a test that does the same by itself: the
    file must be there, and name the verb or program."""
    reason, _, path = block.not_run.partition("shown by ")
    if path and not reason:
        return _not_shown(block, ROOT / path)
    if block.not_run not in REASONS:
        known = ", ".join([*REASONS, "shown by tests/PATH"])
        return f"`not run: {block.not_run}` is no reason; the reasons are: {known}"
    for command in block.commands:
        if not REASONS[block.not_run](command.text):
            return f"{command.text!r} {block.not_run}? Nothing in it says so (tests/docs/reasons.py)"
    return ""


def _not_shown(block: Block, test: Path) -> str:
    if not test.is_file() or not test.is_relative_to(ROOT / "tests"):
        return f"there is no test {test.relative_to(ROOT)}"
    text = test.read_text(encoding="utf-8")
    for command in block.commands:
        verb = re.search(r"\bharness ([a-z]+)", command.text)
        word = verb[1] if verb else Path(command.text.split()[0]).name
        if not re.search(rf"\b{re.escape(word)}\b", text):
            return f"{test.relative_to(ROOT)} does not speak of {word!r}"
    return ""
