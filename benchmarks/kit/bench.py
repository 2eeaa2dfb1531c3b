"""
Overhead per call and behaviour of `atoll.kit` beside its peers, in one process, on one machine.

    python -m venv peers && peers/bin/pip install nopanic resilix grit-toolkit pyresilience hyx interlock-cb \
        tenacity purgatory pybreaker circuitbreaker stamina laboratory
    PYTHONPATH=src peers/bin/python benchmarks/kit/bench.py

The function called does nothing and succeeds at once: the worst case for ratios. A round gives every library of a case
its turn of a few milliseconds on the thread's CPU clock, one right after the other, so that a machine that is busy with
something else is so for all of them. "times ours" is the median, over the rounds, of the ratio to our own turn in the
same round, with the quartiles. Peers that are not installed are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import platform
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from peers import HERE, LIBRARIES, breakers, present

from atoll.kit import Breaker, Bulkhead, Meter, Policy, Retry, subscribe

ROUNDS = 80
TURN = 4e6  # nanoseconds
OPEN = 0.05


async def nothing() -> None:
    pass


def nothing_sync() -> None:
    pass


def rounds(decorators: dict[str, Callable[[Any], Any]], *, sync: bool) -> dict[str, list[float]]:
    """Nanoseconds of one call of nothing under each decorator, in each round."""

    async def turn(f: Any, calls: int) -> float:
        began = time.thread_time_ns()
        for _ in range(calls):
            await f()
        return (time.thread_time_ns() - began) / calls

    def turn_sync(f: Any, calls: int) -> float:
        began = time.thread_time_ns()
        for _ in range(calls):
            f()
        return (time.thread_time_ns() - began) / calls

    async def all_rounds() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        # Some libraries ask for the running loop when they decorate.
        under = {name: each(nothing_sync if sync else nothing) for name, each in decorators.items()}
        once = {name: turn_sync(f, 50) if sync else await turn(f, 50) for name, f in under.items()}
        for _ in range(ROUNDS):
            for name, f in under.items():
                calls = max(20, int(TURN / once[name]))
                found.setdefault(name, []).append(turn_sync(f, calls) if sync else await turn(f, calls))
        return found

    gc.collect()
    return asyncio.run(all_rounds())


def ratio(of: list[float], to: list[float]) -> str:
    """The median of the ratios round by round, with the quartiles."""
    low, middle, high = statistics.quantiles([mine / other for mine, other in zip(of, to, strict=True)], n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def overhead() -> None:
    cases: dict[str, dict[str, Callable[[Any], Any]]] = {}
    for library, (modules, make) in LIBRARIES.items():
        if all(map(present, modules)):
            for case, decorator in make().items():
                cases.setdefault(case, {})[library] = decorator
    for case, decorators in cases.items():
        found = rounds({**decorators, "(bare call)": lambda f: f}, sync=case.startswith("sync"))
        print(f"| {case} | least ns | median ns | times ours |\n|---|---|---|---|")
        for library, taken in sorted(found.items(), key=lambda each: statistics.median(each[1])):
            print(f"| {library} | {min(taken):,.0f} | {statistics.median(taken):,.0f} | {ratio(taken, found[HERE])} |")
        print()


def telemetry() -> None:
    """What watching costs, as differences in the same round."""
    settings: dict[str, Any] = {"bulkhead": Bulkhead(), "retry": Retry(), "breaker": Breaker(rate=0.5), "timeout": 5.0}
    silent = Policy("p", **settings)
    watched = {
        "an observer of every call": Policy("p", **settings, observe=lambda _name, _seconds, _error: None),
        "a Meter": Policy("p", **settings, observe=Meter()),
    }
    print("| watching the async pipeline | more ns, median (quartiles) |\n|---|---|")
    for name, policy in watched.items():
        _difference(name, rounds({"silent": silent, "watched": policy}, sync=False))
    stop = subscribe(lambda _event: None)
    subscribed = Policy("q", **settings)
    _difference("a subscriber to events", rounds({"silent": silent, "watched": subscribed}, sync=False))
    stop()
    print()


def _difference(name: str, found: dict[str, list[float]]) -> None:
    more = [watched - silent for watched, silent in zip(found["watched"], found["silent"], strict=True)]
    low, middle, high = statistics.quantiles(more, n=4)
    print(f"| {name} | {middle:+.0f} ({low:+.0f} to {high:+.0f}) |")


async def fail() -> None:
    raise OSError


async def trip(f: Callable[..., Any], times: int) -> None:
    for _ in range(times):
        with contextlib.suppress(Exception):
            await f(fail)


async def works(f: Callable[..., Any]) -> bool:
    try:
        await f(nothing)
    except Exception:  # noqa: BLE001 - whatever a library raises when it is open
        return False
    return True


def calling(make: Callable[[], Any]) -> tuple[Callable[..., Any], int]:
    """One function under the breaker that runs what it is given."""
    decorator, failures = make()

    async def run(g: Callable[[], Any]) -> Any:
        return await g()

    return decorator(run), failures


async def half(make: Callable[[], Any]) -> str:
    f, failures = calling(make)
    await trip(f, failures)
    await asyncio.sleep(OPEN * 1.5)
    release, inside = asyncio.Event(), []

    async def probe() -> None:
        inside.append(1)
        await release.wait()

    tasks = [asyncio.create_task(f(probe)) for _ in range(20)]
    await asyncio.sleep(0.01)
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    return "ok" if len(inside) == 1 else f"{len(inside)}/20"


async def cancel(make: Callable[[], Any]) -> str:
    f, failures = calling(make)
    await trip(f, failures)
    await asyncio.sleep(OPEN * 1.5)
    task = asyncio.create_task(f(asyncio.Event().wait))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await trip(f, 1)
    if await works(f):
        return "closed"
    await asyncio.sleep(OPEN * 2)
    return "ok" if await works(f) else "wedged"


async def stale(make: Callable[[], Any], *, well: bool) -> str:
    f, failures = calling(make)
    release = asyncio.Event()

    async def old() -> None:
        await release.wait()
        if not well:
            raise OSError

    tasks = [asyncio.create_task(f(old)) for _ in range(failures)]
    await asyncio.sleep(0.01)
    await trip(f, failures)
    if well:
        release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return "FAIL" if await works(f) else "ok"
    await asyncio.sleep(OPEN * 1.5)
    await works(f)
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    return "ok" if await works(f) else "FAIL"


async def own_error(make: Callable[[], Any]) -> str:
    f, failures = calling(make)
    mine = OSError("mine")

    async def raising() -> None:
        raise mine

    for _ in range(failures):
        try:
            await f(raising)
        except Exception as error:  # noqa: BLE001 - that is the question
            if error is not mine:
                return "replaced"
    return "ok"


def parallel(decorator: Callable[[Any], Any]) -> str:
    """Whether four threads under one breaker run at the same time."""
    meet = threading.Barrier(4)
    f = decorator(lambda: meet.wait(0.5))
    passed: list[int] = []

    def one() -> None:
        with contextlib.suppress(Exception):
            f()
            passed.append(1)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return "ok" if len(passed) == 4 else "one at a time"


def probes() -> None:
    """The behaviour probes: see docs/kit/comparison.md for what each one asks."""
    at_once = {
        library: parallel(make()["sync breaker"])
        for library, (modules, make) in LIBRARIES.items()
        if all(map(present, modules)) and "sync breaker" in make()
    }
    asked: dict[str, list[str]] = {}
    for library, make in breakers(OPEN).items():
        asked[library] = []
        for probe in (
            half,
            cancel,
            lambda each: stale(each, well=True),
            lambda each: stale(each, well=False),
            own_error,
        ):
            try:
                asked[library].append(asyncio.run(asyncio.wait_for(probe(make), 10)))
            except Exception as error:  # noqa: BLE001 - a probe a library cannot take
                asked[library].append(type(error).__name__)
    print("| breaker | par | half | cancel | st-ok | st-fail | exc |\n|---|---|---|---|---|---|---|")
    for library in {**asked, **at_once}:
        answers = asked.get(library, ["n/a"] * 5)
        print(f"| {library} | {at_once.get(library, 'n/a')} | {' | '.join(answers)} |")


if __name__ == "__main__":
    print(f"Python {platform.python_version()}, {platform.machine()}\n")
    overhead()
    telemetry()
    probes()
