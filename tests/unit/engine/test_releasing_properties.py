"""Whatever people, releases and machines do, and whenever the control plane dies: no promise of a release is broken."""

from __future__ import annotations

import asyncio
import os
import random
from math import ceil

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.plan.blueprint import Stage
from atoll.plan.observed import Phase
from atoll.plan.releasing import PEOPLE, TRANSITIONS, Signal, State, allowed
from atoll.ports import HostCalls
from unit.engine.weights import spread

EXAMPLES = int(os.environ.get("ATOLL_SIMULATIONS", "30"))
INSTANCES = 3
RPS = 120
STRATEGIES = (
    "strategy: canary, steps: [{weight: 10%, for: 5s}, {weight: 50%, for: 5s}], most: 40s, bake: 5s",
    "strategy: canary, steps: [{weight: 30%, for: 5s}], most: 40s, bake: 5s, rollback: forward-only",
    "strategy: blue-green, bake: 5s",
    "bake: 5s",
)

kinds = st.sampled_from(["apply", "deploy", "deploy", "rollback"])
waits = st.tuples(st.just("wait"), st.sampled_from([0.01, 0.3, 2, 6, 20, 60]))
changes = st.tuples(st.just("change"), kinds, st.sampled_from(["v1", "v2", "v3"]), st.sampled_from(STRATEGIES))
fit = st.tuples(st.just("steer"), st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3]), st.integers(1, 2))
happenings = st.one_of(
    changes,
    fit,
    fit,
    st.tuples(st.just("say"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("fail"), st.sampled_from([0.0, 0.02, 0.3, 1.0])),
    st.tuples(st.just("rules"), st.sampled_from(STRATEGIES)),
    st.tuples(st.just("crash")),
    st.tuples(st.just("kill"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["deaf", "quieten", "unready"]), st.booleans()),
    waits,
    waits,
)


class Watched:
    """A house whose traffic is counted and whose promises are watched while things happen to it."""

    def __init__(self, house):
        self.house = house
        self.run, self.fails, self.quiet = "v1", 0.0, False
        self.chance = random.Random(1)
        self.totals: dict[tuple[str, int], list[int]] = {}
        self.taken = None  # the last blueprint that the proxies took
        self.broken: list[str] = []
        self.most: dict[int, int] = {}  # the largest share that each release ever had
        publish, accept, stop = house.mesh.publish, house.mesh._accept, house.runtime.stop

        async def publishing(blueprint):
            self.has_capacity(blueprint)
            await publish(blueprint)

        def accepting(seen):
            self.taken = next(b for b in reversed(house.mesh.published) if b.generation == seen.generation)
            accept(seen)

        async def stopping(name, grace, generation):
            self.may_stop(name)
            await stop(name, grace, generation)

        house.mesh.publish, house.mesh._accept, house.runtime.stop = publishing, accepting, stopping

        self.listen()

    def listen(self):
        """Be there when a transition is written."""
        transit = self.house.store.transit

        def transiting(change, before, after, at, words=""):
            self.is_true(after)
            return transit(change, before, after, at, words)

        self.house.store.transit = transiting

    # --- what must hold -----------------------------------------------------------------------------------------

    def must(self, so, otherwise):
        """Note a broken promise: an error raised here would be taken for one of the proxies."""
        if not so:
            self.broken.append(otherwise)

    def may_stop(self, name):
        """Route before scale: nothing ends while a proxy sends it anything, as far as anybody was told."""
        if self.house.runtime.beings[name].phase is not Phase.RUNNING:
            return
        workload = self.taken.workloads.get("orders") if self.taken is not None else None
        for instance in workload.instances if workload is not None else ():
            self.must(instance.name != name or instance.stage is not Stage.SERVE, f"{name} ends while it serves")

    def has_capacity(self, blueprint):
        """A share is only given where there are instances for it, and the old release stays as large as it was."""
        workload = blueprint.workloads.get("orders")
        split = workload.split if workload is not None else None
        if split is None:
            return
        kept = [
            i for i in workload.instances if i.recipe.release == split.stable and i.stage in {Stage.START, Stage.SERVE}
        ]
        self.must(len(kept) == INSTANCES, "the old release is not warm")
        if split.weight > self.most.get(split.next, 0):
            self.most[split.next] = split.weight
            serving = [i for i in workload.instances if i.recipe.release == split.next and i.stage is Stage.SERVE]
            self.must(len(serving) >= ceil(INSTANCES * split.weight / 100), "weight without capacity")

    def is_true(self, progress):
        """What a state says is so."""
        workload = self.taken.workloads.get("orders") if self.taken is not None else None
        split = workload.split if workload is not None else None
        given = split.weight if split is not None and split.next == progress.release else 0
        match progress.state:
            case State.ROLLED_BACK:
                self.must(given == 0, "it is over, and a proxy still sends to it")
            case State.BAKING:
                self.must(given == 100, "it has everything, and a proxy does not know")
            case State.CANARY | State.HOLDING:
                self.must(progress.weight > 0, f"{progress.state} without a share")
            case State.DARK | State.STARTING | State.ABORTING:
                self.must(progress.weight == 0, f"{progress.state} with a share")

    def promises_are_kept(self):
        """Every transition that was ever written is one of the table, and begins where the one before ended."""
        assert self.broken == []
        stands: dict[int, str] = {}
        for one in reversed(self.house.store.transitions("orders", 10_000)):
            source, signal, target = State(one.source), Signal(one.signal), State(one.target)
            assert stands.get(one.release, State.STARTING) == source
            assert legal(source, signal, target), one
            stands[one.release] = target

    # --- what happens -------------------------------------------------------------------------------------------

    def count(self):
        """A quarter of a second of traffic, as the proxies that have what they were told would send it."""
        workload = self.taken.workloads.get("orders") if self.taken is not None else None
        if self.quiet:
            return
        for instance, is_next, requests in spread(workload, RPS / 4):
            total = self.totals.setdefault((instance.address.ip, instance.address.port), [0, 0])
            for _ in range(requests):
                total[is_next and self.chance.random() < self.fails] += 1
        self.house.mesh.counted = tuple(HostCalls("mesh", *where, *t) for where, t in self.totals.items())

    async def happens(self, what, *how):
        await getattr(self, what)(*how)

    async def change(self, kind, run, rollout):
        self.run = run
        self.house.ask(file(run, rollout), kind)

    async def rules(self, rollout):
        self.house.ask(file(self.run, rollout), "apply")

    async def say(self, signal):
        self.house.store.ask("orders", signal, "ada", "", 0.0)
        self.house.engine.poke()

    async def steer(self, which, times):
        """Say something that means something now, once or twice."""
        progress = self.house.store.pin("orders").progress
        signals = allowed(progress.state) if progress is not None else ()
        for _ in range(times if signals else 0):
            await self.say(signals[min(which, len(signals) - 1)])

    async def fail(self, rate):
        self.fails = rate

    async def crash(self):
        await self.house.sleep()
        self.house.move_in()
        self.listen()
        await self.house.wake()

    async def kill(self, which):
        running = self.house.running
        if running:
            self.house.runtime.end(running[which % len(running)], signal=9)

    async def deaf(self, yes):
        self.house.mesh.deaf = yes

    async def quieten(self, yes):
        self.quiet = yes

    async def unready(self, yes):
        self.house.prober.words = {"/": "it does not answer"} if yes else {}

    async def wait(self, seconds):
        await asyncio.sleep(seconds)


def legal(source, signal, target):
    named = TRANSITIONS.get((source, signal))
    instead = {(State.GROWING, Signal.READY): State.FULL, (State.GROWING, Signal.HOLD): State.DARK}
    return target in {named, instead.get((source, signal), named)}


def file(run, rollout):
    return f"{{orders: {{source: orders, run: {run}, instances: {INSTANCES}, health: /, release: {{{rollout}}}}}}}"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="ATOLL_SIMULATIONS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(changes, st.lists(happenings, min_size=5, max_size=30))
def test_no_illegal_state_is_ever_reached_and_route_comes_before_scale(live_anew, change, script):
    async def story(house):
        await house.settle(house.ask(file("v1", STRATEGIES[0])))
        watched = Watched(house)

        async def traffic():
            while True:
                watched.count()
                await asyncio.sleep(0.25)

        task = asyncio.create_task(traffic())
        try:
            for what in (change, *script):
                await watched.happens(*what)
                watched.promises_are_kept()
            await trouble_ends(house, watched)
        finally:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task.exception()
        watched.promises_are_kept()

    live_anew(story)


async def trouble_ends(house, watched):
    """Once nothing goes wrong any more, what is on its way ends or waits for a person, whose word is then followed."""
    house.mesh.deaf, watched.quiet, house.prober.words, watched.fails = False, False, {}, 0.0

    def progress():
        return house.store.pin("orders").progress

    def settled():
        now = progress()
        return (now is None or now.state in {State.DARK, State.HOLDING}) and not house.store.open_changes()

    await house.until(settled, seconds=900)
    if progress() is not None:
        house.store.ask("orders", Signal.ABORT, "ada", "enough", 0.0)
        house.engine.poke()
    await house.until(lambda: progress() is None and house.engine.converged(), seconds=900)
    await house.until(lambda: len(house.running) == INSTANCES)
    states = [r.state for r in house.store.releases("orders")]
    assert states.count("serving") == 1
