"""
The loop: observe, decide, design, execute; again when poked, when time is up, and at least every second.

Level, not edge: a turn re-reads everything and acts on the difference, so it does not matter why it runs, or how often.
Nor does it matter much if an error that nobody foresaw breaks one off half-way: the next one finds the rest to do.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from atoll import wire
from atoll.engine.changing import Changing, everything
from atoll.engine.comparing import Comparing
from atoll.engine.copying import Copying
from atoll.engine.executing import Executor
from atoll.engine.flag_releasing import FlagReleasing
from atoll.engine.internal_errors import ADVICE
from atoll.engine.observing import Observer
from atoll.engine.parts import Parts
from atoll.engine.probing import Probing
from atoll.engine.releasing import Releasing
from atoll.errors import Failed
from atoll.model.system import Gateway
from atoll.plan.blueprint import Blueprint
from atoll.plan.design import design, wake_at
from atoll.plan.diff import diff
from atoll.plan.happenings import Happening, design_happenings, seen_happenings
from atoll.plan.observed import Observed
from atoll.plan.violations import violations
from atoll.unforeseen import back_off, described, report

PERIOD = 1.0
LOOK = 0.5
"""Seconds between two looks at a release that is judged: what fails in plain sight is out that much sooner."""
QUIET = 0.1
"""Seconds without news after which the state is copied."""
UNTOLD = 10_000
"""Happenings that wait for a journal that cannot be written; the oldest are lost beyond that."""


class Engine:
    """
    Makes what is wanted true, for as long as it runs.

    `observed` and `blueprint` are the latest of each; `listeners` hear of every event the moment it is written.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.observed = Observed(at=0.0)
        self.blueprint = parts.store.blueprint() or Blueprint("", 0, Gateway(), {})
        self.problems: tuple[str, ...] = ()
        self.listeners: list[Callable[[wire.Event], None]] = []
        self._wake = asyncio.Event()
        self._restored = 0
        self._pending: deque[Happening] = deque(maxlen=UNTOLD)
        self._probing = Probing(parts.prober, parts.clock, self.poke)
        self._observer = Observer(parts, self._probing)
        self._executor = Executor(parts, self._pending.append, self.poke)
        self._copying = Copying(parts, self.record)
        self.changing = Changing(parts, self._pending.append, self.poke, self._copying)
        self.comparing = Comparing(parts, self._pending.append)
        self.releasing = Releasing(parts, self._pending.append, self.comparing.verdict)
        self.flag_releasing = FlagReleasing(parts, self._pending.append, self.poke)

    def poke(self) -> None:
        """Turn soon. Losing a poke costs at most a period."""
        self._wake.set()

    def record(self, happening: Happening) -> None:
        """Have something written into the journal soon."""
        self._pending.append(happening)
        self.poke()

    async def prepare(self) -> None:
        """Adopt what runs: instances first, then the proxies."""
        for runtime in self.parts.runtimes.values():
            await runtime.prepare(self.poke)
        await self.parts.mesh.prepare(self.poke)

    async def run(self) -> None:
        """Turn until cancelled; after a turn that broke off not before its back-off is over, whoever pokes."""
        failures = 0
        while True:
            self._wake.clear()
            try:
                if failures:  # what was written down and not noted here is found there, as by a new control plane
                    self.changing.recall()
                await self.turn()
                await self._rest()
            except Exception as error:  # noqa: BLE001 - whatever it is: nobody else would look after what runs
                failures += 1
                self._survive(error)
                await asyncio.sleep(back_off(failures))
            else:
                failures = 0

    async def turn(self) -> None:
        """One turn. A state file that cannot be written holds the target where it is; what runs goes on."""
        before = self.observed
        self.observed = await self._observer.look(self.blueprint, self._executor.failed)
        self._pending += seen_happenings(before, self.observed, self.blueprint)
        await self.releasing.look(self.changing.pins)
        await self.flag_releasing.look()
        await self.comparing.look(self.blueprint)
        try:
            self._keep()
            self.changing.step(self.observed, self.blueprint)
            self.comparing.step(self.changing.system, self.changing.pins, self.observed, self.blueprint)
            self.releasing.step(self.changing.system, self.changing.pins, self.observed, self.blueprint)
            self.flag_releasing.step()
            self._design()
            self._write_journal()
        except sqlite3.OperationalError as error:
            self.problems = (f"the state cannot be written ({error}): nothing is changed until it can",)
            return
        self._executor.carry_out(diff(self.blueprint, self.observed), self.blueprint)

    async def close(self) -> None:
        """Stop acting. Instances and proxies go on."""
        await self.changing.close()
        await self._copying.close()
        await self._probing.close()
        await self._executor.close()
        await self.parts.comparer.close()
        for runtime in self.parts.runtimes.values():
            await runtime.close()
        await self.parts.mesh.close()

    def converged(self) -> bool:
        """Whether the whole system is as wanted."""
        if self.observed.mesh.rejected:
            return False
        names = everything(self.changing.system, self.observed, self.blueprint)
        return not self.parts.store.open_changes() and self.changing.settled(names, self.observed, self.blueprint)

    def down(self) -> bool:
        """Whether nothing runs and nothing is to."""
        return not self.blueprint.workloads and not self.observed.instances

    async def _rest(self) -> None:
        """Wait until something happens or is due, a period at most; what can wait is done when nothing has happened."""
        pause = LOOK if self.releasing.judging or self.flag_releasing.judging else PERIOD
        due = wake_at(self.blueprint, self.observed)
        if due is not None:
            pause = min(pause, max(0.0, due - self.parts.clock()))
        if self._copying.due:
            pause = min(pause, QUIET)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
                return
        self._copying.begin()

    def _survive(self, error: Exception) -> None:
        """Tell of a turn that broke off."""
        report("a turn of the engine broke off", error)
        words = f"a turn of the engine broke off ({described(error)}): what runs goes on, and it is tried again"
        self.problems = (f"{words}; {ADVICE}",)
        try:
            self._write_journal()
        except sqlite3.OperationalError:
            pass  # it is told once it can be written
        except Exception as another:  # noqa: BLE001 - as above
            self._pending.clear()  # or what cannot be written would end every turn
            report("the journal cannot be written", another)

    def _keep(self) -> None:
        restored, self._restored = self._restored, self.parts.store.keep()
        if restored != self._restored:
            text = "the file was deleted while it was in use: it was written anew, with everything that was in it"
            self._pending.append(Happening("error", "state", "", "state file", text))

    def _design(self) -> None:
        system = self.changing.system
        if system is None:
            self.problems = ()
            return
        try:
            counting = self.flag_releasing.counting
            target = design(
                system,
                self.changing.pins,
                self.observed,
                self.blueprint,
                self.parts.host,
                counting=counting,
                unborn=self.changing.unborn,
            )
        except Failed as error:
            self.problems = (error.message,)
            return
        if target is self.blueprint:
            self.problems = ()
            return
        broken = tuple(violations(target)) if target.generation != self.blueprint.generation else ()
        self.problems = broken
        if broken:
            return
        before = self.blueprint
        if target.generation == before.generation:
            self.blueprint = target
            self.poke()  # nothing is to be done, but whoever waits for the system to settle is told in the next turn
            return
        self.parts.store.save(target, before)
        self.blueprint = target  # before it is told: what is written down is the target, whatever comes after
        self._pending += design_happenings(before, target)

    def _write_journal(self) -> None:
        if not self._pending:
            return
        now = self.parts.clock()
        events = [wire.Event(0, now, h.level, h.kind, h.service, h.subject, h.text) for h in self._pending]
        written = self.parts.store.append(events)
        self._pending.clear()
        for event in written:
            for call in self.listeners:
                call(event)
