"""
Health checks: one task per running instance, asking at the pace its stage needs.

A starting instance is asked often, so that it serves a few milliseconds after it can; a serving one at its interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from atoll.model.system import Health
from atoll.plan.blueprint import Address
from atoll.plan.observed import Readiness
from atoll.ports import Prober
from atoll.unforeseen import persist

EAGER = 0.01
EAGER_LIMIT = 0.25
EAGER_GROWTH = 1.1


@dataclass(frozen=True, slots=True)
class Subject:
    """One instance to ask."""

    name: str
    service: str
    address: Address
    health: Health


class Probing:
    """Keeps the latest word on every running instance. `changed` is called when a word changes."""

    def __init__(self, prober: Prober, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._prober = prober
        self._clock = clock
        self._changed = changed
        self._tasks: dict[str, tuple[Subject, asyncio.Task[None]]] = {}
        self._words: dict[str, dict[str, Readiness]] = {}

    def readiness(self) -> dict[str, dict[str, Readiness]]:
        """By service, by instance. A service without news is the same object as last time."""
        return dict(self._words)

    def watch(self, subjects: Iterable[Subject]) -> None:
        """Ask exactly these from now on."""
        wanted = {s.name: s for s in subjects}
        for name, (subject, task) in list(self._tasks.items()):
            if wanted.get(name) != subject:
                task.cancel()
                del self._tasks[name]
            if name not in wanted:
                self._forget(subject)
        for name, subject in wanted.items():
            if name not in self._tasks:
                task = asyncio.get_running_loop().create_task(self._ask(subject), name=f"probe {name}")
                self._tasks[name] = (subject, task)

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, subject: Subject) -> None:
        once_ready = asyncio.Event()
        await asyncio.gather(
            persist(f"asking whether {subject.name} is ready", lambda: self._ask_ready(subject, once_ready)),
            persist(f"asking whether {subject.name} lives", lambda: self._ask_live(subject, once_ready)),
        )

    async def _ask_ready(self, subject: Subject, once_ready: asyncio.Event) -> None:
        check, pause, failures = subject.health.ready, EAGER, 0
        while True:
            reason = await self._prober.probe(subject.address, check)
            was = self._words.get(subject.service, {}).get(subject.name)
            ready = was is not None and was.ready
            if not reason:
                failures, pause = 0, check.interval
                once_ready.set()
                self._say(subject, ready=True, reason="")
            elif ready and failures + 1 < check.failures:
                failures += 1
                pause = min(check.interval, 0.25)
            else:
                pause = EAGER if ready else min(pause * EAGER_GROWTH, EAGER_LIMIT)
                self._say(subject, ready=False, reason=reason)
            await asyncio.sleep(pause)

    async def _ask_live(self, subject: Subject, once_ready: asyncio.Event) -> None:
        """Liveness is asked only after the first success: a slow start is the start-up time's business."""
        check = subject.health.live
        if check is None:
            return
        await once_ready.wait()
        failures, reason = 0, ""
        while failures < check.failures:
            await asyncio.sleep(check.interval)
            reason = await self._prober.probe(subject.address, check)
            failures = failures + 1 if reason else 0
        self._say(subject, ready=False, reason=f"its live check failed {failures} times: {reason}", live=False)

    def _say(self, subject: Subject, *, ready: bool, reason: str, live: bool = True) -> None:
        words = self._words.get(subject.service, {})
        was = words.get(subject.name)
        if was is not None and (not was.live or (was.ready, was.reason, was.live) == (ready, reason, live)):
            return  # nothing new; and once dead is dead
        since = was.since if was is not None and was.ready == ready else self._clock()
        self._words[subject.service] = words | {subject.name: Readiness(ready, since, reason, live)}
        self._changed()

    def _forget(self, subject: Subject) -> None:
        words = dict(self._words.get(subject.service, {}))
        words.pop(subject.name, None)
        if words:
            self._words[subject.service] = words
        else:
            self._words.pop(subject.service, None)
