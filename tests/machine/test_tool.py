"""What a program that failed has printed, in a message whose first line is read alone."""

from __future__ import annotations

import sys

import pytest

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.machine.tool import run_tool, with_error_first
from tests.patience import scaled

MODEL = "qemu-system-x86_64: -device nosuchdevice: 'nosuchdevice' is not a valid device model name"


@pytest.mark.parametrize(
    ("output", "first"),
    [
        (MODEL, MODEL),
        (f"qemu: warning: host doesn't support requested feature\n{MODEL}", MODEL),
        (f"{MODEL}\nqemu: note: `-device help` lists them", MODEL),
        ("qemu: could not load kernel 'x': No such file or directory\ntried: x, y", "qemu: could not load kernel 'x'"),
        ("I: Retrieving\nE: Couldn't download packages\nI: cleaning up", "E: Couldn't download packages"),
        ("one\ntwo", "two"),
        ("warning: only that", "warning: only that"),
        ("", "it printed nothing"),
        (" \n\n", "it printed nothing"),
    ],
)
def test_the_error_stands_in_the_first_line_and_nothing_is_lost(output: str, first: str) -> None:
    said = with_error_first(output)
    assert said.partition("\n")[0].startswith(first)
    for line in output.split():
        assert line in said


def test_a_tool_that_fails_says_why_in_the_first_line() -> None:
    program = "import sys; print('warning: old'); print('mkfs: cannot open /x: denied'); print('usage: …'); sys.exit(3)"
    with pytest.raises(MachineError) as caught:
        run_tool([sys.executable, "-c", program], deadline=Deadline.after(scaled(60)), doing="making x")
    first, *rest = caught.value.message.split("\n")
    assert first.startswith("making x failed (exit status 3) after ")
    assert first.endswith("mkfs: cannot open /x: denied")
    assert "usage: …" in "\n".join(rest)
