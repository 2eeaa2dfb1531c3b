"""An engine whose ports are in memory, on a loop whose clock only moves when everybody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from atoll import wire
from atoll.engine.engine import Engine
from atoll.engine.internal_errors import InternalErrors
from atoll.engine.parts import Parts
from atoll.errors import Failed, Unavailable
from atoll.model.system import RuntimeKind
from atoll.plan.blueprint import Blueprint, Stage
from atoll.plan.design import Host
from atoll.plan.observed import Exit, MeshSeen, Phase, Seen
from atoll.policies.comparing.messages import Findings, Orders
from atoll.ports import Artifact, FlagCalls, HostCalls
from atoll.store.store import Store
from virtual import VirtualLoop


def clock() -> float:
    return asyncio.get_running_loop().time()


class Runtime:
    def __init__(self):
        self.beings: dict[str, Seen] = {}
        self.calls: list[tuple[str, str]] = []
        self.silent = False
        self.broken: dict[str, str] = {}
        self.changed: Callable[[], None] = lambda: None

    async def prepare(self, changed):
        self.changed = changed

    def _may(self, what, name):
        self.calls.append((what, name))
        if what in self.broken:
            raise Failed(self.broken[what], hint="mend it")

    async def create(self, instance, generation):
        self._may("create", instance.name)
        self.beings[instance.name] = Seen(instance.name, instance.recipe.service, Phase.CREATED, 0, 0.0)

    async def start(self, instance, artifact, generation):
        self._may("start", instance.name)
        self.beings[instance.name] = replace(
            self.beings[instance.name], phase=Phase.RUNNING, pid=len(self.calls), started_at=clock()
        )

    async def stop(self, name, grace, generation):
        self._may("stop", name)
        self.end(name, code=0)

    async def remove(self, name, generation):
        self._may("remove", name)
        del self.beings[name]

    async def observe(self):
        if self.silent:
            raise Unavailable("nobody there")
        return dict(self.beings)

    def end(self, name, **how):
        self.beings[name] = replace(self.beings[name], phase=Phase.EXITED, exit=Exit(clock(), **how))
        self.changed()

    async def close(self):
        self.calls.append(("close", ""))


class Mesh:
    def __init__(self, runtime):
        self.runtime = runtime
        self.seen = MeshSeen()
        self.offered = 0
        self.silent = False
        self.away = ""
        self.ended: dict[str, str] = {}
        self.deaf = False
        self.refusal = ""
        self.refusals: dict[str, int] = {}
        self.counted: tuple[HostCalls, ...] = ()
        self.counted_by_variant: tuple[FlagCalls, ...] = ()
        self.published: list[Blueprint] = []
        self.changed: Callable[[], None] = lambda: None

    async def prepare(self, changed):
        self.changed = changed

    async def publish(self, blueprint):
        self.offered += 1
        self.published.append(blueprint)
        if not self.deaf:
            instances = [i for w in blueprint.workloads.values() for i in w.instances]
            accepted = {i.name: i.stage for i in instances if i.stage in {Stage.SERVE, Stage.DRAIN}}
            outlets = frozenset(i.name for i in instances if i.name in self.runtime.beings)
            active = {n: 0 for n, stage in accepted.items() if stage is Stage.DRAIN}
            seen = MeshSeen(blueprint.generation, accepted, outlets, active)
            if self.refusal:
                seen = replace(self.seen, rejected=self.refusal)
            asyncio.get_running_loop().call_later(0.01, self._accept, seen)

    def _accept(self, seen):
        if seen != self.seen:
            self.seen = seen
            self.changed()

    async def observe(self):
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable(self.away)
        return self.seen

    def ends(self):
        return self.ended

    async def calls(self, services):
        return tuple(c for c in self.counted if services)

    async def flag_calls(self):
        return self.counted_by_variant

    async def refused(self, instance):
        return self.refusals.get(instance, 0)

    async def close(self):
        self.seen = self.seen


class Comparer:
    """Hears what a test says."""

    def __init__(self):
        self.problem = ""
        self.orders = Orders()
        self.say: Callable[[Findings], None] = lambda _: None

    def listen(self, heard):
        self.say = heard

    def compare(self, orders):
        self.orders = orders

    async def close(self):
        self.orders = Orders()


class Prober:
    def __init__(self):
        self.words: dict[str, str] = {}  # by address, by path
        self.asked: list[tuple[float, str, str | None]] = []

    async def probe(self, address, check):
        self.asked.append((clock(), address.ip, check.path))
        return self.words.get(check.path or "") or self.words.get(address.ip, "")


class Builder:
    def __init__(self):
        self.broken = ""
        self.gone = False
        self.seconds = 0.1
        self.built: list[str] = []

    def digest(self, source, run):
        return f"{source.name}-{run}"

    async def sweep(self, keep):
        self.kept = keep

    async def build(self, source, run, *, progress):
        progress("compiling")
        await asyncio.sleep(self.seconds)
        if self.broken:
            raise Failed(self.broken)
        self.built.append(source.name)
        return self._artifact(f"{source.name}-{run}")

    def find(self, digest):
        return None if self.gone else self._artifact(digest)

    def _artifact(self, digest):
        return Artifact(digest, "/artifacts/x", "python", ("run",))


class House:
    """An engine and its neighbours. `foreseen` are words of the internal errors that a test provokes."""

    def __init__(self, path: Path):
        self.path = path
        self.foreseen: tuple[str, ...] = ()
        self.runtime = Runtime()
        self.mesh = Mesh(self.runtime)
        self.prober, self.builder, self.comparer = Prober(), Builder(), Comparer()
        self.move_in()

    def move_in(self) -> None:
        """A new control plane over what is there."""
        self.store = Store(self.path)
        self.events: list[wire.Event] = []
        parts = Parts(
            store=self.store,
            builder=self.builder,
            runtimes={RuntimeKind.SANDBOX: self.runtime},
            mesh=self.mesh,
            prober=self.prober,
            comparer=self.comparer,
            host=Host("/run/x"),
            clock=clock,
            busy_ports=frozenset,
        )
        self.engine = Engine(parts)
        self.engine.listeners.append(self.events.append)
        self.internal = InternalErrors(self.engine.record)
        asyncio.get_running_loop().set_exception_handler(self.internal.handle)

    async def wake(self) -> None:
        """The control plane begins to turn."""
        await self.engine.prepare()
        self.task = asyncio.create_task(self.engine.run())

    async def sleep(self) -> None:
        """The control plane ends."""
        died = self.task.done()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.engine.close()
        self.store.close()
        assert not died, f"the engine died of {self.task.exception()!r}"
        unforeseen = [text for text in self.internal.told if not any(words in text for words in self.foreseen)]
        assert not unforeseen, "an internal error, see the log"

    def ask(self, services: str, kind: str = "apply", names: tuple[str, ...] = ()) -> int:
        """Queue a change, with the services part of the file in one line of YAML."""
        text = f"system: shop\nservices: {services}\n"
        request = wire.encode(wire.ApplyRequest(text, "atoll.yaml", "/srv"))
        number = self.store.request(kind, names or ("orders",), request, clock()).number
        self.engine.poke()
        return number

    async def until(self, condition: Callable[[], object], seconds: float = 300.0, every: float = 0.05) -> None:
        """Wait, in virtual time, for something to be so; it may pass, so look *every* so many seconds."""
        deadline = clock() + seconds
        while not condition():
            assert clock() < deadline, f"it never came: {[e.text for e in self.events[-12:]]}"
            await asyncio.sleep(every)

    async def settle(self, number: int) -> str:
        """The state a change ends in, once nothing is left to do."""
        await self.until(lambda: self.store.change(number).state in {"done", "failed"})
        await self.until(self.engine.converged)
        return self.store.change(number).state

    @property
    def running(self) -> list[str]:
        return [n for n, b in self.runtime.beings.items() if b.phase is Phase.RUNNING]

    def texts(self, kind: str) -> list[str]:
        return [e.text for e in self.events if e.kind == kind]


def live_in(path: Path, story: Callable[[House], Coroutine[None, None, None]]) -> None:
    """Run *story* with a house at *path* whose engine turns, in virtual time."""

    async def main() -> None:
        house = House(path)
        await house.wake()
        try:
            await story(house)
        finally:
            await house.sleep()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


@pytest.fixture
def live(tmp_path):
    """Run a test's coroutine with a house whose engine turns, in virtual time."""
    return partial(live_in, tmp_path / "state.db")


@pytest.fixture
def live_anew(tmp_path_factory):
    """As `live`, with another house every time."""
    return lambda story: live_in(tmp_path_factory.mktemp("house") / "state.db", story)
