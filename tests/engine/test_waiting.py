"""Waits that hold no thread: ended by time, by a cancellation, and by the target's own bell."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future

import pytest

from harness.deadline import Cancellation
from harness.engine.waiting import LONGEST_REST, FirstLook, Signals, Waiter
from harness.errors import Cancelled


def test_a_wait_is_woken_by_cancellation() -> None:
    stop = Cancellation()

    async def main() -> None:
        threading.Timer(0.05, stop.cancel, args=("enough",)).start()
        await Waiter(stop, Signals()).pause(3600)

    with pytest.raises(Cancelled, match="enough"):
        asyncio.run(main())


def test_a_cancellation_before_the_wait_ends_it_too() -> None:
    stop = Cancellation()
    stop.cancel("before")

    async def main() -> None:
        await Waiter(stop, Signals()).pause(3600)

    with pytest.raises(Cancelled, match="before"):
        asyncio.run(main())


def test_the_target_rings_and_the_pause_is_over() -> None:
    async def main() -> None:
        signals = Signals()
        threading.Timer(0.05, signals.ring).start()
        await asyncio.wait_for(Waiter(Cancellation(), signals).pause(3600), 10)

    asyncio.run(main())


def test_a_ring_during_a_look_is_not_lost() -> None:
    async def main() -> None:
        signals = Signals()
        waiter = Waiter(Cancellation(), signals)
        signals.ring()
        await asyncio.wait_for(waiter.pause(3600), 10)

    asyncio.run(main())


def test_a_target_that_rings_all_the_time_is_left_some_of_it() -> None:
    async def main() -> int:
        signals = Signals()
        waiter = Waiter(Cancellation(), signals)
        end = time.monotonic() + 0.5
        looks = 0
        while time.monotonic() < end:
            signals.ring()
            await waiter.pause(3600, shortest=0.1)
            looks += 1
        return looks

    assert asyncio.run(main()) <= 6


def test_a_console_that_prints_without_a_pause_costs_few_looks() -> None:
    """And the first ring after a quiet is answered at once again."""

    async def main() -> tuple[int, float]:
        signals = Signals()
        waiter = Waiter(Cancellation(), signals)
        loop = asyncio.get_running_loop()
        end = loop.time() + 2.0
        looks = 0
        while loop.time() < end:
            signals.ring()
            await waiter.pause(3600)
            looks += 1
        await waiter.pause(LONGEST_REST + 0.05)
        signals.ring()
        began = loop.time()
        await waiter.pause(3600)
        return looks, loop.time() - began

    looks, took = asyncio.run(main())
    assert looks <= 10
    assert took < LONGEST_REST


def test_nothing_is_followed_until_somebody_waits() -> None:
    async def main() -> list[str]:
        followed: list[str] = []
        signals = Signals()
        signals.when_awaited(lambda: followed.append("now"))
        assert followed == []
        waiter = Waiter(Cancellation(), signals)
        await waiter.pause(0.01)
        await waiter.pause(0.01)
        return followed

    assert asyncio.run(main()) == ["now"]


def test_a_call_that_ends_and_one_that_does_not() -> None:
    async def main() -> None:
        waiter = Waiter(Cancellation(), Signals())
        done: Future[int] = Future()
        threading.Timer(0.03, done.set_result, args=(1,)).start()
        assert await waiter.call(done, lambda: 10.0)
        assert await waiter.call(done, lambda: 10.0)
        end = time.monotonic() + 0.03
        assert not await waiter.call(Future(), lambda: end - time.monotonic())

    asyncio.run(main())


def test_a_cancelled_call_has_a_moment_to_notice() -> None:
    stop = Cancellation()

    async def main() -> bool:
        call: Future[int] = Future()
        threading.Timer(0.03, stop.cancel, args=("enough",)).start()
        threading.Timer(0.1, call.set_result, args=(1,)).start()
        return await Waiter(stop, Signals()).call(call, lambda: 3600.0)

    assert asyncio.run(main())


def test_nothing_is_left_behind() -> None:
    stop = Cancellation()

    async def main() -> None:
        signals = Signals()
        for _ in range(50):
            waiter = Waiter(stop, signals)
            await waiter.pause(0.0)
            waiter.close()
        assert not signals._waiting

    asyncio.run(main())
    assert not stop._callbacks


def test_the_first_look_goes_ahead_and_the_others_follow_when_it_is_over() -> None:
    told: list[str] = []

    async def look(gate: FirstLook, name: str, held: asyncio.Event) -> None:
        async with gate:
            told.append(name)
            await held.wait()

    async def main() -> None:
        gate, held = FirstLook(), asyncio.Event()
        looks = [asyncio.create_task(look(gate, name, held)) for name in "abc"]
        await asyncio.sleep(0.01)
        assert told == ["a"]
        held.set()
        await asyncio.gather(*looks)

    asyncio.run(main())
    assert sorted(told) == ["a", "b", "c"]


def test_a_first_look_that_takes_long_holds_up_no_other_one() -> None:
    async def look(gate: FirstLook, held: asyncio.Event) -> None:
        async with gate:
            held.set()

    async def main() -> None:
        gate, second = FirstLook(), asyncio.Event()
        async with gate:
            other = asyncio.create_task(look(gate, second))
            await asyncio.wait_for(second.wait(), 60)
        await other

    asyncio.run(main())
