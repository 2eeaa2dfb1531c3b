"""
Being cancelled or interrupted, part by part, sync and async.

The rules: it arrives unchanged; it says nothing about the dependency; permits, places in the line, probes and deadlines
are given back; nothing goes on running; the next call works.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import pytest

from atoll.kit import (
    RETRY,
    Adaptive,
    Breaker,
    Bulkhead,
    Chaos,
    Fallback,
    Hedge,
    Meter,
    Policy,
    Rate,
    Retry,
    clock,
    permits,
    remaining,
    scopes,
)
from atoll.kit.aio import alarms
from atoll.kit.testing import capture, virtual_time


@dataclass(frozen=True)
class Case:
    """
    A policy, and where its call is when it is interrupted.

    `inside`: in the function. `line`: waiting for a permit. `pause`: between tries, or in a wait that the policy makes.
    `counts` may differ afterwards: they say that a call began, not how it ended.
    """

    name: str
    settings: dict
    where: str = "inside"
    counts: tuple[str, ...] = ()
    asynchronous_only: bool = False
    half_open: bool = False

    def policy(self):
        return Policy("p", **self.settings, classify=lambda _: RETRY)  # whoever is asked says: try again


ALL = {
    "fallback": Fallback(value="fallback"),
    "budget": 100.0,
    "rate": Rate(1000, burst=1000),
    "bulkhead": Bulkhead(2),
    "retry": Retry(2),
    "breaker": Breaker(consecutive=1, rate=0.5, slow=50.0),
    "timeout": 30.0,
}
CASES = [
    Case("fallback", {"fallback": Fallback(value="fallback", stale=60.0)}),
    Case("budget", {"budget": 100.0}),
    Case("rate", {"rate": Rate(1, burst=1000)}, counts=("rate.passed",)),
    Case("rate waiting", {"rate": Rate(1, wait=60.0)}, "pause", ("rate.passed",)),
    Case("bulkhead", {"bulkhead": Bulkhead(1, queue=1)}),
    Case("bulkhead waiting", {"bulkhead": Bulkhead(1, queue=1, wait=60.0)}, "line"),
    Case("adaptive", {"bulkhead": Adaptive(least=1, start=1, most=1, queue=1)}),
    Case("adaptive waiting", {"bulkhead": Adaptive(least=1, start=1, most=1, queue=1, wait=60.0)}, "line"),
    Case("retry", {"retry": Retry(2)}, counts=("retry.calls", "retry.recent_calls")),
    Case(
        "retry waiting",
        {"retry": Retry(2, base=5, cap=5)},
        "pause",
        ("retry.calls", "retry.recent_calls", "retry.retries", "retry.recent_retries"),
    ),
    Case("hedge", {"hedge": Hedge(after=50.0), "idempotent": True}, counts=("hedge.calls",), asynchronous_only=True),
    Case(
        "hedge running",
        {"hedge": Hedge(after=0.5), "idempotent": True},
        counts=("hedge.calls", "hedge.hedges"),
        asynchronous_only=True,
    ),
    Case("breaker", {"breaker": Breaker(consecutive=1)}),
    Case("breaker, by rate", {"breaker": Breaker(consecutive=None, rate=0.1, min_calls=1, slow=50.0, slow_rate=0.1)}),
    Case("breaker trying out", {"breaker": Breaker(consecutive=1, open=1.0)}, half_open=True),
    Case("time-out", {"timeout": 100.0}),
    Case(
        "chaos waiting",
        {"chaos": Chaos(rate=1.0, latency=60.0, when=lambda: True)},
        "pause",
        ("chaos.struck",),
    ),
    Case("observer", {"observe": Meter()}, counts=("observe.calls", "observe.seconds", "observe.errors")),
    Case("all", ALL, counts=("rate.passed", "retry.calls", "retry.recent_calls")),
    Case("all, trying out", ALL, counts=("rate.passed", "retry.calls", "retry.recent_calls"), half_open=True),
]
ASYNC = [pytest.param(each, id=each.name) for each in CASES]
SYNC = [pytest.param(each, id=each.name) for each in CASES if not each.asynchronous_only]


def figures(policy, without):
    """Everything a policy has counted, but for what only says that calls began."""
    return {
        f"{part}.{name}": value
        for part, state in policy.state().items()
        for name, value in state.items()
        if f"{part}.{name}" not in without and not name.startswith("p")  # nor the quantiles of an observer
    }


def fails():
    raise OSError


def prepare(case, policy, time):
    """Brings the breaker to where a call of it is a probe."""
    if case.half_open:
        with suppress(OSError):
            policy.run(fails)
        time.advance(10)
        assert policy.breaker.phase == "half-open"


def phase(policy, case):
    return policy.breaker.phase if "breaker" in case.settings else "closed"


def nothing_is_held(policy, *, but=0):
    for part in policy.parts:
        if hasattr(part, "permits"):
            assert len(part.permits.free) == part.permits.limit - but
            assert not part.permits.waiters
    assert scopes() == ()
    assert remaining() == float("inf")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt("hand"), SystemExit(3)], ids=["hand", "exit"])
@pytest.mark.parametrize("case", SYNC)
def test_an_interrupted_sync_call(case, interruption, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise interruption

    with virtual_time(1000.0) as time:
        policy = case.policy()
        prepare(case, policy, time)
        before = figures(policy, case.counts)
        call = interrupt
        if case.where == "pause":
            monkeypatch.setattr(clock, "pause", interrupt)
            call = fails if "retry" in case.settings else int
            if "rate" in case.settings:
                policy.run(int)  # the next one has to wait
        held = []
        if case.where == "line":
            (part,) = policy.parts
            held.append(part.permits.free.pop())
            before = figures(policy, case.counts)
            monkeypatch.setattr(permits, "Event", type("Bell", (), {"wait": interrupt, "set": int}))
        with capture() as events, pytest.raises(type(interruption)) as caught:
            policy.run(call)
        assert caught.value is interruption
        assert figures(policy, case.counts) == before
        assert {each.kind for each in events} <= {"retry", "chaos", "half-open"}
        for _ in held:
            policy.parts[0].permits.give()
        nothing_is_held(policy)
        monkeypatch.undo()
        time.advance(10)
        assert policy.run(str, "well") == "well"
        assert phase(policy, case) == "closed"


async def _raise():
    raise OSError


async def calling(policy, call, *, others):
    try:
        await policy.call(call)
    finally:
        nothing_is_held(policy, but=others)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("case", ASYNC)
def test_a_cancelled_async_call(case, times):
    ended = []

    async def waits():
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("call")

    async def main(time):
        policy = case.policy()
        if not case.asynchronous_only:
            prepare(case, policy, time)
        call = waits
        if case.where == "pause":
            call = _raise if "retry" in case.settings else waits
            if "rate" in case.settings:
                await policy.call(asyncio.sleep, 0)
        before = figures(policy, case.counts)
        holder = asyncio.create_task(policy.call(asyncio.sleep, 20)) if case.where == "line" else None
        await asyncio.sleep(0)
        began = len(asyncio.all_tasks())
        task = asyncio.create_task(calling(policy, call, others=holder is not None))
        await asyncio.sleep(1e-4 if case.where == "pause" else 1)
        assert not task.done()
        with capture() as events:
            for each in range(times):
                task.cancel(f"because {each}")
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        assert task.cancelled()
        assert type(outcome) is asyncio.CancelledError
        assert events == []
        assert len(asyncio.all_tasks()) == began
        assert len(ended) == (0 if case.where != "inside" else 2 if case.name == "hedge running" else 1)
        if holder is not None:
            await holder
            before["bulkhead.usual_latency"] = policy.state()["bulkhead"].get("usual_latency")
            before = {name: value for name, value in before.items() if value is not None}
        assert figures(policy, case.counts) == before
        nothing_is_held(policy)
        await asyncio.sleep(10)
        assert await policy.call(asyncio.sleep, 0, "well") == "well"
        assert phase(policy, case) == "closed"
        assert not any(each.entries for table in alarms._tables.values() for each in table.values())

    with virtual_time(1000.0) as time:
        time.run(main(time))


@pytest.mark.parametrize("well", [True, False])
def test_a_call_from_before_the_trip_that_is_cancelled_after_it(well):
    async def main(time):
        policy = Policy("p", breaker=Breaker(consecutive=1, open=1.0))
        early = asyncio.create_task(policy.call(asyncio.sleep, 100))
        await asyncio.sleep(0.1)
        with pytest.raises(OSError):  # noqa: PT011 - made up here
            await policy.call(_raise)
        if well:
            await asyncio.sleep(2)
            await policy.call(asyncio.sleep, 0)
        before = policy.state()
        early.cancel()
        await asyncio.gather(early, return_exceptions=True)
        assert policy.state() == before
        assert policy.breaker.phase == ("closed" if well else "open")

    with virtual_time(1000.0) as time:
        time.run(main(time))


@pytest.mark.parametrize("case", [each for each in ASYNC if each.values[0].where == "inside"])
def test_a_cancelled_block(case):
    async def main(time):
        policy = case.policy()
        if not case.asynchronous_only:
            prepare(case, policy, time)
        without = (*case.counts, "retry.calls", "retry.recent_calls", "hedge.calls")
        before = figures(policy, without)

        async def block():
            async with policy.guard():
                await asyncio.sleep(30)

        async def tries():
            async for attempt in policy.attempts():
                async with attempt:
                    await asyncio.sleep(30)

        for form in (block, tries):
            task = asyncio.create_task(form())
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            assert figures(policy, without) == before
            nothing_is_held(policy)

    with virtual_time(1000.0) as time:
        time.run(main(time))


STREAMED = [each for each in SYNC if each.values[0].where == "inside" and "fallback" not in each.values[0].settings]


@pytest.mark.parametrize("case", STREAMED)
def test_a_stream_that_is_left(case):
    without = (*case.counts, "retry.calls", "retry.recent_calls", "breaker.ok", "breaker.recent_ok")
    ended = []

    async def main(time):
        policy = case.policy()
        prepare(case, policy, time)
        before = figures(policy, without)

        @policy
        async def numbers():
            try:
                for each in range(100):
                    yield each
                    await asyncio.sleep(1)
            finally:
                ended.append("async")

        async def read():
            async for _ in numbers():
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(2.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert figures(policy, without) == before
        nothing_is_held(policy)

        @policy
        def lines():
            try:
                yield from range(100)
            finally:
                ended.append("sync")

        stream = lines()
        assert next(stream) == 0
        stream.close()
        assert figures(policy, without) == before
        nothing_is_held(policy)

    with virtual_time(1000.0) as time:
        time.run(main(time))
    assert ended == ["async", "sync"]
