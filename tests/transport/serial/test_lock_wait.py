"""A console that somebody else uses: said who it is, waited for where that is wanted, and for no longer."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.cli.options import with_numbers
from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled
from harness.events import NullEmitter
from harness.testing.pty_guest import PtyGuest
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial.console import Console, LockWait
from harness.transport.serial.ownership import Ownership
from tests.patience import scaled


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PtyGuest:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return PtyGuest(["cat"], tmp_path / "console")


def test_it_is_opened_as_soon_as_it_is_free_and_the_holder_is_named(guest: PtyGuest) -> None:
    said: list[str] = []
    with guest:
        held = Ownership(f"unix://{guest.path}", name="board", owner="run-1")

        def tell(words: str) -> None:
            said.append(words)
            threading.Timer(0.05, held.release).start()

        console = Console(str(guest.path), name="board", events=NullEmitter(), lock_wait=LockWait(float("inf"), tell))
        console.open(Deadline.never())
        assert console.is_open
        console.close()
    assert len(said) == 1
    assert "run run-1" in said[0]
    assert "waiting for it" in said[0]


@pytest.mark.parametrize("wait", [None, 0.0, 0.05])
def test_it_is_given_up_when_the_time_is_over(guest: PtyGuest, wait: float | None) -> None:
    with guest:
        held = Ownership(f"unix://{guest.path}", name="board", owner="run-1")
        lock_wait = None if wait is None else LockWait(wait, lambda _words: None)
        console = Console(str(guest.path), name="board", events=NullEmitter(), lock_wait=lock_wait)
        with pytest.raises(Unavailable, match="in use by process") as caught:
            console.open(Deadline.after(scaled(60.0)))
        assert caught.value.cause is Cause.BUSY
        assert "--wait-lock" in caught.value.hint
        held.release()


def test_an_interrupt_ends_the_waiting(guest: PtyGuest) -> None:
    cancellation = Cancellation()
    with guest:
        held = Ownership(f"unix://{guest.path}", name="board")
        lock_wait = LockWait(float("inf"), lambda _words: cancellation.cancel("interrupted by SIGINT"))
        console = Console(str(guest.path), name="board", events=NullEmitter(), lock_wait=lock_wait)
        with pytest.raises(Cancelled):
            console.open(Deadline.never(cancellation=cancellation))
        held.release()


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["exec", "--wait-lock", "board", "--", "true"], ["exec", "--wait-lock=inf", "board", "--", "true"]),
        (["exec", "--wait-lock", "30", "board", "--", "true"], ["exec", "--wait-lock", "30", "board", "--", "true"]),
        (["exec", "board", "--wait-lock"], ["exec", "board", "--wait-lock=inf"]),
        (["exec", "--wait-lock", "-i", "inv"], ["exec", "--wait-lock=inf", "-i", "inv"]),
        (["exec", "board", "--", "x", "--wait-lock", "y"], ["exec", "board", "--", "x", "--wait-lock", "y"]),
        (["exec", "--wait-lock=2.5", "b"], ["exec", "--wait-lock=2.5", "b"]),
    ],
)
def test_the_number_may_be_left_out_before_a_host(typed: list[str], read: list[str]) -> None:
    assert with_numbers(typed) == read
