"""
Eight threads on one policy: no permit is lost, no state is wrong, and the breaker's failure rate is right.

    PYTHONPATH=src python benchmarks/kit/stress.py [--seconds 60] [--threads 8]

Threads are switched every 10 microseconds. Every thread keeps exact books. The failure rate is compared with them every
half second, everything else at the end. Exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from atoll.kit import (
    Breaker,
    Bulkhead,
    BulkheadFull,
    CircuitOpen,
    Meter,
    Policy,
    Rate,
    Retry,
    RetryBudget,
)

SHARE = 0.2  # of the calls fail
LIMIT = 3
ERROR = OSError("made up")


@dataclass
class Books:
    """What one thread knows for certain."""

    counts: Counter[str] = field(default_factory=Counter)
    most: int = 0  # calls inside at once, as far as this thread saw


def policy(name: str, *, opens: bool) -> Policy:
    """All that counts or holds something. `opens`: the breaker opens and closes all the time, instead of never."""
    return Policy(
        name,
        bulkhead=Bulkhead(LIMIT, queue=100, wait=60),
        rate=Rate(1e9, burst=10**9),
        retry=Retry(1, base=0, cap=0, budget=RetryBudget(ratio=0.01)),
        breaker=Breaker(consecutive=2, open=0.001)
        if opens
        else Breaker(consecutive=None, rate=1.0, min_calls=10**9, window=5),
        observe=Meter(),
    )


class Run:
    """Threads that call one policy until the time is over."""

    def __init__(self, one: Policy, threads: int, until: float, *, loops: bool) -> None:
        self.one = one
        self.books = [Books() for _ in range(threads)]
        self.inside: list[int] = []
        self._until = until
        target = self._loop if loops else self._thread
        self.threads = [threading.Thread(target=target, args=(each,), daemon=True) for each in self.books]

    def _work(self, books: Books, chance: random.Random) -> None:
        self.inside.append(1)
        books.most = max(books.most, len(self.inside))
        self.inside.pop()
        if chance.random() < SHARE:
            books.counts["failed"] += 1
            raise ERROR
        books.counts["ok"] += 1

    def _thread(self, books: Books) -> None:
        chance = random.Random(id(books))
        while time.monotonic() < self._until:
            for _ in range(100):
                try:
                    self.one.run(self._work, books, chance)
                except OSError:
                    books.counts["raised"] += 1
                except CircuitOpen:
                    books.counts["refused"] += 1
                except BulkheadFull:
                    books.counts["full"] += 1

    def _loop(self, books: Books) -> None:
        async def work(books: Books, chance: random.Random) -> None:
            self._work(books, chance)

        async def caller(chance: random.Random) -> None:
            while time.monotonic() < self._until:
                try:
                    await self.one.call(work, books, chance)
                except OSError:
                    books.counts["raised"] += 1
                except CircuitOpen:
                    books.counts["refused"] += 1
                await asyncio.sleep(0)

        async def main() -> None:
            await asyncio.gather(*(caller(random.Random(each)) for each in range(4)))

        asyncio.run(main())

    def total(self) -> Counter[str]:
        """The books of all threads."""
        return sum((each.counts for each in self.books), Counter())


def wrong(run: Run, worst: float, *, opens: bool) -> list[str]:
    """What is not as it must be."""
    state, total = run.one.state(), run.total()
    bulkhead, breaker = state["bulkhead"], state["breaker"]
    tried = total["ok"] + total["failed"]
    free = len(next(each for each in run.one.parts if each.kind == "bulkhead").permits.free)
    problems = []
    if any(each.is_alive() for each in run.threads):
        problems.append("a thread did not come back")
    if free != LIMIT or bulkhead["in_flight"] or bulkhead["waiting"]:
        problems.append(f"permits: {free} of {LIMIT} are free, {bulkhead}")
    if max(each.most for each in run.books) > LIMIT:
        problems.append(f"{max(each.most for each in run.books)} calls inside at once")
    if breaker["phase"] not in (("closed", "open", "half-open") if opens else ("closed",)):
        problems.append(f"breaker: {breaker}")
    if opens and not (total["refused"] == breaker["rejected"] and breaker["opened"] > 0):
        problems.append(f"refused {total['refused']} times, {breaker}")
    if not opens and (breaker["opened"] or breaker["rejected"]):
        problems.append(f"opened for nothing: {breaker}")
    if not opens and abs(breaker["ok"] + breaker["failed"] - tried) > 0.01 * tried:
        problems.append(f"counted {breaker['ok']} + {breaker['failed']} of {total}")
    if not opens and worst > 0.01 * SHARE:
        problems.append(f"the failure rate was {worst:.5f} off, of {SHARE}")
    if state["observe"]["calls"] > tried + total["refused"] + total["full"]:
        problems.append(f"observed {state['observe']['calls']}")
    return problems


def watch(run: Run, until: float) -> float:
    """The largest difference between the breaker's failure rate and the threads' own, of all calls so far."""
    worst = 0.0
    while time.monotonic() < until:
        run.threads[0].join(0.5)
        breaker, total = run.one.state()["breaker"], run.total()
        counted, known = breaker["ok"] + breaker["failed"], total["ok"] + total["failed"]
        if counted and known > 10_000:
            worst = max(worst, abs(breaker["failed"] / counted - total["failed"] / known))
    return worst


def stress(seconds: float, threads: int) -> list[str]:
    """Runs it all; returns what was wrong."""
    problems = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for opens in (False, True):
            for loops in (False, True):
                until = time.monotonic() + seconds / 4
                run = Run(policy(f"stress {opens} {loops}", opens=opens), threads, until, loops=loops)
                for each in run.threads:
                    each.start()
                worst = watch(run, until)
                for each in run.threads:
                    each.join(30)
                found = wrong(run, worst, opens=opens)
                total = run.total()
                print(
                    f"| {'opens and closes' if opens else 'closed'} | {'event loops' if loops else 'threads'} "
                    f"| {sum(total.values()):,} | {run.one.state()['breaker']['opened']:,} "
                    f"| {100 * worst / SHARE:.3f} % | {'; '.join(found) or 'nothing'} |"
                )
                problems += found
    finally:
        sys.setswitchinterval(before)
    return problems


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--threads", type=int, default=8)
    given = options.parse_args()
    print(f"Python {platform.python_version()}, {given.threads} threads, {given.seconds:g} s\n")
    print(
        "| breaker | callers in | events | openings | worst error of the failure rate | wrong |\n"
        "|---|---|---|---|---|---|"
    )
    sys.exit(1 if stress(given.seconds, given.threads) else 0)


if __name__ == "__main__":
    main()
