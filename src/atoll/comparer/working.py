"""From copies to findings: as many at a time as may be, and none while the answers are slow."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from atoll.comparer.asking import Asker
from atoll.comparer.taking import Copy
from atoll.policies.comparing.endpoints import endpoint, is_path
from atoll.policies.comparing.messages import Findings, Orders, Task
from atoll.policies.comparing.samples import LeftOut, NoAnswer, Sample, sample
from atoll.policies.comparing.valve import Valve, after

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_SAMPLES = 100
"""Samples told at once; more than that between two tellings are left out."""
LATE = 0.25
"""Seconds by which this program may be late itself, before it counts as slow."""


@dataclass(slots=True)
class _Work:
    """One run, and what is to be told of it."""

    task: Task
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    valve: Valve = field(default_factory=Valve)
    under_way: int = 0
    samples: list[Sample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class Worker:
    """Compares what it is offered, for as long as it is told to."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._works: dict[str, _Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.late = 0.0

    def told(self, orders: Orders) -> None:
        """Compare these services from now on. A run that goes on keeps what was not told of it yet."""
        old = self._works
        self._works = {}
        for task in orders.tasks:
            before = old.get(task.service)
            work = before if before is not None and before.task.since == task.since else _Work(task)
            work.task = task
            self._works[task.service] = work

    def offer(self, copy: Copy) -> None:
        """Compare this copy, or count why not."""
        work = self._works.get(copy.service)
        if work is None or not _is_safe(copy, work.task):
            return
        why = self._refusal(work, copy)
        if why is not None:
            work.left_out[why] += 1
            return
        work.under_way += 1
        task = asyncio.get_running_loop().create_task(self._compare(work, copy))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def findings(self) -> Iterable[Findings]:
        """What is new since the last time."""
        for service, work in self._works.items():
            if work.samples or work.left_out:
                yield Findings(service, work.task.since, tuple(work.samples), dict(work.left_out))
                work.samples, work.left_out = [], Counter()

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _refusal(self, work: _Work, copy: Copy) -> LeftOut | None:
        if copy.body is None:
            return LeftOut.LARGE
        if not work.valve.lets(asyncio.get_running_loop().time()):
            return LeftOut.PAUSED
        if work.under_way >= work.task.concurrency or len(work.samples) >= MOST_SAMPLES:
            return LeftOut.BUSY
        return None

    async def _compare(self, work: _Work, copy: Copy) -> None:
        try:
            await self._sample(work, copy)
        except Exception as error:  # noqa: BLE001 - it is counted, whatever it is: else nobody would know of it
            work.left_out[f"{LeftOut.BROKEN} ({type(error).__name__})"] += 1

    async def _sample(self, work: _Work, copy: Copy) -> None:
        task = work.task
        try:
            answers = await self._asker.triple(copy, task)
        finally:
            work.under_way -= 1
        slow = self.late > LATE or any(answer.reply is NoAnswer.LATE for answer in answers)
        work.valve = after(work.valve, slow=slow, at=asyncio.get_running_loop().time())
        name = endpoint(copy.method, copy.target, task.endpoints)
        found = sample(name, answers, task.contract, work.salt)
        if isinstance(found, LeftOut):
            work.left_out[found] += 1
        else:
            work.samples.append(found)


def _is_safe(copy: Copy, task: Task) -> bool:
    """The proxies copy nothing else; this is the second lock."""
    declared = any(one.method == copy.method and is_path(one.path, copy.target) for one in task.safe)
    return copy.method in SAFE or declared
