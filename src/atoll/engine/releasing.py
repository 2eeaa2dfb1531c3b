"""
Releases that move traffic in steps: look at what the proxies counted, let the judge speak, take the transition.

Every turn reads everything anew and takes at most one transition per service, in one transaction; a control plane that
dies in between finds the same one to take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from atoll.engine.evidence import Evidence
from atoll.engine.judging import WATCHED, Bakes, Flows, decider, heard, told
from atoll.engine.parts import Parts
from atoll.errors import Conflict, Refused
from atoll.model.system import Service, System
from atoll.plan.blueprint import Blueprint, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.flag_release import flag_of
from atoll.plan.happenings import Happening
from atoll.plan.observed import Observed
from atoll.plan.releasing import (
    ALL,
    COMPARED,
    JUDGED,
    WHOLE,
    Facts,
    Progress,
    Signal,
    State,
    due,
    given_up,
    judged,
    sized,
    step,
)
from atoll.policies import rolling
from atoll.policies.comparing.gate import Ruling
from atoll.policies.judge.counters import Snapshot
from atoll.policies.judge.release import judged_by
from atoll.policies.judge.verdict import Verdict
from atoll.policies.judge.words import explain
from atoll.policies.verdict import Outcome
from atoll.store.transitions import Transition


class Releasing:
    """
    Moves releases on. `judging` says whether one is judged now.

    *compared* says what is known of one in the shadow.
    """

    def __init__(
        self,
        parts: Parts,
        record: Callable[[Happening], None],
        compared: Callable[[str, Progress], Ruling],
    ) -> None:
        self._parts = parts
        self._record = record
        self._compared = compared
        self._evidence = Evidence(parts)
        self._flows = Flows()
        self._bakes = Bakes()
        self.judging = False

    async def look(self, pins: Mapping[str, Pin]) -> None:
        """Ask the proxies what was called, where a judge wants to know."""
        on_their_way = {name: pin.progress.state for name, pin in pins.items() if pin.progress is not None}
        watched = frozenset(name for name, state in on_their_way.items() if state in WATCHED)
        whole = frozenset(name for name, state in on_their_way.items() if state in WHOLE)
        self.judging = any(state in JUDGED for state in on_their_way.values())
        self._flows.keep(watched)
        self._bakes.keep(whole)
        await self._evidence.look(watched | whole)

    def step(self, system: System | None, pins: dict[str, Pin], observed: Observed, blueprint: Blueprint) -> None:
        """One turn over all releases; *pins* is brought up to date."""
        for asked in self._parts.store.asked():
            if flag_of(asked.service) is None:
                self._answer(asked, system, pins)
        for name, pin in list(pins.items()):
            service = system.services.get(name) if system is not None else None
            if service is not None and pin.progress is not None and pin.target is not None:
                pins[name] = self._turn(service, pin, pin.progress, observed, blueprint)

    def _answer(self, asked: Transition, system: System | None, pins: dict[str, Pin]) -> None:
        """What a person wants, where it still means something."""
        service = system.services.get(asked.service) if system is not None else None
        pin = pins.get(asked.service, Pin())
        if service is None or pin.progress is None:
            self._parts.store.forget(asked.asked)
            return
        try:
            pins[asked.service] = self._take(service, pin.progress, asked)
        except (Refused, Conflict) as error:
            self._parts.store.forget(asked.asked)
            self._say("warning", asked.service, f"{asked.signal} by {asked.actor} came too late: {error.message}")

    def _turn(self, service: Service, pin: Pin, progress: Progress, observed: Observed, blueprint: Blueprint) -> Pin:
        workload = blueprint.workloads.get(service.name)
        before, progress = progress, sized(progress, service.rollout, service.instances)
        snapshot = self._look(progress, workload)
        if progress.state in WATCHED and snapshot.readings:
            self._flows.measure(service.name, snapshot.at, snapshot.readings)
        after, verdict = self._judge(service, progress, snapshot) if workload is not None else (progress, None)
        if workload is not None and after.weight:
            held = after.paused and after.state in JUDGED
            after = replace(after, paused=held or not _serves(workload, after.release))
        facts = _facts(service, pin, after, observed, blueprint, verdict)
        if after.state in COMPARED:
            ruling = self._compared(service.name, after)
            facts = replace(facts, verdict=ruling.kind, words=ruling.words)
        elif after.state in WHOLE:
            facts = self._bakes.heard(service.name, after, snapshot, service.rollout.judge, facts)
        found = due(after, service.rollout, facts)
        if found is None:
            if after != before:
                self._parts.store.remember(service.name, after)
            return replace(pin, progress=after)
        signal, reason = found
        actor = decider(reason, facts, "comparer" if after.state in COMPARED else "judge")
        return self._take(service, after, Transition(service.name, signal, actor, reason))

    def _take(self, service: Service, progress: Progress, change: Transition) -> Pin:
        now = self._parts.clock()
        signal = Signal(change.signal)
        after = step(progress, signal, service.rollout, service.instances, now, change.reason)
        if after.state is State.FULL:
            after = replace(after, usual=self._flows.usual(service.name, progress))
        never = progress.state is State.STARTING and signal in {Signal.GIVE_UP, Signal.ABORT}
        text = given_up(after.release, change.reason) if never else ""
        pin = self._parts.store.transit(change, progress, after, now, text and f"{service.name}: {text}")
        level, words = told(change, after, f"release {after.release}")
        self._say(level, service.name, words)
        if text:
            self._say("error", service.name, text)
        if (progress.state, after.state) == (State.GROWING, State.CANARY):
            sizes, policy = (after.size, service.instances), judged_by(service, after)
            taken = progress.shown / ALL
            prospect = self._flows.prospect(service.name, after, policy, sizes, service.rollout.most, taken)
            self._say("info", service.name, f"release {after.release}: {prospect}")
        return pin

    def _look(self, progress: Progress, workload: Workload | None) -> Snapshot:
        """What was counted of a release and of the one beside it."""
        if workload is None:
            return Snapshot(self._evidence.at)
        return self._evidence.snapshot(workload, progress.release, progress.shown / ALL)

    def _judge(self, service: Service, progress: Progress, snapshot: Snapshot) -> tuple[Progress, Verdict | None]:
        """The judge's word on what was counted since the last look; none where nothing was looked at."""
        if not judged(progress, service.rollout) or not snapshot.at:
            return progress, None
        way_back = service.rollout.rollback == "safe"
        return heard(progress, snapshot, judged_by(service, progress), way_back=way_back)

    def _say(self, level: str, service: str, text: str) -> None:
        self._record(Happening(level, "release", service, service, text))


def _serves(workload: Workload, release: int) -> bool:
    """Whether an instance of it is ready; where none is, its share would be answered by nobody."""
    return any(i.recipe.release == release and i.stage is Stage.SERVE for i in workload.instances)


def _facts(
    service: Service,
    pin: Pin,
    progress: Progress,
    observed: Observed,
    blueprint: Blueprint,
    verdict: Verdict | None,
) -> Facts:
    workload = blueprint.workloads.get(service.name)
    instances = workload.instances if workload is not None else ()
    split = workload.split if workload is not None else None
    ready = sum(i.recipe.release == progress.release and rolling.accepted(i, observed) for i in instances)
    wanted = (progress.release, progress.shown, progress.state is State.BAKING)
    shadowed = workload is not None and workload.shadow is not None
    shown = split is not None and (split.next, split.weight, split.both) == wanted
    known = shown and shadowed == (progress.state in COMPARED and service.compare is not None)
    failed = rolling.judge(service, pin, workload, observed)
    deed = "aborted" if service.rollout.rollback == "safe" else "found"
    return Facts(
        at=observed.at,
        ready=ready,
        acknowledged=known and observed.mesh.generation >= blueprint.generation,
        failure=failed.reason if failed.outcome is Outcome.FAILED else "",
        verdict=verdict.kind if verdict is not None else "",
        words=explain(verdict, deed) if verdict is not None else "",
    )
