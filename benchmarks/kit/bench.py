"""
Overhead per call and behaviour of `atoll.kit` beside its peers, in one process, on one machine.

    python -m venv peers && peers/bin/pip install nopanic resilix grit-toolkit pyresilience hyx interlock-cb \
        tenacity purgatory circuitbreaker stamina
    PYTHONPATH=src peers/bin/python benchmarks/kit/bench.py

The function called does nothing and succeeds at once: the worst case for ratios. Each figure is the least of 60
samples of about 2,000 calls on the thread's CPU clock, with the median in brackets as the spread. Peers that are
not installed are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from peers import HERE, LIBRARIES, breakers, present

from atoll.kit import Breaker, Bulkhead, Policy, Retry

SAMPLES, CALLS = 60, 2000
OPEN = 0.05


async def nothing() -> None:
    pass


def nothing_sync() -> None:
    pass


def measure(decorator: Callable[[Any], Any], *, sync: bool) -> tuple[float, float]:
    """(least, median) nanoseconds of one call of nothing under `decorator`."""

    f: Any = None

    async def sample(calls: int) -> float:
        began = time.thread_time_ns()
        for _ in range(calls):
            await f()
        return (time.thread_time_ns() - began) / calls

    def sample_sync(calls: int) -> float:
        began = time.thread_time_ns()
        for _ in range(calls):
            f()
        return (time.thread_time_ns() - began) / calls

    async def samples() -> list[float]:
        nonlocal f
        f = decorator(nothing_sync if sync else nothing)  # some libraries ask for the running loop here
        once = sample_sync(50) if sync else await sample(50)
        calls = max(50, min(CALLS, int(2e7 / once)))  # slow ones need fewer calls for the same time
        return [sample_sync(calls) if sync else await sample(calls) for _ in range(SAMPLES)]

    gc.collect()
    found = asyncio.run(samples())
    return min(found), statistics.median(found)


def overhead() -> None:
    cases: dict[str, list[tuple[str, tuple[float, float]]]] = {}
    for library, (modules, make) in LIBRARIES.items():
        if not all(map(present, modules)):
            continue
        for case, decorator in make().items():
            sync = case.startswith("sync")
            cases.setdefault(case, []).append((library, measure(decorator, sync=sync)))
    bare, bare_sync = measure(lambda f: f, sync=False), measure(lambda f: f, sync=True)
    print(f"bare: async {bare[0]:.0f} ns, sync {bare_sync[0]:.0f} ns\n")
    for case, rows in cases.items():
        ours = next(figures[0] for library, figures in rows if library == HERE)
        print(f"| {case} | ns | times ours |\n|---|---|---|")
        for library, (least, median) in sorted(rows, key=lambda row: row[1][0]):
            print(f"| {library} | {least:,.0f} ({median:,.0f}) | {least / ours:.1f} |")
        print()


def telemetry() -> None:
    settings: dict[str, Any] = {
        "bulkhead": Bulkhead(),
        "retry": Retry(),
        "breaker": Breaker(rate=0.5),
        "timeout": 5.0,
    }
    silent = measure(Policy("p", **settings), sync=False)
    watched = measure(Policy("p", **settings, observe=lambda _name, _seconds, _error: None), sync=False)
    print(f"one observer of every call: {watched[0] - silent[0]:+.0f} ns (of {silent[0]:.0f})\n")


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


def probes() -> None:
    """The behaviour probes: see docs/kit/comparison.md for what each one asks."""
    print("| breaker | half | cancel | st-ok | st-fail | exc |\n|---|---|---|---|---|---|")
    for library, make in breakers(OPEN).items():
        answers = []
        for probe in (
            half,
            cancel,
            lambda each: stale(each, well=True),
            lambda each: stale(each, well=False),
            own_error,
        ):
            try:
                answers.append(asyncio.run(asyncio.wait_for(probe(make), 10)))
            except Exception as error:  # noqa: BLE001 - a probe a library cannot take
                answers.append(type(error).__name__)
        print(f"| {library} | {' | '.join(answers)} |")


if __name__ == "__main__":
    print(f"Python {platform.python_version()}, {platform.machine()}\n")
    overhead()
    telemetry()
    probes()
