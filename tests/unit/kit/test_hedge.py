"""Hedges: one late call, two requests, one answer, and nobody left behind."""

# ruff: noqa: BLE001 - optional libraries; scenarios in one piece
import asyncio

import pytest

from atoll.kit import AttemptTimeout, Breaker, Hedge, InvalidPolicy, Policy, Retry, deadline, remaining
from atoll.kit.testing import capture, virtual_time


class Server:
    """Answers its n-th request after the n-th delay, or raises the n-th outcome."""

    def __init__(self, *plan):
        self.plan = plan
        self.started = 0
        self.cancelled = []
        self.tasks = []
        self.left = []

    async def __call__(self, *, tag="answer"):
        number, self.started = self.started, self.started + 1
        delay, outcome = self.plan[number] if isinstance(self.plan[number], tuple) else (self.plan[number], None)
        self.tasks.append(asyncio.current_task())
        self.left.append(remaining())
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if outcome is not None:
            raise outcome
        return f"{tag} {number}"


def hedged(**changes):
    return Policy("p", **{"hedge": Hedge(after=1.0), "idempotent": True} | changes)


@pytest.fixture
def clock():
    with virtual_time(1000.0) as time:
        yield time


def run(clock, policy, server):
    """(answer or error, seconds) of one call; nothing of it may be left."""

    async def main():
        began = clock.now()
        try:
            answer = await policy.call(server, tag="x")
        except Exception as error:
            answer = error
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert asyncio.current_task().cancelling() == 0
        return answer, pytest.approx(clock.now() - began)

    return clock.run(main())


def test_a_quick_answer_is_asked_for_once_in_the_callers_task(clock):
    server = Server(0.5)
    assert run(clock, hedged(), server) == ("x 0", 0.5)
    assert server.started == 1


def test_the_hedge_wins_and_the_first_is_cancelled(clock):
    server, policy = Server(10, 0.2), hedged()
    with capture() as seen:
        assert run(clock, policy, server) == ("x 1", 1.2)
    assert server.cancelled == [0]
    assert [each.kind for each in seen] == ["hedge", "hedge-won"]
    assert policy.state()["hedge"]["won"] == 1


def test_the_first_wins_and_the_hedge_is_cancelled_and_waited_for(clock):
    server = Server(1.5, 10)
    assert run(clock, hedged(), server) == ("x 0", 1.5)
    assert server.cancelled == [1]


def test_a_failed_first_waits_for_its_hedge(clock):
    assert run(clock, hedged(), Server((1.5, OSError("first")), 2)) == ("x 1", 3)


def test_a_failed_hedge_leaves_the_first_alone(clock):
    assert run(clock, hedged(), Server(3, (0.1, OSError("second")))) == ("x 0", 3)


def test_if_all_fail_the_first_error_is_told(clock):
    first = OSError("first")
    answer, took = run(clock, hedged(), Server((1.5, first), (2, OSError("second"))))
    assert (answer, took) == (first, 3)


def test_a_failure_before_the_hedge_is_not_hedged(clock):
    answer, took = run(clock, hedged(), Server((0.5, OSError("first"))))
    assert (str(answer), took) == ("first", 0.5)


def test_more_than_one_hedge(clock):
    server = Server(10, 10, 0.5)
    assert run(clock, hedged(hedge=Hedge(after=1.0, extra=2)), server) == ("x 2", 2.5)
    assert server.cancelled == [0, 1]


def test_the_budget_ends_hedging(clock):
    policy = hedged(hedge=Hedge(after=1.0, floor=2, budget=0.01))
    servers = [Server(3, 0.1) for _ in range(4)]
    assert [run(clock, policy, each)[0] for each in servers] == ["x 1", "x 1", "x 0", "x 0"]
    server = Server((3, OSError("late")))
    assert str(run(clock, policy, server)[0]) == "late"


def test_the_callers_cancellation_ends_all(clock):
    server, policy = Server(10, 10), hedged()

    async def main():
        task = asyncio.create_task(policy.call(server))
        await asyncio.sleep(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(server.cancelled) == [0, 1]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())


def test_a_cancellation_at_the_moment_the_hedge_wins_is_not_swallowed(clock):
    policy = hedged()

    async def main():
        task = None

        async def first_or_hedge():
            if asyncio.current_task() is task:
                await asyncio.sleep(10)
            asyncio.get_running_loop().call_soon(task.cancel)  # together with the hedge's own cancellation
            return "hedge"

        task = asyncio.create_task(policy.call(first_or_hedge))
        with pytest.raises(asyncio.CancelledError):
            await task

    clock.run(main())


def test_a_first_that_swallows_its_cancellation_still_answers(clock):
    policy = hedged()

    async def main():
        me = asyncio.current_task()

        async def stubborn():
            if asyncio.current_task() is not me:
                return "hedge"
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                return "stubborn"

        assert await policy.call(stubborn) == "stubborn"
        assert me.cancelling() == 0

        async def replaces():
            if asyncio.current_task() is not me:
                return "hedge"
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise OSError from None

        assert await policy.call(replaces) == "hedge"

    clock.run(main())


def test_hedges_have_their_own_timeout_and_breaker_inside(clock):
    policy = hedged(timeout=2.0, breaker=Breaker(consecutive=2))
    answer, took = run(clock, policy, Server(10, 10))
    assert isinstance(answer, AttemptTimeout)
    assert took == 3
    assert policy.state()["breaker"]["phase"] == "open"


def test_a_hedge_under_retry_and_deadline(clock):
    server = Server(10, 10, 0.1)
    policy = hedged(timeout=1.5, retry=Retry(1, base=0, cap=0))
    answer, took = run(clock, policy, server)
    assert (answer, took) == ("x 2", 2.6)

    server = Server(9, 0.1)

    async def main():
        async with deadline(5, "request"):
            assert await policy.replace(timeout=None).call(server) == "answer 1"

    clock.run(main())
    assert server.left == pytest.approx([5, 4])


def test_the_delay_is_learned_also_from_hedged_calls(clock):
    policy = hedged(hedge=Hedge(after="p95", first_after=9))

    async def main():
        for number in range(3200):
            await policy.call(asyncio.sleep, 1.0 if number % 10 else 0.1)

    clock.run(main())
    assert policy.state()["hedge"]["after"] == pytest.approx(1.0, rel=0.15)
    part = policy.parts[0]
    part.window.good = 32
    before = part._latency.count
    part.late(1.0)
    part.window.good = 33
    part.late(1.0)
    assert part._latency.count == before + 1


def test_only_where_it_does_no_harm():
    with pytest.raises(InvalidPolicy, match="idempotent"):
        Policy("p", hedge=Hedge())
    with pytest.raises(InvalidPolicy, match="event loop"):
        hedged().run(str)
    with pytest.raises(InvalidPolicy, match="event loop"):
        hedged()(lambda: None)


def test_outside_of_a_task_the_error_is_clear():
    async def f():
        return 1

    with pytest.raises(RuntimeError, match="no running event loop"):
        hedged()(f)().send(None)
