"""Which worker gets what: the guests' tests go to few workers and come first, and nobody gets a test twice or none."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.scheduling import GUESTS, GuestScheduling, has_guest, unit_of

GUEST_TESTS = [f"tests/guest/test_link.py::test_{n}" for n in range(4)]
GUEST_TESTS += [f"tests/guest/test_main_job.py::test_{n}" for n in range(5)]
OTHERS = [f"tests/a/test_{file}.py::test_{n}" for file in "abcdef" for n in range(6)]


class Worker:
    """A worker of xdist's as the scheduler sees it. Like a real one it keeps its last test back until it is told what
    comes next, or that nothing does."""

    def __init__(self, name: str) -> None:
        self.gateway = type("Gateway", (), {"id": name})()
        self.queue: list[int] = []
        self.done: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def next(self) -> int | None:
        return self.queue[0] if len(self.queue) > 1 or (self.queue and self.shutting_down) else None


def run(tests: list[str], count: int, seed: int, pytestconfig: pytest.Config) -> dict[str, list[str]]:
    """Carries it out with that many workers, which take their time at random."""
    config: Any = type(
        "Config", (), {"option": type("O", (), {"loadscopereorder": False, "debug": False})(), "hook": None}
    )()
    config.getvalue = lambda name: [f"{count}*popen"] if name == "tx" else None
    scheduler = GuestScheduling(config, None)
    workers = [Worker(f"gw{n}") for n in range(count)]
    assert scheduler.numnodes == count
    for worker in workers:
        scheduler.add_node(worker)  # type: ignore[arg-type]
        scheduler.add_node_collection(worker, tests)  # type: ignore[arg-type]
    scheduler.schedule()
    chance = random.Random(seed)
    while ready := [worker for worker in workers if worker.next is not None]:
        worker = chance.choice(ready)
        index = worker.queue.pop(0)
        worker.done.append(index)
        scheduler.mark_test_complete(worker, index)  # type: ignore[arg-type]
        at_once = [each for each in workers if each.next is not None and has_guest(tests[each.next])]
        assert len(at_once) <= GUESTS
    assert all(worker.shutting_down and not worker.queue for worker in workers)
    return {worker.gateway.id: [tests[index] for index in worker.done] for worker in workers}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("tests", [GUEST_TESTS + OTHERS, OTHERS, GUEST_TESTS, OTHERS[:1], GUEST_TESTS[:1]])
def test_each_is_run_once_and_a_file_by_one_worker(tests: list[str], count: int, pytestconfig: pytest.Config) -> None:
    for seed in range(20):
        ran = run(tests, count, seed, pytestconfig)
        assert sorted(name for names in ran.values() for name in names) == sorted(tests)
        where: dict[str, set[str]] = {}
        for worker, names in ran.items():
            for name in names:
                where.setdefault(unit_of(name), set()).add(worker)
        assert all(len(workers) == 1 for workers in where.values())
        for names in list(ran.values())[:GUESTS]:
            assert names == sorted(names, key=lambda name: not has_guest(name)), "guests first"


def test_places() -> None:
    assert has_guest("tests/guest/test_link.py::test_a")
    assert has_guest("tests/machine/test_up_guest.py::test_a")
    assert has_guest("tests/docs/test_guest.py::test_a")
    assert not has_guest("tests/machine/test_boot.py::test_a_guest")
    assert unit_of("tests/guest/test_main_job.py::test_a[b]") == "tests/guest/test_main_job.py::test_a[b]"
    assert unit_of("tests/guest/test_link.py::test_a[b::c]") == "tests/guest/test_link.py"
