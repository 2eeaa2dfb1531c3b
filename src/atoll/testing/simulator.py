"""
The engine's decisions over a world that does not exist, in virtual time, with a control plane that may die anywhere.

The control plane here calls the very functions the engine calls (`design`, `diff`, `judge`, `violations`,
`wake_at`); only what carries out and what answers is simulated. After every event the invariants are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from atoll.model.system import Gateway, System
from atoll.plan.actions import Action, Create, Publish, Remove, Start, Stop, key
from atoll.plan.blueprint import Blueprint, Recipe, Stage
from atoll.plan.decisions import Pin
from atoll.plan.design import Host, design, wake_at
from atoll.plan.diff import diff
from atoll.plan.happenings import Happening, design_happenings, seen_happenings
from atoll.plan.observed import MeshSeen, Observed, Phase, Readiness, Seen
from atoll.plan.recipes import recipe, same_content
from atoll.plan.violations import violations
from atoll.policies.rolling import judge
from atoll.policies.verdict import Outcome
from atoll.testing.invariants import Watch, serving
from atoll.testing.world import Being, Broken, World
from atoll.values.hashing import fraction

PERIOD = 1.0
TURN = 0.002
PROBE = 0.1
ORPHANS_LOST = 0.5
"""The share of actions under way that a dying control plane takes with it."""
LATENCY: Mapping[type[Action], float] = {Create: 0.02, Start: 0.03, Publish: 0.0, Stop: 0.005, Remove: 0.01}


@dataclass(frozen=True, slots=True)
class Request:
    """A change: the system that is wanted, the artifact of each of its services, and who gets a new release anyway."""

    system: System
    artifacts: Mapping[str, str]
    anew: frozenset[str] = frozenset()


@dataclass(slots=True)
class Memory:
    """What survives the control plane: intent, pins, releases, the last saved target and the changes in line."""

    system: System = field(default_factory=lambda: System("sim", Gateway(), {}, ""))
    pins: dict[str, Pin] = field(default_factory=dict)
    blueprint: Blueprint = field(default_factory=lambda: Blueprint("sim", 0, Gateway(), {}))
    releases: dict[str, list[Recipe]] = field(default_factory=dict)
    queue: list[Request] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # the reason of the last release that was given up


class _Died(Exception):
    pass


class Simulation:
    """
    One world, one memory, and one control plane after the other.

    `tell` gets a line of what happened with its time; `born` counts the instances that were ever made.
    """

    def __init__(self, tell: Callable[[float, str], None] = lambda _at, _line: None) -> None:
        self.world = World(self._poke)
        self.memory = Memory()
        self.watch = Watch(self.world)
        self.alive = True
        self.die_after: int | None = None  # how many more steps this control plane has to live
        self.turns = 0
        self._tell = tell
        self._observed = Observed(at=0.0)
        self._words: dict[str, dict[str, Readiness]] = {}
        self._asked: set[str] = set()
        self._unable: dict[str, str] = {}
        self._under_way: set[tuple[str, str]] = set()
        self._poked = False

    @property
    def born(self) -> int:
        """How many instances there have ever been."""
        return len(self.world.names)

    # --- what a test does -------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass; every event and every turn is checked."""
        until = self.world.now + seconds
        while self.world.step(until):
            self._check()

    def request(self, request: Request, *, overtake: bool = False) -> None:
        """Ask for a change. It waits for those before it, or takes effect although they are not over."""
        self.memory.queue.append(request)
        if overtake:
            self._take_effect(self.memory.queue.pop())
        self._poke()

    def roll_back(self, service: str) -> None:
        """Ask for the release before the one that is wanted."""
        past = self.memory.releases.get(service, [])
        if len(past) > 1 and service in self.memory.system.services:
            artifacts = {n: r[-1].artifact for n, r in self.memory.releases.items()} | {service: past[-2].artifact}
            self.request(Request(self.memory.system, artifacts))

    def crash(self, back_after: float = 0.5) -> None:
        """Kill the control plane; another one comes after a while."""
        if not self.alive:
            return
        self.alive = False
        self.die_after = None
        self._say("the control plane is killed")
        self.world.forget()
        self.world.later(back_after, self._revive)

    def silence(self, source: str, seconds: float) -> None:
        """Let the runtime or the mesh give no answer for a while."""
        self.world.silent.add(source)

        def speak() -> None:
            self.world.silent.discard(source)
            self._poke()

        self.world.later(seconds, speak)

    def beings(self, service: str) -> list[Being]:
        """The processes of a service, oldest first."""
        return [b for b in self.world.beings.values() if b.instance.recipe.service == service and b.pid]

    def converged(self) -> str:
        """Empty when everything is as declared and nothing is left to do, else what is not."""
        memory, world = self.memory, self.world
        if not self.alive or memory.queue or any(pin.target for pin in memory.pins.values()):
            return "the control plane has not come to it"
        observed = self._look()
        target = self._design(observed)
        if target is not memory.blueprint:
            return f"the design is not at rest: {_differences(memory.blueprint, target)}"
        if diff(target, observed):
            return f"there is something to do: {diff(target, observed)}"
        for name, service in memory.system.services.items():
            count = len(serving(world, target).get(name, ()))
            if count != service.instances:
                return f"{name}: {count} of {service.instances} serve"
        wanted = {i.name for w in target.workloads.values() for i in w.instances}
        strays = sorted(world.beings.keys() - wanted)
        return f"nobody wants {strays}" if strays else ""

    # --- the control plane --------------------------------------------------------------------------------------------

    def _poke(self) -> None:
        if not self._poked:
            self._poked = True
            self.world.later(TURN, self._due)

    def _due(self) -> None:
        self._poked = False
        if self.alive:
            self._turn()

    def _revive(self) -> None:
        self.alive = True
        self._observed = Observed(at=0.0)
        self._words, self._asked, self._unable, self._under_way = {}, set(), {}, set()
        self.memory.blueprint = _reread(self.memory.blueprint)
        self._say("a new control plane looks around")
        self._poke()

    def _turn(self) -> None:
        self.turns += 1
        try:
            self._decide_and_act()
        except _Died:
            self.crash()
            return
        due = wake_at(self.memory.blueprint, self._observed)
        pause = PERIOD if due is None else min(PERIOD, max(0.0, due - self.world.now))
        turn = self.turns
        self.world.later(pause, lambda: self._poke() if self.turns == turn else None)

    def _decide_and_act(self) -> None:
        memory = self.memory
        before, was = serving(self.world, memory.blueprint), self._observed
        self._observed = observed = self._look()
        self._mortal()
        self._hear(seen_happenings(was, observed, memory.blueprint))
        self._change(observed)
        target = self._design(observed)
        for broken in violations(target):
            raise Broken(f"at {self.world.now:.3f}: {broken}")
        self._mortal()
        if target.generation != memory.blueprint.generation:
            self._hear(design_happenings(memory.blueprint, target))
        memory.blueprint = target
        self.watch.turn(before, memory.system, memory.pins, target, observed)
        self._mortal()
        self._carry_out(diff(target, observed), target, observed)

    def _design(self, observed: Observed) -> Blueprint:
        memory = self.memory
        return design(memory.system, memory.pins, observed, memory.blueprint, Host("/run/sim"))

    def _mortal(self) -> None:
        """A point at which the control plane may die."""
        if self.die_after is not None:
            self.die_after -= 1
            if self.die_after < 0:
                raise _Died

    def _look(self) -> Observed:
        world, last = self.world, self._observed
        answered, instances, mesh = {"probes"}, last.instances, MeshSeen()
        if "runtime" not in world.silent:
            answered.add("runtime")
            instances = _grouped(world.observe(), last.instances)
        if "mesh" not in world.silent:
            answered.add("mesh")
            mesh = world.mesh()
        self._unable = {n: why for n, why in self._unable.items() if n in _names(self.memory.blueprint)}
        return Observed(
            at=world.now,
            instances=instances,
            readiness=self._probe(instances),
            mesh=mesh,
            failed=dict(self._unable),
            answered=frozenset(answered),
        )

    def _probe(self, instances: Mapping[str, Mapping[str, Seen]]) -> Mapping[str, Mapping[str, Readiness]]:
        """The health checks' words: the first one on an instance takes a while, a service without news keeps its."""
        words: dict[str, dict[str, Readiness]] = {}
        for service, seen in instances.items():
            group: dict[str, Readiness] = {}
            for name, what in seen.items():
                being = self.world.beings.get(name)
                if being is None or what.phase is not Phase.RUNNING:
                    continue
                if name in self._asked:
                    group[name] = self.world.word(being)
                else:
                    self._ask(name)
            if group:
                words[service] = old if (old := self._words.get(service)) == group else group
        self._words = words
        return dict(words)

    def _ask(self, name: str) -> None:
        epoch = self.world.epoch

        def answer() -> None:
            if self.world.epoch == epoch:
                self._asked.add(name)
                self._poke()

        self.world.later(PROBE, answer)

    # --- changes ------------------------------------------------------------------------------------------------------

    def _change(self, observed: Observed) -> None:
        memory = self.memory
        for name, pin in list(memory.pins.items()):
            if pin.target is None or name not in memory.system.services:
                continue
            verdict = judge(memory.system.services[name], pin, memory.blueprint.workloads.get(name), observed)
            if verdict.outcome is Outcome.GOING:
                continue
            if verdict.outcome is Outcome.DONE or pin.stable is None:
                memory.pins[name] = Pin(pin.target)
            else:
                memory.pins[name] = Pin(pin.stable)
            if verdict.outcome is Outcome.FAILED:
                memory.failed[name] = verdict.reason
            self._say(f"release {pin.target.release} of {name} is {verdict.outcome}: {verdict.reason}".rstrip(": "))
            self._mortal()
        if memory.queue and not any(pin.target for pin in memory.pins.values()):
            self._take_effect(memory.queue.pop(0))

    def _take_effect(self, request: Request) -> None:
        memory = self.memory
        memory.system = request.system
        memory.pins = {n: p for n, p in memory.pins.items() if n in request.system.services}
        for name, service in request.system.services.items():
            pin = memory.pins.get(name, Pin())
            new = recipe(request.system, service, artifact=request.artifacts[name], argv=("run",))
            if pin.newest is None or name in request.anew or not same_content(pin.newest, new):
                past = memory.releases.setdefault(name, [])
                past.append(replace(new, release=len(past) + 1))
                memory.pins[name] = Pin(pin.stable, past[-1])
                self._say(f"release {len(past)} of {name} begins")

    # --- acting -------------------------------------------------------------------------------------------------------

    def _carry_out(self, actions: tuple[Action, ...], target: Blueprint, observed: Observed) -> None:
        self.watch.actions(actions, target, observed)
        for action in actions:
            if key(action) in self._under_way:
                continue
            self._under_way.add(key(action))
            if not isinstance(action, Publish):
                self._say(f"{type(action).__name__.lower()} {key(action)[1]}: {action.why}")
            self._begin(action, target)
            self._mortal()

    def _begin(self, action: Action, target: Blueprint) -> None:
        epoch = self.world.epoch

        def act() -> None:
            orphan = self.world.epoch != epoch
            if orphan and (isinstance(action, Publish) or fraction(f"{key(action)} {epoch}") < ORPHANS_LOST):
                return
            reason = self._act(action, target)
            if not orphan:
                self._under_way.discard(key(action))
                if reason:
                    self._unable[key(action)[1]] = reason
                    self._say(f"{key(action)[1]} cannot start: {reason}")
                    self._poke()

        self.world.later(LATENCY[type(action)], act)

    def _act(self, action: Action, target: Blueprint) -> str:
        match action:
            case Create(instance):
                self.world.create(instance)
            case Start(instance):
                return self.world.start(instance)
            case Publish():
                self.world.publish(target)
            case Stop(name, _, grace):
                self.world.stop(name, grace)
            case Remove(name):
                self.world.remove(name)
        return ""

    # --- telling and checking ---------------------------------------------------------------------------------------

    def _check(self) -> None:
        world = self.world
        self.watch.instant(
            blind=not self.alive or bool(world.silent) or not world.proxies.up or bool(world.proxies.refusal)
        )

    def _hear(self, happenings: Iterable[Happening]) -> None:
        for one in happenings:
            self._say(f"{one.subject} {one.text}".splitlines()[0])

    def _say(self, line: str) -> None:
        self._tell(self.world.now, line)


def _grouped(seen: Mapping[str, Seen], last: Mapping[str, Mapping[str, Seen]]) -> dict[str, Mapping[str, Seen]]:
    groups: dict[str, dict[str, Seen]] = {}
    for name, what in seen.items():
        groups.setdefault(what.service, {})[name] = what
    return {service: last[service] if last.get(service) == group else group for service, group in groups.items()}


def _names(blueprint: Blueprint) -> set[str]:
    return {i.name for w in blueprint.workloads.values() for i in w.instances}


def _reread(blueprint: Blueprint) -> Blueprint:
    """As the store gives it back: equal, but nothing in it is the same object."""
    return replace(blueprint, workloads={n: replace(w, basis=None) for n, w in blueprint.workloads.items()})


def _differences(before: Blueprint, after: Blueprint) -> list[str]:
    return [n for n, w in after.workloads.items() if before.workloads.get(n) is not w]


def stages(simulation: Simulation, service: str) -> list[Stage]:
    """The stages of a service's instances, oldest first."""
    workload = simulation.memory.blueprint.workloads.get(service)
    return [i.stage for i in workload.instances] if workload is not None else []
