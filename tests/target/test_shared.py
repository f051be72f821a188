"""One question for all who ask at the same time: answered whole, never with what is older than the question."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.api.check import Never
from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.events.emitter import NullEmitter
from harness.target.shared import SharedQuestions
from harness.target.target import Target
from harness.transport.contract import CommandResult
from harness.transport.errors import Timeout
from tests.patience import patient, scaled


def answer(names: tuple[str, ...]) -> CommandResult:
    return CommandResult("q", " ".join(names).encode(), b"", 0, "ssh", 0.0, 0.0, 0.0)


class Asked:
    """A target that answers when it is let."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, ...]] = []
        self.come = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def __call__(self, names: tuple[str, ...]) -> CommandResult:
        self.questions.append(names)
        self.come.release()
        assert self.let.acquire(timeout=20)
        return answer(names)


def gathered(shared: SharedQuestions) -> int:
    batch = shared._gathering.get("units")
    return len(batch.names) if batch else 0


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


def test_alone_nobody_waits_for_company() -> None:
    result, names = SharedQuestions().ask("units", ["a", "b", "a"], answer, deadline=soon())
    assert (result.out, names) == ("a b", ("a", "b"))


def test_those_who_come_meanwhile_share_the_next_question() -> None:
    shared, asked = SharedQuestions(), Asked()
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(shared.ask, "units", ["a"], asked, deadline=soon())
        assert asked.come.acquire(timeout=20)
        others = [pool.submit(shared.ask, "units", [f"u{i}", "a"], asked, deadline=soon()) for i in range(10)]
        while gathered(shared) < 11:
            pass
        asked.let.release()
        assert asked.come.acquire(timeout=20)
        asked.let.release()
        assert first.result(20)[1] == ("a",)
        for i, other in enumerate(others):
            result, names = other.result(20)
            assert {f"u{i}", "a"} <= set(names)
            assert result.out == " ".join(names)
    assert len(asked.questions) == 2  # and nobody's second answer is the first one's


def test_kinds_are_asked_apart() -> None:
    shared, asked = SharedQuestions(), Asked()
    with ThreadPoolExecutor(4) as pool:
        one = pool.submit(shared.ask, "units", ["a"], asked, deadline=soon())
        assert asked.come.acquire(timeout=20)
        other = pool.submit(shared.ask, "jobs", ["b"], asked, deadline=soon())
        assert asked.come.acquire(timeout=20)
        asked.let.release(2)
        assert (one.result(20)[1], other.result(20)[1]) == (("a",), ("b",))


def test_whoever_shared_a_failed_question_asks_again() -> None:
    shared, asked = SharedQuestions(), Asked()
    failing = threading.Event()

    def fails_once(names: tuple[str, ...]) -> CommandResult:
        result = asked(names)
        if len(names) > 1 and not failing.is_set():
            failing.set()
            raise Timeout("too late", transport="ssh")
        return result

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(shared.ask, "units", ["a"], fails_once, deadline=soon())
        assert asked.come.acquire(timeout=20)
        others = [pool.submit(shared.ask, "units", [name], fails_once, deadline=soon()) for name in ("b", "c")]
        while gathered(shared) < 2:
            pass
        asked.let.release(3)
        first.result(20)
        outcomes = [type(other.exception(20)).__name__ for other in others]
    assert sorted(outcomes) == ["NoneType", "Timeout"]
    assert not shared._gathering


@pytest.mark.parametrize("how", ["deadline", "cancellation"])
def test_no_wait_is_longer_than_its_own_deadline(how: str) -> None:
    shared, asked = SharedQuestions(), Asked()
    stop = Cancellation()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(shared.ask, "units", ["a"], asked, deadline=soon())
        assert asked.come.acquire(timeout=20)
        if how == "deadline":
            second = pool.submit(shared.ask, "units", ["b"], asked, deadline=soon(0.1))
            assert isinstance(second.exception(20), DeadlineExpired)
        else:
            second = pool.submit(
                shared.ask, "units", ["b"], asked, deadline=Deadline.after(scaled(20), cancellation=stop)
            )
            threading.Timer(0.05, stop.cancel, args=("enough",)).start()
            assert isinstance(second.exception(20), Cancelled)
        asked.let.release()
        first.result(20)
    assert shared.ask("units", ["c"], answer, deadline=soon())[1] == ("c",)


SHOWN = "Id={0}\nNames={0}\nLoadState=loaded\nActiveState=active\nSubState=running\n"


class Shows:
    """A link to a manager that knows every unit but `bad.service`."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def run(self, command: str, **_: object) -> CommandResult:
        self.commands.append(command)
        names = re.findall(r"\b[\w-]+\.service\b", command)
        if "bad.service" in names:
            return CommandResult(command, b"", b"Unit name bad.service is neither a valid", 1, "ssh", 0.0, 0.0, 0.0)
        text = "\n".join(SHOWN.format(name) for name in names)
        return CommandResult(command, text.encode(), b"", 0, "ssh", 0.0, 0.0, 0.0)


def test_a_check_is_given_its_own_units_in_its_own_order() -> None:
    link = Shows()
    target = Target("t", (), {}, link, soon(), NullEmitter(), shared=SharedQuestions())  # type: ignore[arg-type]
    assert [state.name for state in target.units("b.service", "a.service", "b.service")] == [
        "b.service", "a.service", "b.service",
    ]  # fmt: skip
    assert len(link.commands) == 1


def test_a_name_that_is_none_spoils_nobody_elses_question() -> None:
    link = Shows()
    target = Target("t", (), {}, link, soon(), NullEmitter(), shared=SharedQuestions())  # type: ignore[arg-type]
    with pytest.raises(Never, match=r"bad\.service"):
        target.units("bad.service")
    assert target.unit("a.service").name == "a.service"
