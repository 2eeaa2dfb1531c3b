"""Experiments in threads and in event loops: the caller never notices, and everything is counted."""

import asyncio
import contextvars
import copy
import gc
import inspect
import pickle
import threading
import weakref

import pytest

from atoll.kit import (
    DeadlineExceeded,
    Experiment,
    InvalidPolicy,
    Policy,
    deadline,
    experiment,
    experiments,
    remaining,
    scopes,
)
from atoll.kit.flags.seen import see, watching
from atoll.kit.testing import virtual_time

WAIT = 20


@pytest.fixture
def clock():
    with virtual_time(1000.0) as time:
        yield time


class Both:
    """The same scenario for a sync and an async control: how to make a function, and how to run a call to its end."""

    def __init__(self, kind):
        self.kind = kind

    def function(self, f):
        if self.kind == "sync":
            return f

        async def asynchronous(*args, **kwargs):
            return f(*args, **kwargs)

        return asynchronous

    def calls(self, one, f, *arguments):
        """Outcomes of `f` for each of `arguments`, and all candidates done."""
        if self.kind == "sync":
            outcomes = [outcome(f, each) for each in arguments]
            assert one.drain(WAIT)
            return outcomes

        async def main():
            outcomes = [await async_outcome(f, each) for each in arguments]
            assert await asyncio.to_thread(one.drain, WAIT)
            return outcomes

        return asyncio.run(main())


def outcome(f, *args):
    try:
        return f(*args)
    except BaseException as error:  # noqa: BLE001 - that is the outcome
        return error


async def async_outcome(f, *args):
    try:
        return await f(*args)
    except Exception as error:  # noqa: BLE001 - that is the outcome
        return error


@pytest.fixture(params=["sync", "async"])
def both(request):
    return Both(request.param)


@pytest.fixture(params=["after", "concurrent"])
def mode(request):
    return request.param


def counted(one, *names):
    state = one.state()
    return tuple(state[each] for each in names)


def raising(error):
    def f(*_args):
        raise error

    return f


def settled(one):
    """Every call that is over ended as exactly one thing."""
    state = one.state()
    ends = ("skipped", "dropped", "cancelled", "match", "mismatch", "ignored", "timeout")
    return state["calls"] == sum(state[each] for each in ends) + state["outstanding"]


def test_the_control_answers_and_the_outcomes_are_compared(both, mode):
    results = []
    one = experiment("e", candidate=both.function(lambda x: x * 2 if x < 3 else -1), mode=mode, publish=results.append)
    f = one(both.function(lambda x: x + x))
    assert both.calls(one, f, 1, 2, 3) == [2, 4, 6]
    assert counted(one, "calls", "match", "mismatch", "faults", "outstanding") == (3, 2, 1, 0, 0)
    assert sorted((each.kind, each.control.value, each.candidate.value, each.args) for each in results) == [
        ("match", 2, 2, (1,)),
        ("match", 4, 4, (2,)),
        ("mismatch", 6, -1, (3,)),
    ]
    assert one.example == type(one.example)("mismatch", "3", "6", "-1")
    assert one.state()["control_seconds"] >= 0 <= one.state()["candidate_seconds"]
    assert settled(one)


def test_errors_are_compared_by_type_and_message(both, mode):
    error = ValueError("no")
    candidates = {
        "same": raising(ValueError("no")),
        "message": raising(ValueError("never")),
        "type": raising(KeyError("no")),
        "value": lambda _: 1,
    }
    one = experiment("e", candidate=both.function(lambda x: candidates[x](x)), mode=mode)
    f = one(both.function(raising(error)))
    assert both.calls(one, f, *candidates) == [error] * 4
    assert counted(one, "match", "mismatch") == (1, 3)
    assert one.example.control == "raised ValueError('no')"
    other = experiment(
        "e", candidate=both.function(raising(KeyError())), compare_errors=lambda a, b: a and b, mode=mode
    )
    assert both.calls(other, other(both.function(raising(error))), 1) == [error]
    assert counted(other, "match", "mismatch") == (1, 0)


def test_an_answer_against_an_error_differs(both, mode):
    one = experiment("e", candidate=both.function(raising(SystemExit(3))), mode=mode)
    assert both.calls(one, one(both.function(lambda _: 1)), 1) == [1]
    assert counted(one, "mismatch") == (1,)
    assert one.example.candidate == "raised SystemExit(3)"


def test_what_is_said_about_comparing_counts(both, mode):
    published = []
    one = experiment(
        "e",
        candidate=both.function(lambda x: x + 0.1),
        compare=lambda a, b: abs(a - b) < 0.2,
        clean=str,
        publish=published.append,
        mode=mode,
    )
    assert both.calls(one, one(both.function(lambda x: x)), 1) == [1]
    assert [(each.kind, each.control.value, each.candidate.value) for each in published] == [("match", "1", "1.1")]
    ignoring = experiment(
        "e",
        candidate=both.function(lambda x: -x),
        ignore=lambda control, candidate: control.value == 1 and candidate.value == -1,
        mode=mode,
    )
    assert both.calls(ignoring, ignoring(both.function(lambda x: x)), 1, 2) == [1, 2]
    assert counted(ignoring, "ignored", "mismatch") == (1, 1)
    assert settled(ignoring)


def test_a_flag_says_which_calls(both, mode):
    one = experiment("e", candidate=both.function(lambda _: 0), run_if=lambda x: x > 1, mode=mode)
    assert both.calls(one, one(both.function(lambda x: x)), 1, 2) == [1, 2]
    assert counted(one, "calls", "skipped", "mismatch") == (2, 1, 1)
    off = experiment("e", candidate=both.function(lambda _: 0), run_if=False, mode=mode)
    assert both.calls(off, off(both.function(lambda x: x)), 1) == [1]
    assert counted(off, "calls", "skipped", "mismatch") == (1, 1, 0)


def _array():
    class Array:
        def __eq__(self, other):
            return Array()

        def __bool__(self):
            raise ValueError("which element?")

        __hash__ = None

    return Array()


class Silent:
    def __repr__(self):
        raise SystemExit


@pytest.mark.parametrize(
    ("place", "settings", "ends"),
    [
        ("run_if", {"run_if": raising(OSError())}, "skipped"),
        ("snapshot", {"snapshot": raising(OSError())}, None),
        ("compare", {"compare": raising(OSError())}, None),
        ("compare", {"compare": raising(SystemExit())}, None),
        ("compare", {"compare": lambda *_: _array()}, None),
        ("ignore", {"ignore": raising(OSError())}, None),
        ("clean", {"clean": raising(OSError())}, "mismatch"),
        ("publish", {"publish": raising(OSError())}, "mismatch"),
        ("example", {"clean": lambda _: Silent()}, "mismatch"),
    ],
)
def test_a_fault_of_the_experiment_stays_inside_and_is_counted(both, mode, place, settings, ends):
    one = experiment("e", candidate=both.function(lambda _: 0), mode=mode, **settings)
    assert both.calls(one, one(both.function(lambda x: x)), 1, 2) == [1, 2]
    assert counted(one, "calls", "faults", "outstanding") == (2, 2, 0)
    assert one.state()["problem"].startswith(f"{place}: ")
    if ends:
        assert counted(one, ends) == (2,)


def test_errors_that_cannot_be_compared_are_a_fault(both, mode):
    one = experiment("e", candidate=both.function(raising(OSError())), compare_errors=raising(KeyError("x")), mode=mode)
    error = OSError()
    assert both.calls(one, one(both.function(raising(error))), 1) == [error]
    assert one.state()["problem"] == "compare_errors: KeyError: 'x'"


def test_what_was_not_cleaned_is_not_published(both):
    published = []
    one = experiment("e", candidate=both.function(lambda _: 0), clean=raising(OSError()), publish=published.append)
    both.calls(one, one(both.function(lambda x: x)), 1)
    assert published == []
    assert one.example is None


def test_a_snapshot_is_of_the_moment(both, mode):
    def add(basket):
        basket.append("control")
        return basket

    seen = []

    def candidate(basket):
        seen.append(list(basket))
        return [*basket, "control"]

    one = experiment("e", candidate=both.function(candidate), snapshot=copy.deepcopy, mode=mode)
    f = one(both.function(add))

    def change(basket):
        result = f(basket)
        basket.clear()
        return result

    async def change_async(basket):
        result = await f(basket)
        basket.clear()
        return result

    both.calls(one, change if both.kind == "sync" else change_async, ["item"])
    assert seen == [["item"]]
    assert counted(one, "match", "mismatch", "faults") == (1, 0, 0)


def test_a_snapshot_of_the_answer_may_fail_alone(both, mode):
    def snapshot(of):
        if not isinstance(of, tuple):
            raise OSError("too big")
        return of

    one = experiment("e", candidate=both.function(lambda x: x), snapshot=snapshot, mode=mode)
    assert both.calls(one, one(both.function(lambda x: x)), 1) == [1]
    assert counted(one, "faults", "match", "outstanding") == (1, 0, 0)
    assert one.state()["problem"] == "snapshot: OSError: too big"


def test_the_context_is_the_callers_and_changes_stay_inside(both, mode):
    user = contextvars.ContextVar("user", default="nobody")
    seen = []

    def candidate(_x):
        seen.append(user.get())
        user.set("candidate")

    one = experiment("e", candidate=both.function(candidate), mode=mode)
    user.set("ann")
    both.calls(one, one(both.function(lambda _: None)), 1, 2)
    assert seen == ["ann", "ann"]
    assert user.get() == "ann"


def test_what_the_candidate_gets_of_a_flag_is_not_in_the_callers_answer(both, mode):
    def candidate(_x):
        see("new-checkout", "on")

    one = experiment("e", candidate=both.function(candidate), mode=mode)
    seen = {}
    with watching(seen):
        both.calls(one, one(both.function(lambda _: see("old", "off"))), 1)
    assert counted(one, "match", "outstanding") == (1, 0)
    assert seen == {"old": "off"}


async def test_nor_is_what_the_comparison_gets_where_the_control_comes_last():
    done = asyncio.Event()

    async def candidate():
        done.set()

    async def control():
        await done.wait()
        await asyncio.sleep(0)

    def compare(*_):
        see("tolerant", "on")
        return True

    one = experiment("e", candidate=candidate, compare=compare, mode="concurrent")
    seen = {}
    with watching(seen):
        await one(control)()
        assert await asyncio.to_thread(one.drain, WAIT)
    assert counted(one, "match", "outstanding") == (1, 0)
    assert seen == {}


def test_the_candidate_has_a_deadline_of_its_own(both, mode):
    seen = []
    one = experiment("e", candidate=both.function(lambda _: seen.append((scopes(), remaining()))), timeout=7, mode=mode)
    f = one(both.function(lambda _: remaining()))
    with deadline(3.0, "request"):
        (left,) = both.calls(one, f, 1)
    assert left <= 3
    ((names, its),) = seen
    assert names == ("experiment e (7 s)",)
    assert 3 < its <= 7


def test_a_deadline_that_passed_is_not_the_candidates(both):
    seen = []
    one = experiment("e", candidate=both.function(lambda _: seen.append(remaining())), timeout=7)
    with deadline(0, "late"):
        both.calls(one, one(both.function(lambda _: None)), 1)
    assert seen[0] > 3


# Sync.


def test_a_slow_sync_candidate_keeps_nobody_waiting_and_full_means_dropped():
    go, running = threading.Event(), threading.Event()

    def candidate(_x):
        running.set()
        assert go.wait(WAIT)
        return 1

    one = experiment("e", candidate=candidate, queue=2)
    f = one(lambda _: 1)
    assert f(1) == 1
    assert running.wait(WAIT)
    assert [f(2), f(3), f(4)] == [1, 1, 1]
    assert counted(one, "calls", "dropped", "outstanding") == (4, 2, 2)
    assert not one.drain(0)
    assert settled(one)
    go.set()
    assert one.drain(WAIT)
    assert counted(one, "match", "dropped") == (2, 2)


def test_concurrent_is_at_the_same_time():
    meet = threading.Barrier(2)
    one = experiment("e", candidate=lambda: meet.wait(WAIT) >= 0, mode="concurrent")
    assert one(lambda: meet.wait(WAIT) >= 0)() is True
    assert one.drain(WAIT)
    assert counted(one, "match") == (1,)


def test_several_threads_if_asked_for():
    meet = threading.Barrier(3)
    one = experiment("e", candidate=lambda: meet.wait(WAIT) >= 0, parallel=3)
    f = one(lambda: True)
    assert [f(), f(), f()] == [True] * 3
    assert one.drain(WAIT)
    assert counted(one, "match") == (3,)


@pytest.mark.parametrize("first", ["control", "candidate"])
def test_whoever_comes_last_it_is_not_the_caller_who_compares(first):
    done = threading.Event()
    threads = []

    def control():
        if first == "candidate":
            assert done.wait(WAIT)
        return 1

    def candidate():
        if first == "control":
            assert done.wait(WAIT)
        return 1

    def compare(a, b):
        threads.append(threading.current_thread())
        return a == b

    one = experiment("e", candidate=candidate, compare=compare, mode="concurrent")
    f = one(control)
    if first == "control":
        f()
        done.set()
    else:
        caller = threading.Thread(target=f)
        caller.start()
        # the candidate's outcome is there once its thread is free for the next job
        one._runner._crew.put(done.set)
        caller.join(WAIT)
    assert one.drain(WAIT)
    assert counted(one, "match") == (1,)
    assert [each.name for each in threads] == ["experiment e"]


def test_a_sync_candidate_over_its_time_is_not_compared(clock):
    def candidate(seconds):
        clock.advance(seconds)
        return "other"

    published = []
    one = experiment("e", candidate=candidate, timeout=2, publish=published.append)
    f = one(lambda _: "mine")
    f(3)
    assert one.drain(WAIT)
    f(1)
    assert one.drain(WAIT)
    assert counted(one, "timeout", "mismatch") == (1, 1)
    assert [each.kind for each in published] == ["timeout", "mismatch"]
    assert one.state()["candidate_seconds"] == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_sync_control_ends_the_trial(error, mode):
    go, began = threading.Event(), threading.Event()

    def candidate():
        began.set()
        assert go.wait(WAIT)

    def control():
        if mode == "concurrent":
            assert began.wait(WAIT)
        raise error

    one = experiment("e", candidate=candidate, mode=mode)
    f = one(control)
    assert outcome(f) is error
    if mode == "concurrent":
        began.clear()
        queued = outcome(one(raising(error)))  # behind the one that is running
        assert queued is error
        assert not began.is_set()
    go.set()
    assert one.drain(WAIT)
    assert counted(one, "calls", "cancelled")[0] == counted(one, "cancelled")[0]
    assert counted(one, "mismatch", "match", "faults") == (0, 0, 0)
    assert settled(one)


def test_an_interrupted_control_whose_candidate_is_done_already():
    done = threading.Event()

    def control():
        one._runner._crew.put(done.set)
        assert done.wait(WAIT)
        raise KeyboardInterrupt

    one = experiment("e", candidate=lambda: 1, mode="concurrent")
    assert isinstance(outcome(one(control)), KeyboardInterrupt)
    assert counted(one, "cancelled", "outstanding") == (1, 0)


def test_a_keyboard_interrupt_in_a_thread_is_not_somebodys_hand():
    one = experiment("e", candidate=lambda: 1, compare=raising(KeyboardInterrupt()))
    f = one(lambda: 1)
    f()
    assert one.drain(WAIT)
    later = experiment("e", candidate=raising(KeyboardInterrupt()))
    later(lambda: 1)()
    assert later.drain(WAIT)
    assert counted(later, "mismatch") == (1,)
    f()  # its thread goes on
    assert one.drain(WAIT)
    assert counted(one, "calls", "outstanding") == (2, 0)


def test_no_thread_to_be_had_is_a_fault(monkeypatch, mode):
    one = experiment("e", candidate=lambda: 1, mode=mode)
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
    assert one(lambda: 1)() == 1
    assert counted(one, "calls", "faults", "outstanding") == (1, 1, 0)
    assert one.state()["problem"] == "start: RuntimeError: can't start new thread"


def test_its_threads_end_with_it():
    one = experiment("short-lived", candidate=lambda: 1, parallel=2)
    f = one(lambda: 1)
    f()
    f()
    assert one.drain(WAIT)
    workers = [each for each in threading.enumerate() if each.name == "experiment short-lived"]
    assert len(workers) == 2
    known = weakref.ref(one)
    del one, f
    gc.collect()
    assert known() is None
    for each in workers:
        each.join(WAIT)
    assert not any(each.is_alive() for each in workers)


def test_nothing_of_a_call_is_kept_alive(both, mode):
    class Big:
        pass

    def control(_big):
        raise ValueError

    def candidate(_big):
        raise KeyError

    one = experiment("e", candidate=both.function(candidate), mode=mode)
    f = one(both.function(control))
    big = Big()
    known = weakref.ref(big)
    gc.collect()
    gc.disable()
    try:
        if both.kind == "sync":
            outcome(f, big)
            assert one.drain(WAIT)
            one._runner._crew.put((flushed := threading.Event()).set)
            assert flushed.wait(WAIT)
            del big
            assert known() is None
        else:

            async def main():
                nonlocal big
                await asyncio.gather(f(big), return_exceptions=True)
                await asyncio.to_thread(one.drain, WAIT)
                del big
                await asyncio.sleep(0)
                assert known() is None

            asyncio.run(main())
    finally:
        gc.enable()
    assert one.example is not None


# Async.


def test_an_async_candidate_starts_after_the_reply(clock):
    order = []

    async def control():
        await asyncio.sleep(1)
        order.append("control")
        return 1

    async def candidate():
        order.append("candidate")
        await asyncio.sleep(1)
        order.append("candidate done")
        return 1

    one = experiment("e", candidate=candidate)

    async def main():
        began = clock.now()
        await one(control)()
        order.append("reply")
        assert clock.now() - began == 1
        await asyncio.sleep(5)

    clock.run(main())
    assert order == ["control", "reply", "candidate", "candidate done"]
    assert counted(one, "match") == (1,)


@pytest.mark.parametrize(("mine", "its"), [(2, 1), (1, 2), (1, 1)])
def test_an_async_candidate_runs_beside_the_control(clock, mine, its):
    async def candidate():
        return await asyncio.sleep(its, "x")

    one = experiment("e", candidate=candidate, mode="concurrent")

    @one
    async def control():
        return await asyncio.sleep(mine, "x")

    async def main():
        began = clock.now()
        assert await control() == "x"
        assert clock.now() - began == mine
        await asyncio.sleep(5)

    clock.run(main())
    assert counted(one, "match", "outstanding") == (1, 0)
    assert counted(one, "candidate_seconds") == (its,)


def test_async_candidates_wait_in_line_and_are_dropped_when_it_is_full(clock):
    most, running = 0, 0

    async def candidate():
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    one = experiment("e", candidate=candidate, parallel=2, queue=5)

    @one
    async def control():
        pass

    async def main():
        began = clock.now()
        for _ in range(8):
            await control()
        assert clock.now() == began
        assert counted(one, "dropped", "outstanding") == (3, 5)
        await asyncio.sleep(10)

    clock.run(main())
    assert most == 2
    assert counted(one, "match", "dropped", "outstanding") == (5, 3, 0)


def test_an_async_candidate_is_ended_in_time(clock):
    async def candidate():
        await asyncio.sleep(100)

    one = experiment("e", candidate=candidate, timeout=2)

    @one
    async def control():
        return "mine"

    async def main():
        await control()
        await asyncio.sleep(2.5)
        assert counted(one, "timeout", "outstanding") == (1, 0)

    clock.run(main())
    assert counted(one, "match", "mismatch", "faults") == (0, 0, 0)


def test_what_the_candidate_raises_by_itself_is_its_outcome(clock):
    errors = iter([asyncio.CancelledError(), TimeoutError(), DeadlineExceeded("other"), SystemExit(1)])

    async def candidate():
        raise next(errors)

    one = experiment("e", candidate=candidate)

    @one
    async def control():
        return "mine"

    async def main():
        for _ in range(4):
            await control()
            await asyncio.sleep(1)

    clock.run(main())
    assert counted(one, "mismatch", "timeout", "faults", "outstanding") == (4, 0, 0, 0)


def test_a_cancelled_caller_takes_the_candidate_along(clock, mode):
    ended = []

    async def candidate():
        try:
            await asyncio.sleep(100)
        finally:
            ended.append("candidate")

    one = experiment("e", candidate=candidate, mode=mode, timeout=1000)

    @one
    async def control():
        await asyncio.sleep(100)

    async def main():
        callers = [asyncio.create_task(control()) for _ in range(3)]
        await asyncio.sleep(1)
        for each in callers:
            each.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*callers, return_exceptions=True)
        )
        await asyncio.sleep(1)
        assert counted(one, "calls", "cancelled", "outstanding") == (3, 3, 0)

    clock.run(main())
    assert ended == (["candidate"] if mode == "concurrent" else [])
    assert counted(one, "faults", "dropped") == (0, 0)


def test_the_next_in_line_begins_where_a_cancelled_one_ended(clock):
    order = []

    async def candidate(name, seconds):
        order.append(name)
        await asyncio.sleep(seconds)

    one = experiment("e", candidate=candidate, mode="concurrent", timeout=1000)

    @one
    async def control(_name, seconds):
        await asyncio.sleep(seconds)

    async def main():
        first = asyncio.create_task(control("first", 100))
        await asyncio.sleep(1)
        second = asyncio.create_task(control("second", 1))
        await asyncio.sleep(5)
        assert order == ["first"]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.sleep(5)
        assert second.done()

    clock.run(main())
    assert order == ["first", "second"]
    assert counted(one, "cancelled", "match", "outstanding") == (1, 1, 0)


def test_a_candidate_that_will_not_be_cancelled_is_over_all_the_same(clock):
    async def candidate():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return 1

    one = experiment("e", candidate=candidate, mode="concurrent", timeout=1000)

    @one
    async def control():
        await asyncio.sleep(100)

    async def main():
        caller = asyncio.create_task(control())
        await asyncio.sleep(1)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await asyncio.sleep(1)
        assert counted(one, "cancelled", "outstanding", "match", "mismatch") == (1, 0, 0, 0)

    clock.run(main())


def test_a_candidate_that_is_done_before_the_caller_is_cancelled(clock):
    async def candidate():
        return 1

    one = experiment("e", candidate=candidate, mode="concurrent")

    @one
    async def control():
        await asyncio.sleep(100)

    async def main():
        caller = asyncio.create_task(control())
        await asyncio.sleep(1)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert counted(one, "cancelled", "outstanding") == (1, 0)

    clock.run(main())


def test_an_async_candidate_that_raises_what_nobody_can_catch_is_lost(clock, caplog):
    async def candidate():
        raise GeneratorExit

    one = experiment("e", candidate=candidate)

    @one
    async def control():
        pass

    async def main():
        await control()
        await asyncio.sleep(1)

    clock.run(main())
    gc.collect()
    assert counted(one, "calls", "dropped", "outstanding") == (1, 1, 0)
    assert not caplog.records


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_end_of_a_loop_drops_what_is_left(clock, caplog, stubborn):
    began = []

    async def candidate():
        began.append(1)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            if not stubborn:
                raise

    one = experiment("e", candidate=candidate, timeout=1000)

    @one
    async def control():
        pass

    async def main(*, wait):
        for _ in range(3):
            await control()
        await asyncio.sleep(wait)

    clock.run(main(wait=1))
    assert counted(one, "dropped", "match", "outstanding") == ((2, 1, 0) if stubborn else (3, 0, 0))
    assert len(began) == 1
    clock.run(main(wait=0))
    gc.collect()
    assert counted(one, "calls", "outstanding") == (6, 0)
    assert not caplog.records
    assert settled(one)


def test_a_loop_closed_over_its_candidates_gives_the_room_back():
    async def candidate():
        await asyncio.Event().wait()

    one = experiment("e", candidate=candidate, queue=2)

    @one
    async def control():
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    for _ in range(2):
        loop.run_until_complete(control())
    (lane,) = one._runner._lanes.values()
    for job in lane._running:
        job.task._log_destroy_pending = False
    loop.close()
    assert counted(one, "outstanding") == (2,)
    for _ in range(2):
        asyncio.run(control())
    assert counted(one, "calls", "dropped") == (4, 4)
    assert counted(one, "outstanding") == (0,)


def test_eager_tasks_do_not_run_in_the_callers_time(clock):
    if not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager tasks came with Python 3.12")
    order = []

    async def candidate(x):
        order.append(f"candidate {x}")

    one = experiment("e", candidate=candidate, queue=2000)

    @one
    async def control(x):
        order.append(f"control {x}")

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await control(1)
        order.append("reply")
        for x in range(1500):
            await control(x)
        await asyncio.sleep(1)

    clock.run(main())
    assert order[:2] == ["control 1", "reply"]
    assert counted(one, "match", "faults") == (1501, 0)


def test_without_an_event_loop_it_is_a_fault():
    async def f():
        return 1

    call = experiment("e", candidate=f)(f)()
    with pytest.raises(StopIteration) as done:
        call.send(None)
    assert done.value.value == 1


def test_a_hand_at_the_keyboard_is_not_the_candidates_outcome():
    async def candidate():
        raise KeyboardInterrupt

    one = experiment("e", candidate=candidate)

    @one
    async def control():
        await asyncio.sleep(0)

    async def main():
        await control()
        await asyncio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert counted(one, "calls", "outstanding", "match", "mismatch") == (1, 0, 0, 0)


# What it is put around, and what it is.


def test_it_keeps_the_function_as_it_was():
    def new(item: str, *, currency: str = "EUR") -> str:
        return f"{item} {currency}"

    async def new_async(item: str) -> str:
        return item

    @experiment("e", candidate=new)
    def price(item: str, *, currency: str = "EUR") -> str:
        """What it costs."""
        return f"{item} {currency}"

    @experiment("e", candidate=new_async)
    async def price_async(item: str) -> str:
        return item

    assert price.__doc__ == "What it costs."
    assert inspect.signature(price) == inspect.signature(new)
    assert inspect.iscoroutinefunction(price_async)
    assert not inspect.iscoroutinefunction(price)
    assert Policy("p")(price)("tea", currency="USD") == "tea USD"
    assert asyncio.run(Policy("p")(price_async)("tea")) == "tea"


def test_methods():
    class Shop:
        factor = 2

        def new(self, x):
            return self.factor * x

        one = experiment("e", candidate=new)

        @one
        def price(self, x):
            return x + x

    assert Shop().price(4) == 8
    assert Shop.one.drain(WAIT)
    assert counted(Shop.one, "match") == (1,)


class Callable:
    async def __call__(self):
        return 1


def test_objects_with_an_async_call():
    one = experiment("e", candidate=Callable())

    @one
    async def control():
        return 1

    async def main():
        assert await control() == 1
        assert await asyncio.to_thread(one.drain, WAIT)

    asyncio.run(main())
    assert counted(one, "match") == (1,)


@experiment("module-level", candidate=abs)
def magnitude(x):
    return max(x, -x)


def test_what_it_is_put_around_pickles_by_name():
    assert pickle.loads(pickle.dumps(outcome)) is outcome
    assert copy.deepcopy(magnitude) is magnitude


def test_all_experiments_are_known():
    assert [each.name for each in experiments() if each.name == "module-level"] == ["module-level"]
    one = experiment("gone", candidate=abs)
    assert one in experiments()
    assert isinstance(one, Experiment)
    del one
    gc.collect()
    assert "gone" not in [each.name for each in experiments()]


def test_nonsense_is_refused_with_every_problem():
    def stream():
        yield 1

    with pytest.raises(InvalidPolicy) as refused:
        experiment("", candidate=stream, timeout=0, mode="before", queue=0, parallel=True)
    assert str(refused.value).count(";") == 5
    for each in ("it has no name", "not a function", "timeout=0", "mode='before'", "queue=0", "parallel=True"):
        assert each in str(refused.value)
    with pytest.raises(InvalidPolicy, match="candidate=3"):
        experiment("e", candidate=3)
    with pytest.raises(InvalidPolicy, match="timeout='1'"):
        experiment("e", candidate=abs, timeout="1")
    with pytest.raises(InvalidPolicy, match="timeout=True"):
        experiment("e", candidate=abs, timeout=True)

    async def asynchronous():
        pass

    with pytest.raises(InvalidPolicy, match="make both the same"):
        experiment("e", candidate=abs)(asynchronous)
    with pytest.raises(InvalidPolicy, match="make both the same"):
        experiment("e", candidate=asynchronous)(abs)
    with pytest.raises(InvalidPolicy, match="generator"):
        experiment("e", candidate=abs)(stream)


@pytest.mark.parametrize("candidate", [abs, Callable()], ids=["threads", "loops"])
def test_a_child_begins_with_none_on_their_way(candidate):
    one = experiment("e", candidate=candidate)
    one._tally.enter()
    one.renew()
    assert one.drain(0)
    assert counted(one, "calls", "outstanding") == (1, 0)
    one._tally.leave("dropped")  # the parent's call comes back in the child as well
    assert counted(one, "outstanding") == (0,)
