"""Bulkheads: permits are never lost, the line is fair, and it ends somewhere."""

import asyncio
import random
import threading

import pytest

from atoll.kit import Adaptive, AttemptTimeout, Bulkhead, BulkheadFull, Policy, deadline, throttled
from atoll.kit.permits import Permits
from atoll.kit.testing import capture, virtual_time


def held(policy):
    return policy.state()["bulkhead"]["in_flight"]


@pytest.fixture(params=[Bulkhead(2, queue=2, wait=1.0), Adaptive(least=2, most=2, start=2, queue=2, wait=1.0)])
def policy(request):
    return Policy("p", bulkhead=request.param)


def test_the_line_is_served_in_order_and_has_an_end(policy):
    with virtual_time() as clock:
        done = []

        async def one(number):
            await policy.call(asyncio.sleep, 0.5)
            done.append(number)

        async def main():
            calls = [asyncio.create_task(one(number)) for number in range(5)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(results[4], BulkheadFull)
            assert done == [0, 1, 2, 3]

        clock.run(main())
    assert held(policy) == 0
    assert policy.state()["bulkhead"]["rejected"] == 1


def test_the_wait_has_an_end(policy):
    with virtual_time() as clock:

        async def main():
            holders = [asyncio.create_task(policy.call(asyncio.sleep, 5)) for _ in range(2)]
            await asyncio.sleep(0)
            began = clock.now()
            with pytest.raises(BulkheadFull, match="1 s"):
                await policy.call(asyncio.sleep, 0)
            assert clock.now() - began == pytest.approx(1)
            async with deadline(2, "request"):
                with deadline(0.25, "sooner"), pytest.raises(BulkheadFull):
                    await policy.call(asyncio.sleep, 0)
            assert clock.now() - began == pytest.approx(1.25)
            await asyncio.gather(*holders)

        clock.run(main())
    assert held(policy) == 0
    assert policy.state()["bulkhead"]["waiting"] == 0


def test_cancelled_waiters_and_holders_lose_no_permit(policy):
    with virtual_time() as clock:
        chance = random.Random(1)

        async def main():
            for _ in range(200):
                calls = [asyncio.create_task(policy.call(asyncio.sleep, chance.choice([0, 0.1]))) for _ in range(4)]
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                for each in chance.sample(calls, 2):
                    each.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
                assert held(policy) == 0
                assert len(policy.parts[0].permits.free) == 2

        clock.run(main())


def test_a_waiter_that_was_just_served_and_is_cancelled_passes_the_permit_on():
    policy = Policy("p", bulkhead=Bulkhead(1, queue=9, wait=9))

    async def main():
        release = asyncio.Event()
        holder = asyncio.create_task(policy.call(release.wait))
        await asyncio.sleep(0)
        first = asyncio.create_task(policy.call(asyncio.sleep, 0))
        second = asyncio.create_task(policy.call(asyncio.sleep, 0, "served"))
        await asyncio.sleep(0)
        release.set()
        await holder
        first.cancel()  # it has the permit already, but did not run yet
        assert await second == "served"
        assert first.cancelled()

    asyncio.run(main())
    assert held(policy) == 0


def test_threads_wait_for_permits(policy):
    entered, release = threading.Semaphore(0), threading.Event()
    results = []

    def work():
        entered.release()
        release.wait(10)

    def call(f):
        try:
            results.append(policy.run(f))
        except BulkheadFull as error:
            results.append(error)

    holders = [threading.Thread(target=call, args=(work,)) for _ in range(2)]
    for each in holders:
        each.start()
        assert entered.acquire(timeout=10)
    waiter = threading.Thread(target=call, args=(lambda: "served",))
    waiter.start()
    release.set()
    for each in (*holders, waiter):
        each.join(10)
    assert "served" in results
    assert held(policy) == 0


def test_a_thread_does_not_wait_for_ever():
    policy = Policy("p", bulkhead=Bulkhead(1, queue=1, wait=0.01))

    def nested():
        with pytest.raises(BulkheadFull, match="no permit within"):
            policy.run(str)
        return "well"

    assert policy.run(nested) == "well"
    with pytest.raises(BulkheadFull, match="in flight"):
        Policy("q", bulkhead=Bulkhead(1, queue=0)).run(_again, Policy("q", bulkhead=Bulkhead(1, queue=0)))
    assert held(policy) == 0


def _again(policy):
    return policy.run(policy.run, str)


def test_an_interrupted_wait_gives_up_its_place(monkeypatch):
    policy = Policy("p", bulkhead=Bulkhead(1, queue=1, wait=1))
    permits = policy.parts[0].permits

    class Interrupted(threading.Event().__class__):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    monkeypatch.setattr("atoll.kit.permits.Event", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        policy.run(policy.run, str)
    assert not permits.waiters
    assert held(policy) == 0


def test_loops_in_two_threads_share_the_permits():
    policy = Policy("p", bulkhead=Bulkhead(1, queue=200, wait=30))
    inside, most = [], []

    async def work():
        inside.append(1)
        most.append(len(inside))
        await asyncio.sleep(0)
        inside.pop()

    async def many():
        await asyncio.gather(*(policy.call(work) for _ in range(50)))

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(most) == 100
    assert max(most) == 1
    assert held(policy) == 0


def test_a_waiter_of_a_closed_loop_is_passed_over():
    policy = Policy("p", bulkhead=Bulkhead(1, queue=9, wait=9))
    loop = asyncio.new_event_loop()
    coroutine = policy.call(asyncio.sleep, 0)

    async def start():
        return asyncio.ensure_future(coroutine)

    def hold():
        task = loop.run_until_complete(start())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        return task

    task = policy.run(hold)
    assert held(policy) == 0
    assert policy.run(lambda: "well") == "well"
    task._log_destroy_pending = False
    coroutine.close()


def test_resizing_withdraws_permits_as_they_come_back():
    with virtual_time() as clock:
        policy = Policy("p", bulkhead=Adaptive(least=1, most=8, start=4, queue=9))
        permits = policy.parts[0].permits

        async def main():
            calls = [asyncio.create_task(policy.call(asyncio.sleep, 1)) for _ in range(4)]
            await asyncio.sleep(0)
            permits.resize(2)
            assert permits.in_flight == 4
            permits.resize(3)
            assert permits.in_flight == 4
            waiter = asyncio.create_task(policy.call(asyncio.sleep, 0))
            await asyncio.sleep(0)
            assert len(permits.waiters) == 1
            permits.resize(5)
            await asyncio.wait_for(waiter, 0.1)
            await asyncio.gather(*calls)

        clock.run(main())
        assert permits.in_flight == 0


def adaptive(latency, *, start=10, error=None, calls=300):
    """The limit after so many calls of which all permits are always out."""
    with virtual_time() as clock:
        policy = Policy("p", bulkhead=Adaptive(least=2, most=50, start=start), classify=lambda _: throttled(1))

        async def one(number):
            await asyncio.sleep(latency(number, policy.state()["bulkhead"]["limit"]))
            if error:
                raise error

        async def main():
            for number in range(calls):
                limit = policy.state()["bulkhead"]["limit"]
                await asyncio.gather(*(policy.call(one, number) for _ in range(limit)), return_exceptions=True)

        with capture() as seen:
            clock.run(main())
        assert {each.kind for each in seen} <= {"limit", "reject"}
        return policy.state()["bulkhead"]["limit"]


def test_the_limit_grows_while_answers_are_quick():
    assert adaptive(lambda *_: 0.1) == 50


def test_the_limit_stays_where_latency_rises():
    assert adaptive(lambda _, limit: 0.1 if limit <= 12 else 0.1 * (limit / 12) ** 3, calls=40) < 30


def test_the_limit_falls_when_the_callee_throttles_or_times_out():
    assert adaptive(lambda *_: 0.1, error=OSError("busy"), calls=20) == 2
    assert adaptive(lambda *_: 0.1, error=AttemptTimeout("late"), calls=20) == 2


def test_the_limit_stays_when_it_is_not_what_holds_calls_back():
    policy = Policy("p", bulkhead=Adaptive(start=16))
    for _ in range(50):
        policy.run(str)
    assert policy.state()["bulkhead"]["limit"] == 16


def test_the_usual_latency_follows_a_dependency_that_became_quicker():
    with virtual_time() as clock:
        policy = Policy("p", bulkhead=Adaptive(start=16))
        policy.run(clock.advance, 10)
        for _ in range(200):
            policy.run(clock.advance, 0.1)
        assert policy.state()["bulkhead"]["usual_latency"] < 0.3


def test_a_thread_in_the_line_is_served():
    policy = Policy("p", bulkhead=Bulkhead(1, queue=1, wait=30))
    permits, served = policy.parts[0].permits, []
    arrived = threading.Event()

    class Line(type(permits.waiters)):
        def append(self, waiter):
            super().append(waiter)
            arrived.set()

    permits.waiters = Line()
    waiter = threading.Thread(target=lambda: served.append(policy.run(lambda: "served")))

    def hold():
        waiter.start()
        assert arrived.wait(10)

    policy.run(hold)
    permits.hand_over()  # the generated lines look at the line that was replaced above
    waiter.join(10)
    assert served == ["served"]
    assert held(policy) == 0


def test_a_debt_that_another_thread_paid_meanwhile_is_not_paid_twice():
    class Paid:
        def __enter__(self):
            permits._debt = 0  # what the other thread did while this one waited for the lock

        def __exit__(self, *_):
            pass

    permits = Permits("p", 1, 0, 0.0)
    permits.free.pop()
    permits._debt, permits._lock = 1, Paid()
    permits.give()
    assert len(permits.free) == 1
