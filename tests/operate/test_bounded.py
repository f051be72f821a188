"""A bounded command in the shells that targets have: its own streams and exit status, and no more than it may."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.operate.collect.bounded import TIMERS, Keep, Timer, bounded, kept
from tests.patience import scaled

SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]


def run(shell: list[str], command: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    given: dict[str, object] = {"seconds": 20, "limit": 1000, "keep": Keep.BEGINNING, "timer": Timer.KILLS, **how}
    script = bounded(command, **given)  # type: ignore[arg-type]
    return subprocess.run(
        [*shell, "-c", script], capture_output=True, stdin=subprocess.DEVNULL, timeout=scaled(60), check=False
    )


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("timer", list(Timer))
def test_a_command_keeps_its_streams_and_its_exit_status(shell: list[str], timer: Timer) -> None:
    done = run(shell, "echo out 'it''s'; echo err >&2; printf '\\377\\000'; exit 7", timer=timer)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out its\n\xff\x00", b"err\n")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_here_document_and_a_trailing_comment_stay_whole(shell: list[str]) -> None:
    done = run(shell, "cat <<'END'\n$x `y`\nEND\ntrue # and no more")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"$x `y`\n", b"")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_what_is_too_long_is_cut_on_the_target_at_either_end(shell: list[str]) -> None:
    numbers = b"".join(b"%d\n" % number for number in range(1, 100_001))
    first = run(shell, "seq 1 100000", limit=100)
    assert first.stdout == numbers[:101]
    last = run(shell, "seq 1 100000; exit 3", limit=100, keep=Keep.END)
    assert (last.stdout, last.returncode) == (numbers[-101:], 3)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_what_writes_for_ever_ends_when_there_is_enough(shell: list[str]) -> None:
    done = run(shell, "while echo again and again; do :; done", limit=5000)
    assert done.stdout == (b"again and again\n" * 400)[:5001]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_both_streams_are_bounded_apart(shell: list[str]) -> None:
    done = run(shell, "seq 1 50000 >&2; seq 1 50000", limit=64)
    assert (len(done.stdout), len(done.stderr)) == (65, 65)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_what_a_command_said_before_its_time_was_over_is_there(shell: list[str]) -> None:
    done = run(shell, "echo before; exec sleep 600", seconds=1, keep=Keep.END)
    assert done.stdout == b"before\n"
    assert done.returncode in (124, 143)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_timer_of_this_machine_is_found(shell: list[str]) -> None:
    done = subprocess.run([*shell, "-c", TIMERS], capture_output=True, text=True, timeout=scaled(60), check=True)
    assert done.stdout == "timer:kills\n"


@given(st.binary(max_size=300) | st.text("ab\n", max_size=300).map(str.encode), st.integers(1, 200))
def test_a_cut_is_marked_stands_between_lines_and_nothing_else_is_changed(data: bytes, limit: int) -> None:
    first, last = kept(data, limit), kept(data, limit, Keep.END)
    assert first.cut == last.cut == (len(data) > limit)
    if not first.cut:
        assert first.data == last.data == data
        return
    rest, mark = first.data[: first.data.rindex(b"[harness: ")], first.data[first.data.rindex(b"[harness: ") :]
    assert mark == b"[harness: cut here after %d bytes; there was more]\n" % len(rest)
    assert rest == b"\n" or (data.startswith(rest) and rest.endswith(b"\n"))
    mark, _, rest = last.data.partition(b"\n")
    assert mark == b"[harness: cut here; these are the last %d bytes]" % len(rest)
    assert data.endswith(rest)
    assert not rest or data[: len(data) - len(rest)].endswith(b"\n")


def test_half_a_secret_at_the_cut_is_not_kept() -> None:
    data = b"a line\n" * 10 + b"the password is opensesame\n"
    for limit in range(len(data) - 12, len(data)):
        assert b"open" not in kept(data, limit).data
    data = b"opensesame it is\n" + b"a line\n" * 10
    for limit in range(len(data) - 12, len(data)):
        assert b"sesame" not in kept(data, limit, Keep.END).data
    assert b"open" not in kept(b"x" * 1000 + b"opensesame", 1004).data
