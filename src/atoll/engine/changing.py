"""
Changes on their way: queued, building, rolling, done or failed.

A change takes effect in one transaction, after everything it needs is built; a build that fails changes nothing.
What a dead control plane left queued or building is built again, what was rolling rolls on.

To take the system down, or a person's abort, cancels what is on its way. That is one transaction too: first a change
is over by what is written down, then its build is ended and its instances go as any do that are not wanted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from atoll import wire
from atoll.engine.copying import Copying
from atoll.engine.internal_errors import ADVICE
from atoll.engine.parts import Parts
from atoll.errors import AtollError, Failed
from atoll.model.load import loads
from atoll.model.system import Gateway, System
from atoll.plan.blueprint import Blueprint, Recipe
from atoll.plan.decisions import Pin
from atoll.plan.design import first_call
from atoll.plan.diff import is_settled
from atoll.plan.flag_release import flag_of
from atoll.plan.happenings import Happening
from atoll.plan.observed import Observed
from atoll.plan.past import choose, earlier, holding
from atoll.plan.recipes import recipe
from atoll.plan.releasing import Progress, Signal, State, begin, given_up, refuse_second
from atoll.plan.retaining import dispensable, never_served, retain
from atoll.policies import rolling
from atoll.policies.verdict import Outcome, Verdict
from atoll.store.store import Change, may_be_cancelled
from atoll.store.transitions import Transition
from atoll.unforeseen import described, report

BUILDS_AT_ONCE = 2
PATIENCE = 1.0
"""Seconds until a change is tried again that the state had no room for."""


class Changing:
    """Moves changes on. `system` and `pins` are what is wanted now."""

    def __init__(
        self, parts: Parts, record: Callable[[Happening], None], poke: Callable[[], None], copying: Copying
    ) -> None:
        self._parts = parts
        self._record = record
        self._poke = poke
        self._copying = copying
        self._task: asyncio.Task[None] | None = None
        self._preparing = 0
        self._again_at = 0.0
        self.intent, self.system = parts.store.system()
        copying.due = self.intent > 0  # the last control plane may have been killed before it kept a copy
        self.pins: dict[str, Pin] = parts.store.pins()
        self.failing: Mapping[str, int] = parts.store.failing()
        """First releases that were given up and never served."""
        self.progress: dict[str, str] = {}

    def step(self, observed: Observed, blueprint: Blueprint) -> None:
        """One turn: take back what is not wanted, judge what rolls, finish what is finished, begin what is next."""
        self._answer()
        self._give_way()
        self._judge(observed, blueprint)
        self._recover(observed, blueprint)
        self._let_go(blueprint)
        for change in self._parts.store.open_changes():
            if change.state == "rolling":
                self._finish(change, observed, blueprint)
            elif self._task is None and self._parts.clock() >= self._again_at:
                self._begin(change)
            return

    def _begin(self, change: Change) -> None:
        if change.kind == "down" and self.system is None:
            self._over(change, "done", "")  # nothing was ever there: no gateway has to be opened for closing it
            return
        self._preparing = change.number
        self._task = asyncio.get_running_loop().create_task(self._prepare(change), name="change")

    @property
    def unborn(self) -> frozenset[str]:
        """Services that have never served."""
        return never_served(self.pins, self.failing)

    @property
    def _given_up(self) -> frozenset[str]:
        """Services whose first release was given up, and is still the only one."""
        return frozenset(name for name in self.unborn if self.pins[name].stable is not None)

    def recall(self) -> None:
        """Read what is wanted anew: something broke off, and may have been written down without being noted here."""
        self.intent, self.system = self._parts.store.system()
        self.pins = self._parts.store.pins()
        self.failing = self._parts.store.failing()

    async def close(self) -> None:
        """Leave what is under way; it is taken up again by the next control plane."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- taken back ---------------------------------------------------------------------------------------------

    def _give_way(self) -> None:
        """What is on its way when the system is to be taken down is so no more: nobody waits for its end."""
        changes = self._parts.store.open_changes()
        last = max((one.number for one in changes if one.kind == "down"), default=0)
        doomed = [one for one in changes if one.number < last and one.kind != "down"]
        if doomed:
            self._cancel(doomed, f"cancelled: the system was taken down (change {last})")

    def _answer(self) -> None:
        """Take back what people abort, where it goes instance by instance or is not even begun."""
        for asked in self._parts.store.asked():
            pin = self.pins.get(asked.service, Pin())
            if asked.signal != Signal.ABORT or pin.progress is not None or flag_of(asked.service) is not None:
                continue
            by = f"aborted by {asked.actor}: {asked.reason}"
            if pin.target is not None:
                self._abort(asked, pin.target.release, by)
            else:
                doomed = [one for one in self._parts.store.open_changes() if may_be_cancelled(one, asked.service)]
                self._cancel(doomed[:1], f"{asked.service}: cancelled, {by}")
                self._parts.store.forget(asked.asked)
                if not doomed:
                    self._say("warning", "release", asked.service, f"abort by {asked.actor} came too late")

    def _abort(self, asked: Transition, release: int, by: str) -> None:
        text = f"release {release} was {by}"
        words = f"{asked.service}: {text}"
        self.pins[asked.service] = self._parts.store.abort(asked.service, release, by, words, asked.asked)
        self._say("warning", "release", asked.service, text)

    def _cancel(self, changes: Sequence[Change], reason: str) -> None:
        self._parts.store.cancel(changes, reason)
        for change in changes:
            if self._task is not None and change.number == self._preparing:
                self._task.cancel()
            self._say("warning", "change", "", f"change {change.number} ({change.kind}) is over: {reason}")

    # --- from queued to rolling ---------------------------------------------------------------------------------

    async def _prepare(self, change: Change) -> None:
        try:
            why = await self._attempt(change)
            # A build that fails of being cancelled says nothing: how its change has ended is written down already.
            if why and self._is_open(change):
                self._over(change, "failed", why)
        except sqlite3.OperationalError:
            self._again_at = self._parts.clock() + PATIENCE  # it is still queued; the engine says what is wrong
        finally:
            self._task = None
            self._poke()

    async def _attempt(self, change: Change) -> str:
        """Have a change take effect; says why where it cannot."""
        try:
            await self._take_effect(change)
        except sqlite3.OperationalError:
            raise
        except (AtollError, OSError) as error:
            return _words(error)
        except Exception as error:  # noqa: BLE001 - whatever it is: it would be built again and again
            report(f"change {change.number} broke off", error)
            self.recall()
            return f"{described(error)} ({ADVICE})"
        return ""

    async def _take_effect(self, change: Change) -> None:
        system = self._wanted(change)
        self._parts.store.move(change.number, "building")
        recipes = await self._recipes(change, system)
        if change.kind == "apply":
            system = retain(system, self.system, self.pins, self.failing)
        removed = [name for name in self.pins if name not in system.services]
        self._free(recipes)
        self.pins |= self._parts.store.take_effect(
            change, system, recipes, removed, self._parts.clock(), lambda pin: self._progress(change, system, pin)
        )
        for name in removed:
            del self.pins[name]
        self.intent, self.system = self._parts.store.system()
        for one in recipes:
            number = self.pins[one.service].target
            again = f": it is release {one.release} again" if one.release else ""
            self._say("info", "release", one.service, f"release {number.release if number else '?'} begins{again}")

    def _free(self, recipes: list[Recipe]) -> None:
        """Refuse where a release is already on its way to users."""
        for service in (one.service for one in recipes):
            progress = self.pins.get(service, Pin()).progress
            refuse_second(service, progress)
            if progress is not None:
                text = f"release {progress.release} is superseded before it served anybody"
                self._say("info", "release", service, text)

    def _progress(self, change: Change, system: System, pin: Pin) -> Progress | None:
        """How a new release reaches users: in steps where the file says so and there is something to compare with."""
        assert pin.target is not None  # noqa: S101 - it was made for one
        service = system.services[pin.target.service]
        if service.rollout.strategy == "rolling" or pin.stable is None or change.kind == "rollback":
            return None
        asked = change.kind == "apply"
        return begin(pin.target.release, service.rollout, service.instances, self._parts.clock(), asked=asked)

    def _wanted(self, change: Change) -> System:
        """The system this change asks for, out of the request and what is wanted now."""
        current = self.system
        if change.kind == "down":
            return System(current.name if current else "", current.gateway if current else Gateway(), {}, "")
        if change.kind == "rollback":
            if current is None:
                raise Failed("nothing was ever applied here")
            return current
        request = wire.decode(change.request, wire.ApplyRequest)
        asked = loads(request.text, file=request.file, directory=request.directory)
        if change.kind == "apply" or current is None:
            return asked
        chosen = {name: asked.services[name] for name in change.services if name in asked.services}
        services = dict(current.services) | chosen
        return replace(asked, services=services, gateway=current.gateway, retained=current.retained)

    async def _recipes(self, change: Change, system: System) -> list[Recipe]:
        if change.kind == "down":
            return []
        # One change is under way at a time, so nothing that a build has just made can be taken for rubbish here.
        await self._parts.builder.sweep(self._parts.store.artifacts())
        if change.kind == "rollback":
            return [self._earlier(name) for name in change.services]
        at_once = asyncio.Semaphore(BUILDS_AT_ONCE)
        names = [n for n in system.services if change.kind == "apply" or n in change.services]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._recipe(name, system, at_once)) for name in names]
        except* (AtollError, OSError) as errors:
            raise Failed("\n".join(_words(e) for e in _leaves(errors))) from None
        built = [task.result() for task in tasks]
        if change.kind == "deploy":
            return built
        asked = (self._asked(one, steps=system.services[one.service].rollout.in_steps) for one in built)
        return [one for one in asked if one is not None]

    def _earlier(self, service: str) -> Recipe:
        on = self.pins.get(service, Pin()).newest
        found = earlier(self._parts.store.past(service), on) if on is not None else None
        if found is None:
            raise Failed(f"{service} has no earlier release that has served")
        return found

    def _asked(self, one: Recipe, *, steps: bool) -> Recipe | None:
        """What an applied file asks for: nothing new where it is there already, or was there and was taken back."""
        choice = choose(self.pins.get(one.service, Pin()).newest, one, self._parts.store.past, in_steps=steps)
        if choice.recipe is None and choice.back is not None:
            self._say("warning", "release", one.service, holding(choice.back))
        return choice.recipe

    async def _recipe(self, name: str, system: System, at_once: asyncio.Semaphore) -> Recipe:
        service = system.services[name]
        source = Path(system.directory, service.source or ".")

        def progress(line: str) -> None:
            self.progress[name] = line

        async with at_once:
            try:
                artifact = await self._parts.builder.build(source, service.run, progress=progress)
            except AtollError as error:
                raise Failed(f"{name}: {error.message}", hint=error.hint) from error
            finally:
                self.progress.pop(name, None)
        word = "was built before" if artifact.cached else "is built"
        self._say("info", "build", name, f"artifact {artifact.digest[:12]} ({artifact.kind}) {word}")
        return recipe(system, service, artifact=artifact.digest, argv=artifact.argv)

    # --- from rolling to done -----------------------------------------------------------------------------------

    def _judge(self, observed: Observed, blueprint: Blueprint) -> None:
        if self.system is None:
            return
        given_up_first = self._given_up
        for name, pin in list(self.pins.items()):
            if pin.target is None or pin.progress is not None or name not in self.system.services:
                continue
            verdict = rolling.judge(self.system.services[name], pin, blueprint.workloads.get(name), observed)
            if failing := first_call(pin, pin.target, given_up_first):
                verdict = Verdict(Outcome.FAILED, f"it calls {failing}, whose first release was given up")
            release = pin.target.release
            if verdict.outcome is Outcome.DONE:
                self.pins[name] = self._parts.store.promote(name, release)
                self._say("info", "release", name, f"release {release} has replaced everything before it")
            elif verdict.outcome is Outcome.FAILED:
                # Where there is nothing older to protect: keep trying, later and later, and say so.
                end = self._parts.store.persist if pin.stable is None else self._parts.store.abort
                text = given_up(release, verdict.reason)
                self.pins[name] = end(name, release, verdict.reason, f"{name}: {text}")
                self._say("error", "release", name, text)
                self.failing = self._parts.store.failing()

    def _recover(self, observed: Observed, blueprint: Blueprint) -> None:
        """First releases that were given up, and of which an instance serves after all."""
        for name, release in self.failing.items():
            workload = blueprint.workloads.get(name)
            instances = workload.instances if workload is not None else ()
            if any(i.recipe.release == release and rolling.accepted(i, observed) for i in instances):
                self._parts.store.recover(name, release)
                self._say("info", "release", name, f"release {release} serves after all")
                self.failing = self._parts.store.failing()

    def _let_go(self, blueprint: Blueprint) -> None:
        """What was only kept for its callers goes after them."""
        if self.system is None or not self.system.retained:
            return
        names = dispensable(self.system, self.pins, blueprint.workloads, self.unborn)
        if names:
            left = {name: one for name, one in self.system.services.items() if name not in names}
            retained = tuple(name for name in self.system.retained if name in left)
            self._parts.store.let_go(replace(self.system, services=left, retained=retained), names, self._parts.clock())
            self.recall()
            for name in names:
                self._say("info", "release", name, "nothing needs it any more, so it goes")

    def _finish(self, change: Change, observed: Observed, blueprint: Blueprint) -> None:
        # What was asked for while the end was being asked for goes with it.
        names = everything(self.system, observed, blueprint) if change.kind == "down" else change.services
        if observed.mesh.rejected and change.kind != "down":
            self._reject(change, observed.mesh.rejected)
        elif self.settled(names, observed, blueprint):
            self._over(change, "failed" if change.reason else "done", change.reason)

    def _reject(self, change: Change, words: str) -> None:
        reason = f"Envoy refused the configuration, the one before is back: {words}"
        self._parts.store.reject(change, f"Envoy refused it: {words}", reason, self._parts.clock())
        self.recall()
        self._over(change, "failed", reason)

    def settled(self, services: tuple[str, ...], observed: Observed, blueprint: Blueprint) -> bool:
        """Whether these services are as wanted (or failed and back to what they were)."""
        if self.system is None or observed.mesh.generation < blueprint.generation:
            return False
        for name in services:
            pin, workload = self.pins.get(name), blueprint.workloads.get(name)
            if pin is not None and pin.progress is not None:
                if pin.progress.state is State.STARTING:
                    return False
                continue  # what was asked for is there, dark; how it reaches users is the release's own affair
            if pin is not None and pin.target is not None:
                return False
            if name not in self.system.services:
                if workload is not None or observed.instances.get(name):
                    return False
            elif (
                workload is None
                or not is_settled(workload, observed)
                or len(workload.instances) != self.system.services[name].instances
            ) and not self._failing(name):  # asks the store, so only where it matters
                return False
        return True

    def _failing(self, service: str) -> bool:
        """A service whose first release was given up settles when it can; nobody waits for it."""
        return any(c.reason and service in c.releases for c in self._parts.store.open_changes() if c.state == "rolling")

    def _is_open(self, change: Change) -> bool:
        return any(one.number == change.number for one in self._parts.store.open_changes())

    def _over(self, change: Change, state: str, reason: str) -> None:
        self._parts.store.move(change.number, state, reason)
        level = "info" if state == "done" else "error"
        self._say(
            level,
            "change",
            "",
            f"change {change.number} ({change.kind}) {state}" + (f": {reason}" if reason else ""),
        )
        self._copying.due = self._copying.due or state == "done"
        self._poke()

    def _say(self, level: str, kind: str, service: str, text: str) -> None:
        self._record(Happening(level, kind, service, service or "system", text))


def everything(system: System | None, observed: Observed, blueprint: Blueprint) -> tuple[str, ...]:
    """Every service that is wanted, or of which something is left."""
    return tuple({*(system.services if system else ()), *blueprint.workloads, *observed.instances})


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [leaf for e in group.exceptions for leaf in (_leaves(e) if isinstance(e, BaseExceptionGroup) else [e])]


def _words(error: BaseException) -> str:
    return error.message if isinstance(error, AtollError) else str(error)
