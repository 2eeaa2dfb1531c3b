"""
Parallel runs: have the copies compared while a release is in the shadow, keep what is found, say what it means.

What is found is written down every few seconds and when a run is over, so that a control plane that dies goes on with
what it had; the comparer is started anew and knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from atoll import wire
from atoll.engine.account import account
from atoll.engine.parts import Parts
from atoll.errors import AtollError
from atoll.model.system import Compare, Service, System
from atoll.plan.blueprint import Blueprint, Recipe
from atoll.plan.decisions import Pin
from atoll.plan.happenings import Happening
from atoll.plan.observed import Observed
from atoll.plan.recipes import same_content
from atoll.plan.releasing import COMPARED, Progress
from atoll.policies.comparing.contract import contract
from atoll.policies.comparing.gate import Ruling, rule
from atoll.policies.comparing.messages import Findings, Orders, Task
from atoll.policies.comparing.oddone import Profile, learned, learned_beside
from atoll.policies.comparing.run import Run, heard, refused

SAVE = 5.0
"""Seconds between two times that a run is written down."""
SWEEP = 3600.0
NOTHING = Ruling("", "")


class Comparing:
    """Moves parallel runs on. `verdict` is asked by whoever moves the release."""

    def __init__(self, parts: Parts, record: Callable[[Happening], None]) -> None:
        self._parts = parts
        self._record = record
        self._runs: dict[str, Run] = {}
        self._profiles: dict[str, Profile] = {}
        self._rulings: dict[str, Ruling] = {}
        self._saved: dict[str, Run] = {}
        self._saved_at = 0.0
        self._swept_at = 0.0
        self._problem = ""
        parts.comparer.listen(self._hear)

    async def look(self, blueprint: Blueprint) -> None:
        """Ask the proxies what the releases in the shadow were refused."""
        for service, run in self._runs.items():
            workload = blueprint.workloads.get(service)
            instances = workload.instances if workload is not None else ()
            names = [i.name for i in instances if i.recipe.release == run.release]
            try:
                counts = {name: await self._parts.mesh.refused(name) for name in names}
            except (AtollError, OSError):
                continue  # the counts only grow: the next look has them
            self._runs[service] = refused(self._runs[service], counts)

    def step(self, system: System | None, pins: Mapping[str, Pin], observed: Observed, blueprint: Blueprint) -> None:
        """One turn: begin what has come into the shadow, end what has left it, and say of the rest what is found."""
        wanted = {name: found for name, pin in pins.items() if (found := _shadowed(system, name, pin)) is not None}
        for name in [name for name, run in self._runs.items() if name not in wanted or not wanted[name].is_of(run)]:
            self._finish(name)
        for name, shadowed in wanted.items():
            if name not in self._runs:
                self._begin(shadowed)
            self._rule(shadowed)
        told = observed.mesh.generation >= blueprint.generation
        if told or not wanted:  # while the proxies take something up, what is compared is what was
            tasks = (_task(one, self._runs[name]) for name, one in wanted.items() if one.is_copied(blueprint))
            self._parts.comparer.compare(Orders(tuple(tasks)))
        self._complain()
        self._save()

    def verdict(self, service: str, progress: Progress) -> Ruling:
        """What there was to say in this turn about a release in the shadow; nothing where it is not there yet."""
        run = self._runs.get(service)
        known = run is not None and run.release == progress.release and progress.state in COMPARED
        return self._rulings.get(service, NOTHING) if known else NOTHING

    def account(self, system: System | None, service: str) -> wire.ComparisonView | None:
        """The newest run of a service for people to see, None where there is none."""
        going_on = self._runs.get(service)
        run = going_on or self._parts.store.comparisons.run(service)
        if run is None:
            return None
        declared = system.services.get(service) if system is not None else None
        intended = declared.compare.intended if declared is not None and declared.compare is not None else ()
        return account(run, intended, self._parts.clock(), running=going_on is not None)

    # --- one run ------------------------------------------------------------------------------------------------

    def _hear(self, findings: Findings) -> None:
        run = self._runs.get(findings.service)
        if run is not None and run.since == findings.since:  # else it is over, or was begun anew
            self._runs[findings.service] = heard(run, findings, self._parts.clock(), self._profiles[findings.service])

    def _begin(self, one: _Shadowed) -> None:
        now, store = self._parts.clock(), self._parts.store.comparisons
        before = store.run(one.service.name, one.progress.release)
        new = Run(one.service.name, one.progress.release, one.stable.release, now, now, contract(one.compare))
        self._profiles[new.service] = store.noise(new.service, one.stable.artifact)
        self._runs[new.service] = before if before is not None and one.is_of(before) else new

    def _rule(self, one: _Shadowed) -> None:
        name = one.service.name
        run, profile = self._runs[name], self._profiles[name]
        ruling = rule(run, one.compare, profile, one.progress.since, self._parts.clock())
        self._rulings[name] = ruling
        if (ruling.kind, ruling.words) != (run.kind, run.words):
            self._runs[name] = replace(run, kind=ruling.kind, words=ruling.words)

    def _finish(self, service: str) -> None:
        """Write it down for good, and keep what it has taught of the noise."""
        run, profile, store = self._runs[service], self._profiles[service], self._parts.store
        now = self._parts.clock()
        store.comparisons.keep(replace(run, until=now), now)
        stable, candidate = (store.recipe(service, release) for release in (run.stable, run.release))
        if stable is not None and candidate is not None and run.samples:
            learn = learned if same_content(stable, candidate) else learned_beside
            store.comparisons.learn(service, stable.artifact, learn(profile, run.comparison))
        for forgotten in (self._runs, self._profiles, self._rulings, self._saved):
            forgotten.pop(service, None)

    def _save(self) -> None:
        now = self._parts.clock()
        if now < self._saved_at + SAVE:
            return
        if now >= self._swept_at + SWEEP:
            self._parts.store.comparisons.sweep(now)
            self._swept_at = now
        self._saved_at = now
        for service, run in self._runs.items():
            if self._saved.get(service) is not run:
                self._parts.store.comparisons.keep(run, now)
                self._saved[service] = run

    def _complain(self) -> None:
        problem = self._parts.comparer.problem
        if problem and problem != self._problem:
            self._record(Happening("error", "comparer", "", "comparer", problem))
        self._problem = problem


@dataclass(frozen=True, slots=True)
class _Shadowed:
    """A service with a release in the shadow, and everything that this takes."""

    service: Service
    compare: Compare
    stable: Recipe
    progress: Progress

    def is_of(self, run: Run) -> bool:
        """Whether *run* is about this; what was compared by another contract is not."""
        return run.release == self.progress.release and run.contract == contract(self.compare)

    def is_copied(self, blueprint: Blueprint) -> bool:
        """Whether the proxies are to copy what is called, for this release."""
        workload = blueprint.workloads.get(self.service.name)
        shadow = workload.shadow if workload is not None else None
        return shadow is not None and shadow.release == self.progress.release


def _shadowed(system: System | None, name: str, pin: Pin) -> _Shadowed | None:
    service = system.services.get(name) if system is not None else None
    compare = service.compare if service is not None else None
    if service is None or compare is None or pin.stable is None or pin.progress is None:
        return None
    return _Shadowed(service, compare, pin.stable, pin.progress) if pin.progress.state in COMPARED else None


def _task(one: _Shadowed, run: Run) -> Task:
    compare = one.compare
    return Task(
        service=one.service.name,
        run=run.name,
        since=run.since,
        concurrency=compare.concurrency,
        timeout=compare.timeout,
        contract=run.contract,
        endpoints=compare.endpoints,
        safe=compare.safe,
    )
