"""A system on paper and a control plane that shows it, for the tests of everything that people look at."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import uvicorn
from hypothesis import HealthCheck, settings
from starlette.applications import Starlette

from atoll import wire
from atoll.errors import Refused
from atoll.model.load import loads
from atoll.model.system import Gateway, System
from atoll.operations.changes import Desk
from atoll.operations.flags import FlagDesk
from atoll.operations.snapshot import Snapshot
from atoll.plan.blueprint import Address, Blueprint, Instance, Recipe, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.happenings import Happening
from atoll.plan.observed import Observed, Phase, Readiness, Seen
from atoll.plan.recipes import recipe
from atoll.server.surface import Surface
from atoll.store.store import Store

NOW = 1_700_000_000.0

# The same examples every time, so that a red run is a change's doing; no clock in the verdict: machines are shared.
settings.register_profile(
    "atoll", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("atoll")


@dataclass(slots=True)
class Scene:
    """A system as the file says it, what is made up about it, and the surface that shows it."""

    text: str
    directory: Path
    system: System | None = None
    store: Store | None = None
    pins: dict[str, Pin] = field(default_factory=dict)
    instances: dict[str, list[Instance]] = field(default_factory=dict)
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    readiness: dict[str, dict[str, Readiness]] = field(default_factory=dict)
    rates: dict[str, wire.Rates] = field(default_factory=dict)
    failed_runs: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    loads: dict[str, wire.Load] = field(default_factory=dict)
    building: dict[str, str] = field(default_factory=dict)
    change: wire.ChangeView | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    converged: bool = True
    at: float = NOW
    digests: dict[str, str] = field(default_factory=dict)
    unusable: str = ""
    answered: frozenset[str] = frozenset({"runtime", "probes", "mesh"})
    refusals: tuple[str, ...] = ()
    happenings: list[Happening] = field(default_factory=list)
    happening: list[wire.Event] = field(default_factory=list)
    written: list[wire.LogLine] = field(default_factory=list)
    comparisons: dict[str, wire.ComparisonView] = field(default_factory=dict)
    looks: int = 0
    pokes: int = 0
    outcome: tuple[str, str] | None = None
    ended: int = 0

    def __post_init__(self) -> None:
        if self.text:
            self.system = loads(self.text, file="atoll.yaml", directory=str(self.directory))

    def request(self, text: str = "", *, index: str | None = None, services: tuple[str, ...] = ()) -> wire.ApplyRequest:
        return wire.ApplyRequest(text or self.text, "atoll.yaml", str(self.directory), index, services)

    def recipe(self, service: str, release: int) -> Recipe:
        assert self.system is not None
        one = recipe(self.system, self.system.services[service], artifact=f"{release:064x}", argv=("run",))
        return replace(one, release=release)

    def run(
        self,
        service: str,
        serial: int,
        *,
        release: int = 1,
        stage: Stage = Stage.SERVE,
        phase: Phase | None = Phase.RUNNING,
        **more: object,
    ) -> Instance:
        """One instance in the target, seen in *phase* (None: not seen)."""
        address = Address("10.118.0.1", 8080)
        one = Instance(
            name=f"{service}-r{release}-{serial}",
            recipe=self.recipe(service, release),
            serial=serial,
            network=serial,
            address=address,
            outlets=(),
            env=(),
            stage=stage,
            since=NOW,
        )
        one = replace(one, **more)
        self.instances.setdefault(service, []).append(one)
        if phase is not None:
            seen = Seen(one.name, service, phase, 4000 + serial, NOW - 60)
            self.seen.setdefault(service, {})[one.name] = seen
        return one

    def steady(self) -> None:
        """Everything runs as the file says."""
        for name, service in self.system.services.items() if self.system is not None else ():
            self.pins[name] = Pin(self.recipe(name, 1))
            for serial in range(1, service.instances + 1):
                self.run(name, serial, served=NOW - 50)

    def snapshot(self) -> Snapshot:
        workloads = {name: self._workload(name) for name in self.instances}
        gateway = self.system.gateway if self.system is not None else Gateway()
        blueprint = Blueprint(self.system.name if self.system is not None else "", 7, gateway, workloads)
        return Snapshot(
            system=self.system,
            pins=self.pins,
            blueprint=blueprint,
            observed=Observed(self.at, self.seen, self.readiness, answered=self.answered),
            converged=self.converged,
            change=self.change,
            rates=self.rates,
            loads=self.loads,
            building=self.building,
            problems=self.problems,
            notes=self.notes,
        )

    def _workload(self, name: str) -> Workload:
        service = self.system.services.get(name) if self.system is not None else None
        runs = self.instances[name]
        recipe_ = runs[0].recipe
        return Workload(
            service=name,
            runtime=recipe_.runtime,
            instances=tuple(runs),
            routes=service.routes if service is not None else (),
            calls=service.calls if service is not None else (),
            egress=service.egress if service is not None else (),
            check=recipe_.health.ready,
            serial=max(i.serial for i in runs),
            failed_runs=self.failed_runs.get(name, ()),
        )

    def open(self) -> Surface:
        """The surface over it. The store belongs to the thread that calls this."""
        self.store = Store(self.directory / "state.db")
        return Surface(
            identity=wire.Identity("shop", 4242, "0.1.0", True, "http://127.0.0.1:1/?token=x"),
            desk=self.desk(),
            flags=self.flag_desk(),
            store=self.store,
            snapshot=self._look,
            comparison=self.comparisons.get,
            follow=self._follow,
            lines=self._lines,
            end=self._end,
        )

    def desk(self) -> Desk:
        if self.store is None:
            self.store = Store(self.directory / "state.db")
        return Desk(self.store, self._digests, lambda _: self.refusals, self._poke, lambda: self.at)

    def flag_desk(self) -> FlagDesk:
        if self.store is None:
            self.store = Store(self.directory / "state.db")
        return FlagDesk(self.store, self.happenings.append, lambda: self.at)

    def serve_now(self, *releases: int, service: str = "") -> None:
        """Apply the file to the store, and let the releases of its services be promoted one after the other."""
        assert self.store is not None
        assert self.system is not None
        for number in releases or (1,):
            change = self.store.request("apply", self.system.services, b"{}", self.at)
            names = [service] if service else list(self.system.services)
            recipes = [self.recipe(name, number) for name in names]
            for name, pin in self.store.take_effect(change, self.system, recipes, (), self.at).items():
                assert pin.target is not None
                self.store.promote(name, pin.target.release)
            self.store.move(change.number, "done")

    async def _look(self) -> Snapshot:
        self.looks += 1
        return self.snapshot()

    async def _digests(self, _: System) -> dict[str, str]:
        if self.unusable:
            raise Refused(self.unusable, hint="copy the file in, or ignore it")
        return self.digests

    async def _follow(self, after: int) -> AsyncIterator[wire.Event]:
        for event in self.happening:
            if event.number > after:
                yield event

    async def _lines(self, service: str | None, tail: int, follow: bool) -> AsyncIterator[wire.LogLine]:
        for line in self.written[max(0, len(self.written) - tail) :]:
            if service in {None, line.service}:
                yield line
        if follow:
            await asyncio.Event().wait()

    def _poke(self) -> None:
        self.pokes += 1
        if self.outcome is not None:  # an engine that is done at once
            assert self.store is not None
            for change in self.store.open_changes():
                self.store.move(change.number, *self.outcome)

    def _end(self) -> None:
        self.ended += 1


SHOP = """
system: shop
services:
  web:
    source: web
    routes: [/]
    calls: [orders]
  orders:
    source: orders
    instances: 2
    calls:
      payments: {timeout: 800ms, retries: 1}
      https://api.stripe.com: {}
  payments:
    source: payments
"""


@pytest.fixture
def scene_of(tmp_path: Path) -> Iterator[Callable[[str], Scene]]:
    made: list[Scene] = []

    def make(text: str) -> Scene:
        made.append(Scene(text, tmp_path))
        return made[-1]

    yield make
    for one in made:
        if one.store is not None:
            with contextlib.suppress(Exception):  # one that a served thread opened was closed there
                one.store.close()


@pytest.fixture
def scene(scene_of: Callable[[str], Scene]) -> Scene:
    return scene_of(SHOP)


class Served:
    """An application on a real socket, in a thread with its own loop; what *make* opens belongs to that thread."""

    def __init__(self, make: Callable[[], Starlette], *, uds: Path | None) -> None:
        self._make = make
        self._uds = uds
        self._started = threading.Event()
        self._listener = None if uds is not None else socket.create_server(("127.0.0.1", 0))
        self.port = 0 if self._listener is None else self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(20), "the server did not start"

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        uds = str(self._uds) if self._uds is not None else None
        config = uvicorn.Config(self._make(), uds=uds, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        self._server = _Ready(config, self._started)
        await self._server.serve(sockets=[self._listener] if self._listener is not None else None)

    def call(self, act: Callable[[], object]) -> object:
        """Run *act* in the server's thread, and wait."""

        async def run() -> object:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    def end(self) -> None:
        self._server.should_exit = True

    def close(self) -> None:
        self.end()
        self.join()

    def join(self) -> None:
        self._thread.join(20)
        frame = sys._current_frames().get(self._thread.ident)
        where = "".join(traceback.format_stack(frame)) if frame is not None else ""
        assert not self._thread.is_alive(), f"the server did not end: {where}{asyncio.all_tasks(self._loop)}"
        if self._listener is not None:
            self._listener.close()


class _Ready(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._told = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told.set()


@pytest.fixture(scope="session")
def leaving() -> Iterator[list[Served]]:
    """Servers that were told to end, which takes each a fifth of a second that no test waits for."""
    ending: list[Served] = []
    yield ending
    for one in ending:
        one.join()


@pytest.fixture
def served(leaving: list[Served]) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def serve(make: Callable[[], Starlette], *, uds: Path | None = None) -> Served:
        running.append(Served(make, uds=uds))
        return running[-1]

    yield serve
    for one in running:
        one.end()
    leaving.extend(running)
