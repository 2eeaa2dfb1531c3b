"""Time-outs: the rules of asyncio.timeout, on a shared queue."""

# ruff: noqa: SIM105 - optional libraries; scenarios in one piece
import asyncio
import threading
import time
from functools import partial

import pytest

from atoll.kit import AttemptTimeout, Budget, DeadlineExceeded, Pipeline, Policy, Retry, deadline, remaining
from atoll.kit.aio.alarms import _ambient, table_for
from atoll.kit.testing import capture, virtual_time


def test_expiry_is_a_timeout_error_at_the_right_moment():
    with virtual_time() as clock:
        policy = Policy("slow", timeout=0.5)

        async def main():
            began = clock.now()
            with pytest.raises(AttemptTimeout) as caught:
                await policy.call(asyncio.sleep, 5)
            assert isinstance(caught.value, TimeoutError)
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)
            assert clock.now() - began == pytest.approx(0.5)
            assert asyncio.current_task().cancelling() == 0

        clock.run(main())


def test_the_callees_own_timeout_error_passes_unchanged():
    mine = TimeoutError("mine")

    async def fail():
        raise mine

    async def main():
        with pytest.raises(TimeoutError) as caught:
            await Policy("p", timeout=1)(fail)()
        assert caught.value is mine

    asyncio.run(main())


def test_it_runs_in_the_callers_task_and_context():
    async def who():
        return asyncio.current_task()

    async def main():
        assert await Policy("p", timeout=1)(who)() is asyncio.current_task()

    asyncio.run(main())


def test_cancellation_from_outside_is_never_swallowed():
    with virtual_time() as clock:

        async def main():
            task = asyncio.create_task(Policy("p", timeout=5).call(asyncio.sleep, 10))
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()

        clock.run(main())


def test_cancellation_from_outside_while_expiring_wins():
    with virtual_time() as clock:

        async def stubborn():
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
                raise

        async def main():
            task = asyncio.create_task(Policy("p", timeout=1)(stubborn)())
            await asyncio.sleep(1.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        clock.run(main())


def test_an_answer_after_a_swallowed_expiry_is_kept_and_leaves_no_cancellation_behind():
    with virtual_time() as clock:

        async def stubborn():
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                return "answer"

        async def main():
            assert await Policy("p", timeout=1)(stubborn)() == "answer"
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)

        clock.run(main())


def test_an_earlier_cancellation_request_is_accounted_for():
    with virtual_time() as clock:

        async def main():
            asyncio.current_task().cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass  # swallowed without uncancel: the count stays 1
            with pytest.raises(AttemptTimeout):
                await Policy("p", timeout=1).call(asyncio.sleep, 10)
            assert asyncio.current_task().cancelling() == 1

        clock.run(main())


@pytest.mark.parametrize("count", [3, 30])
def test_many_calls_expire_in_order_and_only_those_that_are_late(count):
    with virtual_time() as clock:
        policy = Policy("p", timeout=1.0)
        ended = []

        async def one(number):
            await asyncio.sleep(number / count)
            try:
                await policy.call(asyncio.sleep, 0.5 if number % 2 else 3)
                ended.append((number, "well", clock.now()))
            except AttemptTimeout:
                ended.append((number, "late", clock.now()))

        async def main():
            began = clock.now()
            await asyncio.gather(*map(one, range(count)))
            assert sorted(number for number, how, _ in ended if how == "late") == list(range(0, count, 2))
            for number, how, at in ended:
                assert at - began == pytest.approx(number / count + (0.5 if how == "well" else 1.0))

        clock.run(main())


def test_nested_policies_blame_the_one_that_expired():
    with virtual_time() as clock:
        inner, outer = Policy("inner", timeout=2), Policy("outer", timeout=1)

        async def main():
            with pytest.raises(AttemptTimeout, match="outer"):
                await outer.call(inner.call, asyncio.sleep, 10)
            with pytest.raises(AttemptTimeout, match="inner"):
                await Policy("outer", timeout=9).call(inner.call, asyncio.sleep, 10)
            with pytest.raises(AttemptTimeout, match="same"):  # the outer one, of the same length
                await Policy("same", timeout=2).call(inner.call, asyncio.sleep, 10)

        clock.run(main())


def test_the_attempt_shortens_the_ambient_deadline_and_gives_it_back():
    with virtual_time() as clock:
        seen = []

        async def look():
            seen.append(remaining())

        def look_sync():
            seen.append(remaining())

        async def main():
            async with deadline(10, "all"):
                await Policy("p", timeout=2)(look)()
                Policy("p", timeout=2)(look_sync)()
                assert remaining() == pytest.approx(10)
            async with deadline(1, "all"):
                await Policy("p", timeout=2)(look)()
                Policy("p", timeout=2)(look_sync)()

        clock.run(main())
        assert seen == pytest.approx([2, 2, 1, 1])


def test_the_budget_is_for_the_whole_and_names_itself():
    with virtual_time() as clock:
        policy = Policy("p", budget=2.5, timeout=1, retry=Retry(1, base=0.1, cap=0.1))

        async def main():
            began = clock.now()
            with pytest.raises(DeadlineExceeded) as caught:
                await Policy("whole", budget=1).call(asyncio.sleep, 3)
            assert caught.value.scopes == ("whole (1 s)",)
            assert clock.now() - began == pytest.approx(1)
            with pytest.raises(AttemptTimeout):
                await policy.call(asyncio.sleep, 9)

        clock.run(main())


def test_the_events_say_what_ran_out_and_how_much_it_was():
    with virtual_time() as clock:

        async def main():
            with capture() as seen:
                with pytest.raises(AttemptTimeout):
                    await Policy("slow", timeout=0.5).call(asyncio.sleep, 5)
                with pytest.raises(DeadlineExceeded):
                    await Policy("whole", budget=2).call(asyncio.sleep, 5)
            told = [(each.policy, each.kind, each.reason, each.value) for each in seen]
            assert told == [
                ("slow", "timeout", "attempt took more than 0.5 s", 0.5),
                ("whole", "timeout", "whole", 2),
            ]

        clock.run(main())


def test_a_child_task_keeps_the_deadline_it_inherited():
    with virtual_time() as clock:
        policy = Policy("p", timeout=9)

        async def main():
            began = clock.now()
            async with deadline(1, "request"):
                children = [asyncio.create_task(policy.call(asyncio.sleep, 5)) for _ in range(3)]
            results = await asyncio.gather(*children, return_exceptions=True)
            assert [type(each) for each in results] == [DeadlineExceeded] * 3
            assert results[0].scopes == ("request (1 s)",)
            assert clock.now() - began == pytest.approx(1)

        clock.run(main())


def test_no_time_left_means_nothing_is_sent():
    sent = []

    async def send():
        sent.append(1)

    async def main():
        policy = Policy("p", timeout=1)
        with pytest.raises(DeadlineExceeded):
            async with deadline(0, "gone"):
                await policy(send)()
        with deadline(0, "gone"), pytest.raises(DeadlineExceeded):
            policy.run(sent.append, 1)

    asyncio.run(main())
    assert not sent


def test_outside_of_a_task_the_error_is_clear():
    async def f():
        return 1

    coroutine = Policy("p", timeout=1)(f)()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)

    loop = asyncio.new_event_loop()
    outcome = []

    def without_task():
        try:
            Policy("p", timeout=1)(f)().send(None)
        except RuntimeError as error:
            outcome.append(str(error))

    loop.call_soon(without_task)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert "inside of an asyncio task" in outcome[0]


def test_real_time_works_as_well():
    async def main():
        began = time.monotonic()
        with pytest.raises(AttemptTimeout):
            await Policy("p", timeout=0.02).call(asyncio.sleep, 30)
        assert time.monotonic() - began < 10

    asyncio.run(main())


def test_a_pipeline_may_have_two_limits():
    with virtual_time() as clock:

        async def main():
            with pytest.raises(DeadlineExceeded):
                await Pipeline("p", Budget(2), Budget(1)).call(asyncio.sleep, 3)

        clock.run(main())


# What mutation testing found that nothing else noticed.


def test_loops_that_were_closed_in_other_threads_are_forgotten():
    policy = Policy("p", timeout=0.321)
    kept = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: asyncio.run(policy.call(asyncio.sleep, 0)))
        thread.start()
        thread.join(20)
    assert len(table_for(0.321)) >= 1
    loop = asyncio.new_event_loop()
    loop.run_until_complete(policy.call(asyncio.sleep, 0))
    assert list(table_for(0.321)) == [threading.get_ident()]
    again = partial(loop.run_until_complete, policy.call(asyncio.sleep, 0, "moved"))
    other = threading.Thread(target=lambda: kept.append(again()))
    other.start()
    other.join(20)
    assert kept == ["moved"]
    assert threading.get_ident() not in table_for(0.321)
    loop.close()


def test_the_alarms_of_a_deadline_go_with_it():
    async def main():
        loop = asyncio.get_running_loop()
        async with deadline(1, "request"):
            policy = Policy("p", timeout=50)
            tasks = [asyncio.create_task(policy.call(asyncio.sleep, 0.5)) for _ in range(3)]
            await asyncio.sleep(0.1)
            (shared,) = (alarms for (each, _), alarms in _ambient.items() if each is loop)
            assert set(tasks) <= set(shared.entries)
            await asyncio.gather(*tasks)
        await asyncio.sleep(2)
        assert not any(each is loop for each, _ in _ambient)

    with virtual_time() as time:
        time.run(main())


def test_nothing_is_begun_when_the_time_is_just_up():
    called = []

    async def work():
        called.append(1)

    async def main():
        with deadline(0, "request"), pytest.raises(DeadlineExceeded):
            await Policy("p", timeout=50).call(work)

    with virtual_time() as time:
        time.run(main())
    assert called == []
