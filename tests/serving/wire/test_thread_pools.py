"""Work that an event loop gives to threads."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from serving.wire.thread_pools import Pool

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2, "test")
    yield pool
    pool.stop()


async def test_what_is_returned_and_what_is_raised_comes_back(pool: Pool) -> None:
    def wrong() -> int:
        raise ValueError("wrong")

    assert await pool.submit(lambda: threading.current_thread().name) in ("test-0", "test-1")
    with pytest.raises(ValueError, match="wrong"):
        await pool.submit(wrong)
    found = await asyncio.gather(*(pool.submit(lambda n=n: n * n) for n in range(500)))
    assert found == [n * n for n in range(500)]


async def test_what_was_cancelled_before_it_began_does_not_begin(pool: Pool) -> None:
    go, begun = threading.Event(), list[int]()
    busy = [pool.submit(go.wait) for _ in range(2)]
    late = [pool.submit(lambda n=n: begun.append(n)) for n in range(4)]
    late[1].cancel()
    late[2].cancel()
    go.set()
    await asyncio.gather(*busy, late[0], late[3])
    assert sorted(begun) == [0, 3]


async def test_a_caller_that_went_away_meanwhile_hurts_nobody(pool: Pool) -> None:
    go = threading.Event()
    running = pool.submit(lambda: go.wait() and 1)
    await asyncio.sleep(0.05)
    running.cancel()
    go.set()
    assert await pool.submit(lambda: 2) == 2


async def test_an_idle_thread_holds_no_input(pool: Pool) -> None:
    class Input:
        pass

    one = Input()
    gone = weakref.ref(one)
    await pool.submit(lambda one=one: None)
    del one
    await asyncio.sleep(0.05)
    assert gone() is None


async def test_a_narrowed_pool_works_on_fewer_at_once(pool: Pool) -> None:
    pool.narrow(1)
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    await asyncio.gather(*(pool.submit(lambda: time.sleep(0.1)) for _ in range(3)))
    assert time.perf_counter() - began >= 0.3


async def test_stopping_lets_what_runs_finish_and_cancels_the_rest() -> None:
    pool, go = Pool(1, "test"), threading.Event()
    running, waiting = pool.submit(lambda: go.wait() and "done"), pool.submit(lambda: "never")
    await asyncio.sleep(0.05)
    ending = asyncio.ensure_future(asyncio.to_thread(pool.stop))
    await asyncio.sleep(0.05)
    assert not ending.done()
    go.set()
    await ending
    assert await running == "done"
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_loop_that_ended_is_no_error() -> None:
    pool, go = Pool(1, "test"), threading.Event()

    async def ask() -> None:
        pool.submit(go.wait)
        await asyncio.sleep(0.05)

    asyncio.run(ask())
    go.set()
    pool.stop()
