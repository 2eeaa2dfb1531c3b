"""Processes, threads and loops: where a policy is made, used, forked, and left behind."""

# ruff: noqa: PLC0415, SIM105 - optional libraries; scenarios in one piece
import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from atoll.kit import Adaptive, AttemptTimeout, Breaker, Bulkhead, Fallback, Hedge, Meter, Policy, Rate, Retry


def script(text, *arguments):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def test_importing_loads_the_standard_library_only_and_no_asyncio():
    assert script(
        """
        import sys
        before = set(sys.modules)
        import atoll.kit
        loaded = {name.partition('.')[0] for name in set(sys.modules) - before}
        print(sorted(loaded - sys.stdlib_module_names), 'asyncio' in loaded)
        print(sorted(name for name in sys.modules if name.startswith('atoll.') and not name.startswith('atoll.kit')))
        """
    ).splitlines() == ["['atoll'] False", "[]"]


def test_one_policy_in_many_loops_one_after_the_other():
    policy = Policy("p", timeout=0.01, bulkhead=Bulkhead(1), hedge=Hedge(after=0.005), idempotent=True)
    for _ in range(5):
        with pytest.raises(AttemptTimeout):
            asyncio.run(policy.call(asyncio.sleep, 30))
    assert len(policy.parts) == 3


def test_one_policy_in_many_loops_at_once():
    policy = Policy("p", timeout=0.02)
    outcomes = []

    async def main():
        for _ in range(3):
            try:
                await policy.call(asyncio.sleep, 30)
            except AttemptTimeout:
                outcomes.append("late")
            outcomes.append(await policy.call(asyncio.sleep, 0, "well"))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert sorted(outcomes) == ["late"] * 12 + ["well"] * 12


def test_a_loop_that_moves_to_another_thread():
    policy, loop, outcomes = Policy("p", timeout=0.01), asyncio.new_event_loop(), []

    def once():
        try:
            loop.run_until_complete(policy.call(asyncio.sleep, 30))
        except AttemptTimeout:
            outcomes.append(threading.current_thread().name)

    once()
    other = threading.Thread(target=once, name="other")
    other.start()
    other.join(10)
    once()
    loop.close()
    assert outcomes == ["MainThread", "other", "MainThread"]


def test_a_policy_forgets_closed_loops_and_can_itself_be_forgotten():
    from atoll.kit.aio.alarms import _ambient, table_for

    policy = Policy("p", timeout=0.123)
    asyncio.run(policy.call(asyncio.sleep, 0))
    asyncio.run(policy.call(asyncio.sleep, 0))
    assert len(table_for(0.123)) == 1
    del policy
    gc.collect()
    assert len(table_for(0.123)) == 0
    assert all(not loop.is_closed() for loop, _ in _ambient) or len(_ambient) < 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_starts_without_the_parents_calls():
    assert script(
        """
        import os, sys
        from atoll.kit import *
        policy = Policy("p", bulkhead=Bulkhead(1, queue=0), breaker=Breaker(consecutive=1, open=0.001), rate=Rate(1e6),
                        retry=Retry(), fallback=Fallback(on=(ZeroDivisionError,)))
        other = Policy("q", bulkhead=Adaptive(least=1, start=1, most=1, queue=0), hedge=Hedge(), idempotent=True)
        keyed = policy.keyed(str)
        locks = [policy.parts[2].permits._lock, policy.breaker._lock]
        for lock in locks:
            lock.acquire()   # another thread of the parent holds them at the moment of the fork

        def child():
            pid = os.fork()
            if pid == 0:
                print(policy.run(lambda: "child works"), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)

        policy.parts[2].permits.free.pop()   # a call of the parent is in flight
        child()
        print(policy.state()["bulkhead"]["in_flight"])
        """,
        "-W",
        "ignore",
    ).splitlines() == ["child works", "1"]


def test_at_interpreter_exit_it_still_works():
    assert (
        script(
            """
        import atexit, asyncio, threading, time
        from atoll.kit import *
        policy = Policy("p", timeout=1, bulkhead=Bulkhead(), retry=Retry(), breaker=Breaker())
        asyncio.run(policy.call(asyncio.sleep, 0))
        atexit.register(lambda: print(policy.run(lambda: "sync"), asyncio.run(policy.call(asyncio.sleep, 0, "async"))))
        threading.Thread(target=policy.run, args=(time.sleep, 1000), daemon=True).start()
        class Late:
            def __del__(self):
                policy.run(int)
        late = Late()
        """
        )
        == "sync async"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_experiments_of_its_own():
    assert script(
        """
        import asyncio, os, threading
        from atoll.kit import experiment
        go = threading.Event()
        one = experiment("one", candidate=lambda: go.wait(30))
        f = one(lambda: True)

        async def nothing():
            pass

        two = experiment("two", candidate=nothing)
        g = two(nothing)
        asyncio.run(g())

        @experiment("three", candidate=lambda: True)
        def forks():
            return os.fork()

        f()
        f()                               # one runs, one waits, in a thread that no child has
        one._tally._lock.acquire()     # held at the moment of the fork
        pid = forks()
        if pid == 0:
            go.set()
            f()
            asyncio.run(g())
            print(one.drain(30), one.state()["match"], one.state()["outstanding"], two.state()["calls"], flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        one._tally._lock.release()
        print(one.state()["outstanding"])
        go.set()
        print(one.drain(30), one.state()["match"])
        """,
        "-W",
        "ignore",
    ).splitlines() == ["True 1 0 2", "2", "True 2"]


def test_at_interpreter_exit_an_experiment_fails_and_delays_nobody():
    assert (
        script(
            """
        import atexit, asyncio, threading
        from atoll.kit import experiment
        began, never = threading.Event(), threading.Event()

        def candidate():
            began.set()
            never.wait()

        async def forever():
            await asyncio.Event().wait()

        async def nothing():
            return "async"

        one = experiment("one", candidate=candidate)
        f = one(lambda: "sync")
        g = experiment("two", candidate=forever)(nothing)
        f()
        began.wait()
        late = experiment("late", candidate=candidate)(lambda: "late")
        atexit.register(lambda: print(f(), late(), asyncio.run(g())))

        class Late:
            def __del__(self):
                f()
        kept = Late()
        """
        )
        == "sync late async"
    )


def test_a_policy_used_from_a_closed_loop_says_so():
    loop = asyncio.new_event_loop()
    loop.close()
    call = Policy("p", timeout=1).call(asyncio.sleep, 0)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_until_complete(call)
    call.close()


def test_eight_threads_lose_no_permit_and_hardly_a_count():
    policy = Policy(
        "p",
        bulkhead=Bulkhead(3, queue=100, wait=60),
        retry=Retry(0),
        breaker=Breaker(consecutive=10**9),
        rate=Rate(1e9, burst=10**9),
        observe=Meter(),
    )
    inside, most, each = [], [0], 2000
    error = OSError()

    def work(number):
        inside.append(1)
        most[0] = max(most[0], len(inside))
        inside.pop()
        if number % 4 == 0:
            raise error

    def thread():
        for number in range(each):
            try:
                policy.run(work, number)
            except OSError:
                pass

    threads = [threading.Thread(target=thread) for _ in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
    finally:
        sys.setswitchinterval(before)
    state = policy.state()
    assert most[0] <= 3
    assert state["bulkhead"]["in_flight"] == 0
    assert len(policy.parts[2].permits.free) == 3
    assert state["breaker"]["ok"] + state["breaker"]["failed"] == pytest.approx(8 * each, rel=0.01)
    assert state["breaker"]["failed"] == pytest.approx(2 * each, rel=0.01)
    assert state["breaker"]["phase"] == "closed"


def test_all_parts_can_be_renewed():
    policy = Policy("p", bulkhead=Bulkhead(), breaker=Breaker(), rate=Rate(5), retry=Retry(), fallback=Fallback())
    hedged = Policy("q", hedge=Hedge(), idempotent=True)
    for part in (*policy.parts, *hedged.parts):
        if hasattr(part, "renew"):
            part.renew()
    policy.keyed(str).renew()
    assert policy.run(int) == 0


def test_every_state_hears_of_a_fork():
    from atoll.kit.forks import _kept, _renew_all

    hedged = Policy("q", hedge=Hedge(), idempotent=True)
    whole = Policy("p", bulkhead=Bulkhead(), breaker=Breaker(), rate=Rate(5), retry=Retry(), fallback=Fallback())
    assert {part for each in (hedged, whole) for part in each.parts if hasattr(part, "renew")} <= set(_kept)
    policy = Policy("p", bulkhead=Adaptive(start=4))
    policy.parts[0].permits.free.pop()
    _renew_all()
    assert policy.state()["bulkhead"]["in_flight"] == 0


def test_every_public_name_is_there_and_none_is_a_module():
    import importlib.util

    import atoll.kit

    assert set(atoll.kit.__all__) == set(atoll.kit._HOME)
    assert set(atoll.kit.__all__) <= set(dir(atoll.kit))
    for name in atoll.kit.__all__:
        assert getattr(atoll.kit, name) is not None
        assert importlib.util.find_spec(f"atoll.kit.{name}") is None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = atoll.kit.nonsense


def test_type_checkers_are_told_of_the_same_names():
    import ast
    from pathlib import Path

    import atoll.kit

    (block,) = (each for each in ast.parse(Path(atoll.kit.__file__).read_text()).body if isinstance(each, ast.If))
    told = {name.name: each.module.removeprefix("atoll.kit.") for each in block.body for name in each.names}
    assert told == atoll.kit._HOME


def test_a_system_that_cannot_fork(monkeypatch):
    import runpy

    from atoll.kit import forks

    monkeypatch.delattr(os, "register_at_fork")
    assert "renew_in_child" in runpy.run_path(forks.__file__)
