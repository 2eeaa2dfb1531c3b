"""
A machine that does not exist: processes, health checks and proxies on a clock of their own.

Nothing here sleeps or runs beside anything else. Whatever takes time is an event in a queue, so that hours of trouble
are tried in milliseconds and every run of the same script is the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from signal import SIGKILL

from atoll.plan.blueprint import Blueprint, Instance, Stage
from atoll.plan.observed import Exit, MeshSeen, Phase, Readiness, Seen

START_OF_TIME = 1_000.0


class Broken(AssertionError):
    """An invariant does not hold; the message says which, by what, and when."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """
    How the program of one artifact behaves; seconds.

    `boot` is from its start to its first passed health check (None: it never passes), `dies` from its start to its
    exit with code 1, `flaps` how long it stays ready and then unready. It ends `ends` after SIGTERM and its open
    requests go on for `requests` once it drains. `startable` is whether a process can be made of it at all.
    """

    boot: float | None = 0.3
    dies: float | None = None
    flaps: float | None = None
    ends: float = 0.1
    requests: float = 0.5
    startable: bool = True


@dataclass(slots=True)
class Being:
    """One instance as it really is, whatever the control plane believes."""

    instance: Instance
    phase: Phase
    pid: int = 0
    started_at: float = 0.0
    ready: bool = False
    live: bool = True
    altered: str = ""
    exit: Exit | None = None

    @property
    def works(self) -> bool:
        """Whether a request sent to it would be answered."""
        return self.phase is Phase.RUNNING and self.ready and not self.altered

    def seen(self) -> Seen:
        """As a runtime reports it."""
        recipe, name = self.instance.recipe, self.instance.name
        return Seen(name, recipe.service, self.phase, self.pid, self.started_at, self.exit, self.altered)


@dataclass(slots=True)
class Proxies:
    """
    The proxies as they really are, and what the control plane's side of them remembers.

    `routes` holds the stage of every endpoint they have; `sent` what was offered and is not acknowledged yet.
    """

    ack: float = 0.05
    up: bool = True
    refusal: str = ""
    routes: dict[str, Stage] = field(default_factory=dict)
    outlets: frozenset[str] = frozenset()
    draining: dict[str, float] = field(default_factory=dict)  # since when they send it nothing new
    sent: list[Offer] = field(default_factory=list)
    known: int = 0  # the generation that this control plane has seen acknowledged; forgotten when it dies
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """One configuration on its way to the proxies."""

    generation: int
    routes: Mapping[str, Stage]
    outlets: frozenset[str]
    epoch: int


class World:
    """
    The machine. `poke` is called after everything that a control plane would be told of.

    The methods named like those of the ports act at once; the simulator lets them take time.
    """

    def __init__(self, poke: Callable[[], None]) -> None:
        self.now = START_OF_TIME
        self.poke = poke
        self.beings: dict[str, Being] = {}
        self.proxies = Proxies()
        self.behaviours: dict[str, Behaviour] = {}
        self.silent: set[str] = set()
        self.epoch = 0  # which control plane lives; what an earlier one was about to do may never happen
        self.names: set[str] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self._pids = count(1)

    # --- time ---------------------------------------------------------------------------------------------------

    def later(self, delay: float, event: Callable[[], None]) -> None:
        """Let something happen after *delay* seconds."""
        heapq.heappush(self._queue, (self.now + delay, next(self._numbers), event))

    def step(self, until: float) -> bool:
        """Let the next thing happen if it does so before *until*; else only time passes. Says whether it did."""
        if not self._queue or self._queue[0][0] > until:
            self.now = until
            return False
        self.now, _, event = heapq.heappop(self._queue)
        event()
        return True

    # --- what a control plane does --------------------------------------------------------------------------------

    def create(self, instance: Instance) -> None:
        """Make its place. Two living ones may not share a name, a network or a port."""
        if instance.name in self.beings:
            return
        for other in self.beings.values():
            if (instance.network or None) == other.instance.network or instance.address == other.instance.address:
                raise Broken(f"at {self.now:.3f}: {instance.name} has the address of {other.instance.name}")
        self.names.add(instance.name)
        self.beings[instance.name] = Being(instance, Phase.CREATED)
        self.poke()

    def start(self, instance: Instance) -> str:
        """Run it. Says why it cannot, else nothing."""
        being = self.beings.get(instance.name)
        behaviour = self.behaviour(instance)
        if not behaviour.startable:
            return "exec format error"
        if being is None:
            return "its place is gone"
        if being.phase is not Phase.CREATED:
            return ""
        being.phase, being.pid, being.started_at = Phase.RUNNING, next(self._pids), self.now
        if behaviour.boot is not None:
            self.later(behaviour.boot, lambda: self.become(being, ready=True))
        if behaviour.dies is not None:
            self.later(behaviour.dies, lambda: self.end(being, Exit(self.now, code=1, log=("Traceback",))))
        self.poke()
        return ""

    def stop(self, name: str, grace: float) -> None:
        """Ask it to end; the one who asked makes it end after *grace* seconds, if it lives that long itself."""
        being = self.beings.get(name)
        if being is None or being.phase is not Phase.RUNNING:
            return
        being.phase, epoch = Phase.STOPPING, self.epoch
        ends = self.behaviour(being.instance).ends
        if ends < grace and not being.altered:
            self.later(ends, lambda: self.end(being, Exit(self.now, code=0)))
        else:
            self.later(grace, lambda: self.kill(being) if self.epoch == epoch else None)
        self.poke()

    def remove(self, name: str) -> None:
        """Forget one that has ended."""
        being = self.beings.get(name)
        if being is not None and being.phase in {Phase.CREATED, Phase.EXITED}:
            del self.beings[name]
            self.poke()

    def publish(self, blueprint: Blueprint) -> None:
        """Offer a configuration. The proxies take the newest one they are offered, in order, or refuse it."""
        instances = [i for w in blueprint.workloads.values() for i in w.instances]
        routes = {i.name: i.stage for i in instances if i.stage in {Stage.SERVE, Stage.DRAIN}}
        outlets = frozenset(i.name for i in instances if i.name in self.beings)
        self.proxies.sent.append(Offer(blueprint.generation, routes, outlets, self.epoch))
        self.later(self.proxies.ack, self._acknowledge)

    def _acknowledge(self) -> None:
        proxies = self.proxies
        if not proxies.up or not proxies.sent:
            return
        before = (proxies.known, proxies.rejected, proxies.routes, proxies.outlets)
        offer = proxies.sent.pop(0)
        if proxies.refusal:
            proxies.rejected = proxies.refusal
        else:
            proxies.rejected = ""
            proxies.known = offer.generation if offer.epoch == self.epoch else proxies.known
            proxies.routes, proxies.outlets = dict(offer.routes), offer.outlets
            draining = {n for n, stage in offer.routes.items() if stage is Stage.DRAIN}
            proxies.draining = {n: proxies.draining.get(n, self.now) for n in draining}
            for name in draining:
                self.later(self.behaviour(self.beings[name].instance).requests if name in self.beings else 0, self.poke)
        if before != (proxies.known, proxies.rejected, proxies.routes, proxies.outlets):
            self.poke()

    # --- what a control plane sees --------------------------------------------------------------------------------

    def observe(self) -> dict[str, Seen]:
        """What the runtimes report."""
        return {name: being.seen() for name, being in self.beings.items()}

    def word(self, being: Being) -> Readiness:
        """What a health check says of it now."""
        works = being.ready and not being.altered
        return Readiness(works, 0.0, "" if works else "GET /ready answered 503", being.live)

    def mesh(self) -> MeshSeen:
        """What the proxies' side reports; it knows nothing before its first offer was acknowledged."""
        proxies = self.proxies
        if not proxies.known:
            return MeshSeen(rejected=proxies.rejected)
        active = {name: int(self.busy(name)) for name in proxies.draining}
        return MeshSeen(proxies.known, dict(proxies.routes), proxies.outlets, active, proxies.rejected)

    def busy(self, name: str) -> bool:
        """Whether a draining instance has open requests."""
        being = self.beings.get(name)
        if being is None or being.phase is not Phase.RUNNING:
            return False
        return self.now < self.proxies.draining[name] + self.behaviour(being.instance).requests

    # --- what happens to it -----------------------------------------------------------------------------------------

    def behaviour(self, instance: Instance) -> Behaviour:
        """How the program in it behaves."""
        return self.behaviours.get(instance.recipe.artifact, Behaviour())

    def become(self, being: Being, *, ready: bool) -> None:
        """It passes its health check, or fails it."""
        if being.phase not in {Phase.RUNNING, Phase.STOPPING}:
            return
        being.ready = ready
        flaps = self.behaviour(being.instance).flaps
        if flaps is not None:
            self.later(flaps, lambda: self._flap(being, ready=not ready))
        self.poke()

    def _flap(self, being: Being, *, ready: bool) -> None:
        if self.behaviour(being.instance).flaps is not None:
            self.become(being, ready=ready)

    def end(self, being: Being, how: Exit) -> None:
        """Its process is gone."""
        if being.phase in {Phase.RUNNING, Phase.STOPPING}:
            being.phase, being.exit, being.ready = Phase.EXITED, how, False
            self.poke()

    def kill(self, being: Being) -> None:
        """Somebody kills it."""
        self.end(being, Exit(self.now, signal=SIGKILL))

    def deaden(self, being: Being) -> None:
        """It deadlocks: its live check fails from now on."""
        if being.phase is Phase.RUNNING:
            being.ready = being.live = False
            self.poke()

    def halt(self, being: Being) -> None:
        """Somebody sends it SIGSTOP."""
        if being.phase is Phase.RUNNING:
            being.altered = "somebody stopped its process (SIGSTOP)"
            self.poke()

    def vanish(self, being: Being) -> None:
        """Somebody removes it whole, behind everybody's back."""
        if self.beings.pop(being.instance.name, None) is not None:
            being.phase, being.ready = Phase.EXITED, False
            self.poke()

    def proxies_up(self, *, up: bool) -> None:
        """The proxies stop taking configurations, or take them again; what was offered meanwhile is lost."""
        self.proxies.up = up
        self.proxies.sent.clear()
        self.poke()

    def forget(self) -> None:
        """The control plane is dead: all that was in memory only is lost."""
        self.epoch += 1
        self.proxies.known = 0
        self.proxies.rejected = ""
        for being in self.beings.values():
            if being.phase is Phase.STOPPING:
                being.phase = Phase.RUNNING
