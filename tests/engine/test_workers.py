"""Calls on worker threads: each is carried out once, answered in the event loop, and held up by no other one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.workers import FEW, HELD_UP, LONGEST_TURN, NAME, Places, WorkerPool
from tests.patience import scaled


def carried(work: Callable[[WorkerPool], Coroutine[Any, Any, Any]], size: int = 4) -> Any:
    """What comes of work with a pool, which must come within a time that only a hang needs."""

    async def main() -> Any:
        pool = WorkerPool(size)
        try:
            return await asyncio.wait_for(work(pool), 60)
        finally:
            pool.shutdown()

    return asyncio.run(main())


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 5), turns=st.lists(st.integers(0, 40), max_size=8))
def test_every_call_is_answered_with_its_own_answer(size: int, turns: list[int]) -> None:
    """However many are asked for in one turn of the loop, and whether the threads rest meanwhile or not."""

    async def work(pool: WorkerPool) -> None:
        calls = []
        for turn, count in enumerate(turns):
            calls += [(turn * 100 + i, pool.submit(lambda n: n * 2, turn * 100 + i)) for i in range(count)]
            await asyncio.sleep(0)
        for number, call in calls:
            assert await asyncio.wrap_future(call) == number * 2

    carried(work, size)


def test_a_call_that_blocks_holds_up_no_other_one() -> None:
    """As many at once as there are threads, though only one of them is woken at first."""
    all_here = threading.Barrier(4)

    async def work(pool: WorkerPool) -> None:
        for _ in range(3):
            await asyncio.gather(*(pool.run(all_here.wait, 50) for _ in range(4)))

    carried(work)


def test_answers_come_though_the_next_call_blocks() -> None:
    """One thread takes both; it must not keep the first answer to itself until the second is there."""
    release = threading.Event()

    async def work(pool: WorkerPool) -> None:
        quick, slow = pool.submit(lambda: "quick"), pool.submit(release.wait, 50)
        assert await asyncio.wrap_future(quick) == "quick"
        release.set()
        assert await asyncio.wrap_future(slow)

    for size in (1, 2):
        release.clear()
        carried(work, size)


def test_there_are_never_more_threads_than_allowed() -> None:
    seen: set[int] = set()
    two = threading.Barrier(2)

    def note() -> None:
        seen.add(threading.get_ident())
        two.wait(scaled(50))

    async def work(pool: WorkerPool) -> None:
        await asyncio.gather(*(pool.run(note) for _ in range(20)))

    carried(work, 2)
    assert len(seen) == 2


def test_a_thread_that_does_not_come_back_is_replaced() -> None:
    release = threading.Event()

    async def work(pool: WorkerPool) -> str:
        stuck = pool.submit(release.wait, 50)
        while not stuck.running():
            await asyncio.sleep(0.001)
        after = pool.submit(lambda: "after")
        pool.replace()
        answer = await asyncio.wrap_future(after)
        release.set()
        await asyncio.wrap_future(stuck)
        return answer

    assert carried(work, 1) == "after"


def test_whatever_a_call_raises_is_raised_where_it_is_awaited() -> None:
    async def work(pool: WorkerPool) -> None:
        def leaves() -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            await pool.run(leaves)
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        assert await pool.run(lambda: "the thread lives") == "the thread lives"

    carried(work, 1)


def test_a_wait_that_is_given_up_disturbs_no_other_one() -> None:
    release = threading.Event()

    async def work(pool: WorkerPool) -> None:
        running, waiting = (asyncio.create_task(pool.run(release.wait, 50)) for _ in range(2))
        await asyncio.sleep(0.02)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        release.set()
        assert await pool.run(lambda: "next") == "next"

    carried(work, 1)


def test_after_the_end_nothing_is_begun_and_no_thread_is_left() -> None:
    release = threading.Event()
    begun: list[int] = []

    async def main() -> None:
        pool = WorkerPool(1)
        first = pool.submit(release.wait, 50)
        while not first.running():
            await asyncio.sleep(0.001)
        second = pool.submit(begun.append, 1)
        pool.shutdown()
        assert second.cancelled()
        with pytest.raises(RuntimeError, match="shut down"):
            pool.submit(begun.append, 2)

    before = {thread for thread in threading.enumerate() if thread.name == NAME}
    asyncio.run(main())
    release.set()
    for thread in threading.enumerate():
        if thread.name == NAME and thread not in before:
            thread.join(scaled(30))
            assert not thread.is_alive()
    assert begun == []


def test_a_ring_that_an_ended_loop_did_not_hear_is_not_waited_for() -> None:
    pool, carried_out = WorkerPool(1), threading.Event()

    async def leaves() -> None:
        pool.submit(carried_out.set)
        await asyncio.sleep(0)
        carried_out.wait(scaled(30))
        time.sleep(0.05)  # the thread rings
        asyncio.get_running_loop().stop()

    loop = asyncio.new_event_loop()
    task = loop.create_task(leaves())
    loop.run_forever()
    assert task.done()

    def takes_a_while() -> str:
        time.sleep(0.1)
        return "heard"

    assert asyncio.run(asyncio.wait_for(pool.run(takes_a_while), 20)) == "heard"
    loop.close()
    pool.shutdown()


def test_threads_that_are_held_up_are_joined_by_as_many_as_there_are_calls_for() -> None:
    """Places and threads double until all the calls, which wait for each other, are carried out at once."""
    all_here = threading.Barrier(150)

    async def work(pool: WorkerPool) -> None:
        async def one() -> None:
            async with pool.free:
                await pool.run(all_here.wait, 50)

        await asyncio.gather(*(one() for _ in range(150)))

    carried(work, 400)


def test_an_event_loop_that_was_kept_from_running_asks_for_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second between two turns of the loop says nothing about the calls; as many turns as make up a moment do."""

    async def work(pool: WorkerPool) -> None:
        loop, now = asyncio.get_running_loop(), 1000.0
        monkeypatch.setattr(loop, "time", lambda: now)
        pool._loop, pool._tended, pool._threads = loop, now, FEW
        allowed = []
        for _ in range(round(HELD_UP / LONGEST_TURN) + 1):
            now += 1.0
            pool._count_held_up(0)
            allowed.append(pool._few)
        assert allowed[:-2] == [FEW] * (len(allowed) - 2)
        assert allowed[-1] == 2 * FEW
        pool._held_up = HELD_UP / 2
        pool._count_held_up(1)
        assert pool._held_up == 0.0
        monkeypatch.undo()
        pool._threads = 0

    carried(work, 400)


@settings(max_examples=30, deadline=None)
@given(places=st.integers(1, 3), steps=st.lists(st.sampled_from(["enter", "leave", "cancel", "turn"]), max_size=30))
def test_no_place_is_lost_or_given_twice_whoever_is_cancelled(places: int, steps: list[str]) -> None:
    async def main() -> None:
        free = Places(places)
        inside: list[asyncio.Event] = []

        async def one() -> None:
            async with free:
                left = asyncio.Event()
                inside.append(left)
                assert len(inside) <= places
                try:
                    await left.wait()
                finally:
                    inside.remove(left)

        tasks: list[asyncio.Task[None]] = []
        for step in steps:
            match step:
                case "enter":
                    tasks.append(asyncio.create_task(one()))
                case "leave" if inside:
                    inside[0].set()
                case "cancel" if tasks:
                    tasks[-1].cancel()
                case "turn":
                    await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            assert task.cancelled() or task.exception() is None
        await asyncio.wait_for(asyncio.gather(*(free.__aenter__() for _ in range(places))), scaled(30))

    asyncio.run(main())
