"""
Releases that move traffic in steps: look at what the proxies counted, let the judge speak, take the transition.

Every turn reads everything anew and takes at most one transition per service, in one transaction; a control plane that
dies in between finds the same one to take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from atoll.engine.parts import Parts
from atoll.errors import AtollError, Conflict, Refused
from atoll.model.system import Service, System
from atoll.plan.blueprint import Blueprint, Workload
from atoll.plan.decisions import Pin
from atoll.plan.happenings import Happening
from atoll.plan.observed import Observed
from atoll.plan.releasing import ALL, COMPARED, Facts, Progress, Signal, State, due, step
from atoll.policies import rolling
from atoll.policies.comparing.gate import Ruling
from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm
from atoll.policies.judge.judging import observe
from atoll.policies.judge.keeping import from_json, to_json
from atoll.policies.judge.resolving import Traffic, resolvable
from atoll.policies.judge.state import State as Memory
from atoll.policies.judge.state import begin
from atoll.policies.judge.verdict import Verdict
from atoll.policies.judge.words import explain
from atoll.policies.verdict import Outcome
from atoll.ports import HostCalls
from atoll.store.store import Transition
from atoll.values.judging import ERRORS, JudgePolicy

POLICY = JudgePolicy(metrics=(ERRORS,))
"""What the proxies count by instance are requests and errors."""
JUDGED = (State.CANARY, State.HOLDING)
WATCHED = (State.STARTING, State.DARK, *COMPARED, State.GROWING, *JUDGED)
"""Before it is judged it is known how much traffic there will be to judge by."""
WINDOW = 60.0
LOUD = (Signal.ABORT, Signal.HOLD, Signal.GIVE_UP)


@dataclass(frozen=True, slots=True)
class _Flow:
    """What the stable release of a service was asked from one look to another."""

    since: float
    first: tuple[int, int]
    at: float
    last: tuple[int, int]

    @property
    def seconds(self) -> float:
        return self.at - self.since

    @property
    def requests(self) -> int:
        return max(0, self.last[0] - self.first[0])

    @property
    def errors(self) -> int:
        return max(0, self.last[1] - self.first[1])


class Releasing:
    """
    Moves releases on. `judging` says whether one is judged now.

    *failed* is told of one that never became ready; *compared* says what is known of one in the shadow.
    """

    def __init__(
        self,
        parts: Parts,
        record: Callable[[Happening], None],
        failed: Callable[[str, int, str], None],
        compared: Callable[[str, Progress], Ruling],
    ) -> None:
        self._parts = parts
        self._record = record
        self._failed = failed
        self._compared = compared
        self._calls: tuple[HostCalls, ...] = ()
        self._seen_at = 0.0
        self._flows: dict[str, _Flow] = {}
        self.judging = False

    async def look(self, pins: Mapping[str, Pin]) -> None:
        """Ask the proxies what was called, where a judge wants to know."""
        on_their_way = {name: pin.progress.state for name, pin in pins.items() if pin.progress is not None}
        watched = frozenset(name for name, state in on_their_way.items() if state in WATCHED)
        self.judging = any(state in JUDGED for state in on_their_way.values())
        self._flows = {name: flow for name, flow in self._flows.items() if name in watched}
        self._calls = ()
        if not watched:
            return
        try:
            self._calls = await self._parts.mesh.calls(watched)
            self._seen_at = self._parts.clock()
        except (AtollError, OSError):
            pass  # no data: the judge holds when it lasts

    def step(self, system: System | None, pins: dict[str, Pin], observed: Observed, blueprint: Blueprint) -> None:
        """One turn over all releases; *pins* is brought up to date."""
        for asked in self._parts.store.asked():
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
        self._measure(service.name, progress, workload)
        judged, verdict = self._judge(progress, workload)
        facts = _facts(service, pin, judged, observed, blueprint, verdict)
        if judged.state in COMPARED:
            ruling = self._compared(service.name, judged)
            facts = replace(facts, verdict=ruling.kind, words=ruling.words)
        found = due(judged, service.rollout, facts)
        if found is None:
            if judged != progress:
                self._parts.store.remember(service.name, judged)
            return replace(pin, progress=judged)
        signal, reason = found
        actor = "judge" if verdict is not None else "comparer" if facts.verdict else "atoll"
        return self._take(service, judged, Transition(service.name, signal, actor, reason))

    def _take(self, service: Service, progress: Progress, change: Transition) -> Pin:
        now = self._parts.clock()
        signal = Signal(change.signal)
        after = step(progress, signal, service.rollout, service.instances, now, change.reason)
        pin = self._parts.store.transit(change, progress, after, now)
        share = f" at {after.weight}%" if after.state in {State.CANARY, State.HOLDING} else ""
        words = f"release {after.release} is {after.state}{share} ({change.actor}): {change.reason}"
        self._say("warning" if signal in LOUD else "info", service.name, words)
        if (progress.state, after.state) == (State.GROWING, State.CANARY):
            self._say("info", service.name, f"release {after.release}: {self._prospect(service, after)}")
        if after.state is State.FAILED:
            self._failed(service.name, after.release, change.reason)
        return pin

    def _judge(self, progress: Progress, workload: Workload | None) -> tuple[Progress, Verdict | None]:
        """The judge's word on what was counted since the last look; none where nothing was looked at."""
        if progress.state not in JUDGED or workload is None or not self._seen_at:
            return progress, None
        state = _memory(progress, self._seen_at)
        snapshot = Snapshot(self._seen_at, tuple(self._readings(workload, progress.release)), progress.shown / 100)
        state, verdict = observe(state, snapshot, POLICY)
        return replace(progress, judge=to_json(state), paused=not verdict.exposed), verdict

    def _readings(self, workload: Workload, release: int) -> Iterator[Reading]:
        arms = {
            (i.address.ip, i.address.port): (i.name, Arm.CANARY if i.recipe.release == release else Arm.STABLE)
            for i in workload.instances
        }
        for calls in self._calls:
            found = arms.get((calls.ip, calls.port))
            if found is not None:
                name, arm = found
                yield Reading(calls.proxy, name, arm, calls.success, calls.error)

    def _measure(self, service: str, progress: Progress, workload: Workload | None) -> None:
        """How much the stable release is asked, while it still gets everything and after."""
        if progress.state not in WATCHED or workload is None or not self._calls:
            return
        stable = [r for r in self._readings(workload, progress.release) if r.arm is Arm.STABLE]
        now = (sum(r.success + r.error for r in stable), sum(r.error for r in stable))
        flow = self._flows.get(service)
        if flow is None or flow.seconds > WINDOW or now < flow.last:
            flow = _Flow(self._seen_at, now, self._seen_at, now)
        self._flows[service] = replace(flow, at=self._seen_at, last=now)

    def _prospect(self, service: Service, progress: Progress) -> str:
        """What size of regression the present traffic can resolve in the time of a step, in words."""
        flow = self._flows.get(service.name)
        if flow is None or not flow.seconds:
            return "how much it is called is not known yet"
        if not flow.requests:
            return "nobody calls it, so it cannot be judged until somebody does"
        share = progress.weight / ALL
        rps = flow.requests / flow.seconds
        usual = flow.errors / flow.requests
        traffic = Traffic(round(rps, 1), share, progress.size, service.instances, max(usual, 1e-4))
        return resolvable(traffic, POLICY, service.rollout.most).text

    def _say(self, level: str, service: str, text: str) -> None:
        self._record(Happening(level, "release", service, service, text))


def _memory(progress: Progress, at: float) -> Memory:
    """What the judge remembers; nothing where another version of it wrote that down."""
    if progress.judge:
        try:
            return from_json(progress.judge)
        except ValueError:
            pass
    return begin(POLICY, at)


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
    told = shown and shadowed == (progress.state in COMPARED and service.compare is not None)
    failed = rolling.judge(service, pin, workload, observed)
    return Facts(
        at=observed.at,
        ready=ready,
        acknowledged=told and observed.mesh.generation >= blueprint.generation,
        failure=failed.reason if failed.outcome is Outcome.FAILED else "",
        verdict=verdict.kind if verdict is not None else "",
        words=explain(verdict) if verdict is not None else "",
    )
