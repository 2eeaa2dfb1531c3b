"""The breaker: the six behaviour probes of docs/kit/comparison.md, and every way through its states."""

# ruff: noqa: PLC0415, PT011 - optional libraries; scenarios in one piece
import asyncio
import threading

import pytest

from atoll.kit import OK, Breaker, CircuitOpen, Policy, errors, throttled
from atoll.kit.testing import capture, force, virtual_time


def fail():
    raise OSError("down")


def well():
    return "well"


def trip(policy, times=5):
    for _ in range(times):
        with pytest.raises(OSError):
            policy.run(fail)


@pytest.fixture
def clock():
    with virtual_time(1000.0) as time:
        yield time


def phase(policy):
    return policy.state()["breaker"]["phase"]


def test_it_opens_after_so_many_failures_in_a_row_and_says_for_how_long(clock):
    policy = Policy("db", breaker=Breaker(consecutive=3, open=5))
    trip(policy, 2)
    policy.run(well)
    trip(policy, 2)
    assert phase(policy) == "closed"
    trip(policy, 1)
    clock.advance(2)
    with pytest.raises(CircuitOpen, match="db") as caught:
        policy.run(well)
    assert caught.value.retry_after == pytest.approx(3)
    assert policy.state()["breaker"]["rejected"] == 1


def test_the_tripping_caller_sees_its_own_error(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1))
    mine = OSError("mine")

    def raising():
        raise mine

    with pytest.raises(OSError) as caught:
        policy.run(raising)
    assert caught.value is mine


def test_a_rate_needs_a_minimum_of_calls(clock):
    policy = Policy("p", breaker=Breaker(consecutive=None, rate=0.5, min_calls=10, window=10))
    trip(policy, 4)
    for _ in range(5):
        policy.run(well)
    assert phase(policy) == "closed"
    trip(policy, 1)
    assert phase(policy) == "open"


def test_old_failures_are_forgotten(clock):
    policy = Policy("p", breaker=Breaker(consecutive=None, rate=0.5, min_calls=4, window=10))
    trip(policy, 3)
    clock.advance(10)
    trip(policy, 3)
    assert phase(policy) == "closed"
    trip(policy, 1)
    assert phase(policy) == "open"


def test_slow_calls_open_it(clock):
    policy = Policy("p", breaker=Breaker(slow=1.0, slow_rate=0.5, min_calls=4))

    def slow():
        clock.advance(1.5)

    for _ in range(2):
        policy.run(well)
    policy.run(slow)
    assert phase(policy) == "closed"
    policy.run(slow)
    assert phase(policy) == "open"


def test_half_open_admits_exactly_its_probes(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1, open=5, probes=2))
    trip(policy, 1)
    clock.advance(5)
    assert phase(policy) == "half-open"

    async def main():
        release = asyncio.Event()
        calls = [asyncio.create_task(policy.call(release.wait)) for _ in range(20)]
        await asyncio.sleep(0)
        release.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results.count(True) == 2
        assert sum(isinstance(each, CircuitOpen) for each in results) == 18

    clock.run(main())
    assert phase(policy) == "closed"


def test_a_failed_probe_opens_it_again(clock):
    policy = Policy("p", breaker=Breaker(consecutive=5, open=5))
    trip(policy)
    clock.advance(5)
    trip(policy, 1)
    assert phase(policy) == "open"
    with pytest.raises(CircuitOpen):
        policy.run(well)


def test_a_slow_probe_opens_it_again(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1, open=5, slow=1))
    trip(policy, 1)
    clock.advance(5)
    policy.run(clock.advance, 2)
    assert phase(policy) == "open"


def test_a_cancelled_probe_neither_closes_nor_wedges_it(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1, open=5))
    trip(policy, 1)
    clock.advance(5)

    async def main():
        probe = asyncio.create_task(policy.call(asyncio.sleep, 99))
        await asyncio.sleep(0)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert phase(policy) == "half-open"
        assert await policy.call(asyncio.sleep, 0, "next probe") == "next probe"

    clock.run(main())
    assert phase(policy) == "closed"


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_what_is_no_failure_says_nothing(clock, error):
    policy = Policy("p", breaker=Breaker(consecutive=1))

    def stop():
        raise error

    with pytest.raises(error):
        policy.run(stop)
    assert phase(policy) == "closed"


def test_a_probe_that_never_comes_back_loses_its_lease(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1, open=5, lease=30))
    trip(policy, 1)
    clock.advance(5)

    async def main():
        lost = asyncio.create_task(policy.call(asyncio.sleep, 1000))
        await asyncio.sleep(0)
        with pytest.raises(CircuitOpen) as caught:
            await policy.call(asyncio.sleep, 0)
        assert caught.value.retry_after == pytest.approx(30)
        await asyncio.sleep(30)
        await policy.call(asyncio.sleep, 0)
        assert phase(policy) == "closed"
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        assert phase(policy) == "closed"

    clock.run(main())


@pytest.mark.parametrize("late", [None, OSError("late")])
def test_an_outcome_from_before_the_trip_says_nothing_about_now(clock, late):
    policy = Policy("p", breaker=Breaker(consecutive=2, open=5))

    async def main():
        release = asyncio.Event()

        async def old():
            await release.wait()
            if late:
                raise late

        calls = [asyncio.create_task(policy(old)()) for _ in range(3)]
        await asyncio.sleep(0)
        trip(policy, 2)
        if late is None:  # a success must not close it
            release.set()
            await asyncio.gather(*calls)
            assert phase(policy) == "open"
        else:  # failures must not open it again
            clock.advance(5)
            policy.run(well)
            assert phase(policy) == "closed"
            release.set()
            await asyncio.gather(*calls, return_exceptions=True)
            assert phase(policy) == "closed"

    clock.run(main())


def test_a_lease_from_an_earlier_half_open_period_says_nothing(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1, open=5, probes=2))
    trip(policy, 1)
    clock.advance(5)

    async def main():
        release = asyncio.Event()

        async def old():
            await release.wait()
            raise OSError

        early = asyncio.create_task(policy(old)())
        await asyncio.sleep(0)
        trip(policy, 1)  # the other probe fails: open again
        clock.advance(5)
        policy.run(well)
        policy.run(well)
        assert phase(policy) == "closed"
        release.set()
        await asyncio.gather(early, return_exceptions=True)
        assert phase(policy) == "closed"

    clock.run(main())


def test_throttling_and_refusals_of_others_do_not_count(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1), classify=lambda _: throttled(1))
    trip(policy, 3)
    assert phase(policy) == "closed"
    outer, inner = Policy("o", breaker=Breaker(consecutive=1)), Policy("i", breaker=Breaker(consecutive=1))
    trip(inner, 1)
    with pytest.raises(CircuitOpen):
        outer.run(inner.run, well)
    assert phase(outer) == "closed"


def test_an_error_that_is_an_answer_counts_as_one(clock):
    from atoll.kit import OK

    policy = Policy("p", breaker=Breaker(consecutive=1, open=5), classify=lambda error: OK)
    trip(policy, 2)
    assert policy.state()["breaker"]["ok"] == 2
    policy.breaker.force_open()
    policy.breaker.reset()
    policy.breaker._open("test")
    clock.advance(5)
    trip(policy, 1)
    assert phase(policy) == "closed"


def test_by_hand(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1, open=1))
    policy.breaker.force_open()
    clock.advance(100)
    with pytest.raises(CircuitOpen, match="by hand"):
        policy.run(well)
    policy.breaker.force_closed()
    trip(policy, 3)
    assert policy.run(well) == "well"
    policy.breaker.reset()
    trip(policy, 1)
    assert phase(policy) == "open"
    with force(policy, breaker="closed"):
        assert policy.run(well) == "well"
    assert phase(policy) == "closed"
    with force(policy, breaker="open"), pytest.raises(CircuitOpen):
        policy.run(well)
    assert policy.run(well) == "well"


def test_shadow_counts_and_never_refuses(clock):
    policy = Policy("p", breaker=Breaker(consecutive=2, mode="shadow"))
    with capture() as seen:
        trip(policy, 4)
    assert [each.kind for each in seen] == ["open", "open"]
    assert policy.state()["breaker"]["opened"] == 2
    assert policy.run(well) == "well"


def test_totals_survive_a_change_of_state(clock):
    policy = Policy("p", breaker=Breaker(consecutive=2, open=1))
    policy.run(well)
    trip(policy, 2)
    clock.advance(1)
    policy.run(well)
    policy.run(well)
    state = policy.state()["breaker"]
    assert (state["ok"], state["failed"], state["recent_ok"]) == (3, 2, 1)


def test_threads_run_in_parallel():
    policy = Policy("p", breaker=Breaker())
    together = threading.Barrier(4, timeout=10)
    threads = [threading.Thread(target=policy.run, args=(together.wait,)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(10)
    assert not together.broken
    assert policy.state()["breaker"]["ok"] == 4


def test_leave_that_comes_when_another_thread_has_closed_it(clock):
    policy = Policy("p", breaker=Breaker())
    assert policy.breaker.admit() is policy.breaker.tally


def test_a_slow_call_from_an_earlier_period_says_nothing(clock):
    policy = Policy("p", breaker=Breaker(consecutive=2, slow=1.0, min_calls=1))

    def old():
        clock.advance(2)
        trip(policy, 2)

    policy.run(old)
    assert policy.state()["breaker"]["opened"] == 1
    assert policy.state()["breaker"]["recent_slow"] == 0


def test_with_two_probes_the_first_answer_does_not_close_it(clock):
    from atoll.kit import OK

    policy = Policy("p", breaker=Breaker(consecutive=1, open=5, probes=2))
    trip(policy, 1)
    clock.advance(5)
    policy.run(well)
    assert phase(policy) == "half-open"
    lenient = Policy("q", breaker=Breaker(consecutive=1, open=5, probes=2), classify=lambda _: OK)
    lenient.breaker._open("test")
    clock.advance(5)
    trip(lenient, 1)
    assert phase(lenient) == "half-open"
    trip(lenient, 1)
    assert phase(lenient) == "closed"


def test_a_failed_probe_is_counted(clock):
    policy = Policy("p", breaker=Breaker(consecutive=1, open=5))
    trip(policy, 1)
    clock.advance(5)
    trip(policy, 1)
    assert policy.state()["breaker"]["failed"] == 2


# What mutation testing found that nothing else noticed.


def state(policy, *names):
    found = policy.state()["breaker"]
    return tuple(found[each] for each in names)


def half_open(clock, **settings):
    """A policy whose next calls are probes."""
    policy = Policy("p", breaker=Breaker(**{"consecutive": 1, "open": 5, **settings}))
    trip(policy, 1)
    clock.advance(5)
    return policy


async def held(policy, answer):
    """A call that is inside, with what ends it."""
    release = asyncio.get_running_loop().create_future()

    async def wait():
        return await release

    task = asyncio.create_task(policy.call(wait))
    await asyncio.sleep(0)
    return task, lambda: release.set_exception(answer) if isinstance(answer, Exception) else release.set_result(answer)


def test_reset_empties_the_counts_of_a_closed_breaker(clock):
    policy = Policy("p", breaker=Breaker(consecutive=2))
    trip(policy, 1)
    policy.breaker.reset()
    trip(policy, 1)
    assert phase(policy) == "closed"
    trip(policy, 1)
    assert phase(policy) == "open"


def test_a_probe_from_before_a_reset_says_nothing(clock):
    async def main():
        policy = half_open(clock)
        probe, end = await held(policy, OSError("late"))
        policy.breaker.reset()
        end()
        with pytest.raises(OSError):
            await probe
        assert phase(policy) == "closed"
        assert state(policy, "failed") == (1,)

    clock.run(main())


def test_a_probe_whose_lease_ended_does_not_close_it(clock):
    async def main():
        policy = half_open(clock, lease=30)
        lost, end = await held(policy, "well")
        clock.advance(30)
        present, _ = await held(policy, "well")
        end()
        assert await lost == "well"
        assert phase(policy) == "half-open"
        assert state(policy, "ok") == (0,)
        present.cancel()

    clock.run(main())


def test_two_probes_are_two_in_all(clock):
    async def main():
        policy = half_open(clock, probes=2)
        await policy.call(asyncio.sleep, 0)
        assert phase(policy) == "half-open"
        last, end = await held(policy, "well")
        with pytest.raises(CircuitOpen):
            await policy.call(asyncio.sleep, 0)
        end()
        await last
        assert phase(policy) == "closed"
        assert state(policy, "ok") == (2,)

    clock.run(main())


def test_a_refusal_says_when_to_come_back(clock):
    async def main():
        policy = half_open(clock, lease=0.5)
        probe, _ = await held(policy, "well")
        with pytest.raises(CircuitOpen) as refused:
            await policy.call(asyncio.sleep, 0)
        assert refused.value.retry_after == pytest.approx(0.5)
        probe.cancel()
        policy.breaker.force_open()
        with pytest.raises(CircuitOpen, match="by hand") as refused:
            await policy.call(asyncio.sleep, 0)
        assert refused.value.retry_after == 0

    clock.run(main())


def test_a_probe_that_fails_in_a_way_that_is_well_counts_as_well(clock):
    policy = Policy(
        "p", breaker=Breaker(consecutive=1, open=5), classify=errors(fail=(OSError,), otherwise=lambda _: OK)
    )
    trip(policy, 1)
    clock.advance(5)
    with pytest.raises(KeyError):
        policy.run({}.__getitem__, "absent")
    assert phase(policy) == "closed"
    assert state(policy, "ok", "failed") == (1, 1)


def test_a_child_has_no_probes_on_their_way(clock):
    async def main():
        policy = half_open(clock)
        probe, _ = await held(policy, "well")
        policy.breaker.renew()
        assert await policy.call(asyncio.sleep, 0, "mine") == "mine"
        assert phase(policy) == "closed"
        probe.cancel()

    clock.run(main())


def test_the_share_of_failures_is_of_all_calls(clock):
    policy = Policy("p", breaker=Breaker(consecutive=None, rate=0.5, min_calls=4))
    for _ in range(3):
        policy.run(well)
    trip(policy, 2)
    assert phase(policy) == "closed"
    trip(policy, 1)
    assert phase(policy) == "open"


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_call_longer_than_the_window_counts_when_it_ends(clock, succeeds):
    def slow():
        clock.advance(25)
        if not succeeds:
            raise OSError

    policy = Policy("p", breaker=Breaker(consecutive=None, rate=1.0, slow=20, slow_rate=1.0, min_calls=1, window=10))
    if succeeds:
        policy.run(slow)
    else:
        with pytest.raises(OSError):
            policy.run(slow)
    assert phase(policy) == "open"


def test_slow_is_more_than_the_limit_and_slow_failures_count_as_well(clock):
    def takes(seconds, error=None):
        clock.advance(seconds)
        if error is not None:
            raise error

    policy = Policy("p", breaker=Breaker(consecutive=None, slow=2.0, slow_rate=0.5, min_calls=5, window=1e6))
    policy.run(takes, 2.0)
    for seconds in (2.0, 1.0, 0.0):
        with pytest.raises(OSError):
            policy.run(takes, seconds, OSError())
    assert state(policy, "recent_slow", "recent_ok", "recent_failed", "phase") == (0, 1, 3, "closed")
    with pytest.raises(OSError):
        policy.run(takes, 3.0, OSError())
    policy.run(takes, 3.0)
    assert state(policy, "recent_slow", "phase") == (2, "closed")
    policy.run(takes, 0.0)
    policy.run(takes, 3.0)
    assert state(policy, "recent_slow", "phase") == (3, "closed")
    policy.run(takes, 3.0)
    assert state(policy, "recent_slow", "phase") == (4, "closed")
    policy.run(takes, 3.0)
    assert phase(policy) == "open"


def test_the_slow_call_itself_is_one_of_the_calls(clock):
    policy = Policy("p", breaker=Breaker(consecutive=None, slow=2.0, slow_rate=0.5, min_calls=3))
    policy.run(well)
    policy.run(clock.advance, 2.5)
    assert phase(policy) == "closed"
    policy.run(clock.advance, 2.5)
    assert phase(policy) == "open"
