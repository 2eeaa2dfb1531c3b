"""
The composition root: the only place that knows which drivers exist.

`control_plane` puts everything together and runs until it is told to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from starlette.applications import Starlette

from atoll import wire
from atoll.drivers.builders.build import builder
from atoll.drivers.comparer import ComparerProcess
from atoll.drivers.host.proc import listeners
from atoll.drivers.probes import FabricProber
from atoll.drivers.runtimes.process import ProcessRuntime
from atoll.drivers.runtimes.sandbox import SandboxRuntime
from atoll.engine.engine import Engine
from atoll.engine.internal_errors import InternalErrors
from atoll.engine.metering import Meter
from atoll.engine.parts import Parts
from atoll.errors import Unavailable
from atoll.mesh.envoy import EnvoyMesh
from atoll.model.system import Origin, RuntimeKind, System
from atoll.operations.changes import Desk, standing
from atoll.operations.flags import FlagDesk
from atoll.operations.snapshot import Snapshot
from atoll.plan.blueprint import Stage
from atoll.plan.design import Host
from atoll.server.api.app import app
from atoll.server.dashboard.page import dashboard
from atoll.server.doors import why_closed
from atoll.server.flags.app import flags_app
from atoll.server.flags.serving import Serving
from atoll.server.ground import Fabric
from atoll.server.listening import serve, until
from atoll.server.lock import keep_there
from atoll.server.loglines import lines
from atoll.server.settings import Settings
from atoll.server.sources import digests
from atoll.server.surface import Surface
from atoll.store.store import Store
from atoll.unforeseen import persist
from atoll.values.network import COMPARING

PERIOD = 1.0  # seconds between looks after the lock's file
_BEFORE_ALL = -1  # no event has a lower number; after 0 the journal gives the newest ones only
LOOK = 0.1  # seconds between looks whether the last change is over: who waits for it sees that, mostly


@dataclass(slots=True)
class _Ending:
    """How the control plane is told to end, and whether the whole system goes with it."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    end_requested: asyncio.Event = field(default_factory=asyncio.Event)
    """The proxies are to end and nothing is to stay, as soon as every change is over."""
    over: bool = False

    async def follow(self, engine: Engine) -> None:
        """End once the system is down; where something runs when every change is over, nobody wants that any more."""
        while not self.over:
            await self.end_requested.wait()
            while engine.parts.store.open_changes():  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(LOOK)
            self.over = engine.down()
            self.end_requested.clear()
        self.asked.set()


async def control_plane(places: Settings, fabric: Fabric | None, lock: int | None = None) -> bool:
    """
    Run until told to end; true when the system is down and nothing of it may stay.

    *lock* is the descriptor that holds the lock of the state directory, which is kept where others look for it.

    On SIGTERM it only lets go: instances and proxies go on, and the next control plane adopts them.
    """
    store = Store(places.database)
    ending = _Ending()
    engine = Engine(_parts(places, fabric, store))
    asyncio.get_running_loop().set_exception_handler(InternalErrors(engine.record).handle)
    page, token = _page(places)
    meter = Meter(engine.parts)
    surface = _surface(places, fabric, engine, meter, ending)
    surface = replace(surface, identity=replace(surface.identity, dashboard=_url(page, token)))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.asked.set)
    await _refuse_lost_state(engine, places)
    await engine.prepare()
    try:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(engine.run()),
                group.create_task(meter.run()),
                group.create_task(persist("waiting for the end", lambda: ending.follow(engine))),
                group.create_task(persist("keeping the lock", lambda: _keep_lock(places, lock))),
                group.create_task(serve(app(surface), uds=places.socket)),
                group.create_task(serve(_flags(engine, ending), uds=places.flags)),
                group.create_task(serve(dashboard(surface, token), listener=page)),
            ]
            await ending.asked.wait()
            for task in running:
                task.cancel()
    finally:
        if ending.over:
            await engine.parts.mesh.stop()
        await engine.close()
        store.close()
    return ending.over


async def _keep_lock(places: Settings, descriptor: int | None) -> None:
    while descriptor is not None:
        await asyncio.sleep(PERIOD)
        descriptor = keep_there(places.lock, descriptor)


async def _refuse_lost_state(engine: Engine, places: Settings) -> None:
    """Instances without any state mean that the state was lost: taking them for strays would end them silently."""
    number, _ = engine.parts.store.system()
    records = list((places.run / "instances").glob("*.json"))
    if number == 0 and records:
        raise Unavailable(
            f"instances of this system are recorded as running ({len(records)}), but its state in {places.database} is"
            " empty: the file was lost",
            hint=f"put it back (a copy may be at {places.database}.backup), or end them with `atoll down --force`",
        )


def _parts(places: Settings, fabric: Fabric | None, store: Store) -> Parts:
    runtime = _runtime(places, fabric)
    return Parts(
        store=store,
        builder=builder(places.artifacts, places.logs),
        runtimes={RuntimeKind.PROCESS if fabric is None else RuntimeKind.SANDBOX: runtime},
        mesh=EnvoyMesh(
            run_dir=places.run,
            log_dir=places.logs,
            fabric=fabric.netns if fabric is not None else None,
            rootless=fabric.rootless if fabric is not None else False,
        ),
        comparer=ComparerProcess(places.run / COMPARING, places.logs / "comparer.txt", sandboxed=fabric is not None),
        prober=FabricProber(fabric.netns if fabric is not None else None, runtime.listening),
        host=Host(str(places.run)),
        clock=time.time,
        busy_ports=lambda: frozenset(listeners()),
    )


def _runtime(places: Settings, fabric: Fabric | None) -> SandboxRuntime | ProcessRuntime:
    if fabric is None:
        return ProcessRuntime(run_dir=places.run, log_dir=places.logs, system=places.identity)
    return SandboxRuntime(
        run_dir=places.run,
        log_dir=places.logs,
        system=places.identity,
        fabric=fabric.netns,
        rootless=fabric.rootless,
    )


def _surface(places: Settings, fabric: Fabric | None, engine: Engine, meter: Meter, ending: _Ending) -> Surface:
    store = engine.parts.store

    async def snapshot() -> Snapshot:
        await meter.sample()
        last = store.last_change()
        return Snapshot(
            system=engine.changing.system,
            pins=engine.changing.pins,
            blueprint=engine.blueprint,
            observed=engine.observed,
            converged=engine.converged(),
            change=standing(store, last) if last is not None else None,
            rates=meter.rates(),
            loads=meter.loads(),
            building=dict(engine.changing.progress),
            problems=engine.problems,
            notes=_notes(fabric, engine),
        )

    _, system = store.system()
    return Surface(
        identity=wire.Identity(
            system.name if system is not None else "", os.getpid(), version("atoll"), fabric is not None, ""
        ),
        desk=Desk(
            store=store,
            digests=lambda wanted: asyncio.to_thread(digests, engine.parts.builder, wanted),
            refusals=lambda wanted: _refusals(wanted, engine, fabric),
            poke=engine.poke,
            clock=time.time,
        ),
        flags=FlagDesk(store, engine.record, time.time),
        store=store,
        snapshot=snapshot,
        comparison=lambda service: engine.comparing.account(engine.changing.system, service),
        follow=lambda after: until(ending.asked, _follow(engine, after)),
        lines=lambda service, tail, follow: until(ending.asked, lines(places.logs, service, tail, follow=follow)),
        end=ending.end_requested.set,
    )


def _flags(engine: Engine, ending: _Ending) -> Starlette:
    serving = Serving(engine.parts.store.flags, lambda: engine.changing.system)
    return flags_app(serving, lambda values: until(ending.asked, values))


def _refusals(system: System, engine: Engine, fabric: Fabric | None) -> tuple[str, ...]:
    """Why this host cannot run *system*, beside what *engine* has taken for itself already."""
    listens = engine.blueprint.generation and not engine.observed.mesh.rejected
    ours = engine.blueprint.gateway.listen if listens else None
    return tuple(_runtime_refusals(system, fabric)) + tuple(_port_refusals(system, ours))


def _runtime_refusals(system: System, fabric: Fabric | None) -> list[str]:
    kinds = {s.runtime for s in system.services.values()}
    if fabric is None and RuntimeKind.SANDBOX in kinds:
        return ["this control plane was started without sandboxes: run `atoll down`, then `atoll up`"]
    if fabric is not None and RuntimeKind.PROCESS in kinds:
        return ["this control plane was started with sandboxes: run `atoll down`, then `atoll up`"]
    return []


def _port_refusals(system: System, listening: int | None) -> list[str]:
    gateway = system.gateway
    why = why_closed(gateway) if gateway.listen != listening else ""
    if not why:
        return []
    line = system.origins.get("gateway.listen", Origin()).line
    mend = f"choose another port under gateway.listen{f', line {line}' if line else ''}, or end what holds it"
    return [f"the gateway cannot listen on {gateway.host}:{gateway.listen}: {why} ({mend})"]


def _notes(fabric: Fabric | None, engine: Engine) -> tuple[str, ...]:
    notes = [note for runtime in engine.parts.runtimes.values() for note in runtime.notes()]
    if fabric is None:
        notes.append("services run as plain processes: they share this host's network and files (isolation is weak)")
    return (*notes, *_lost(engine))


def _lost(engine: Engine) -> Iterator[str]:
    """What runs on as long as it runs, and no longer: its artifact was deleted."""
    running = (
        i for w in engine.blueprint.workloads.values() for i in w.instances if i.stage in {Stage.START, Stage.SERVE}
    )
    for digest, recipe in {i.recipe.artifact: i.recipe for i in running}.items():
        if engine.parts.builder.find(digest) is None:
            yield (
                f"{recipe.service}: the artifact of release {recipe.release} is gone: an instance of it that ends"
                f" cannot be started again (build it again: atoll deploy {recipe.service})"
            )


async def _follow(engine: Engine, after: int) -> AsyncIterator[wire.Event]:
    """
    Every event after that number, or from now on where it is 0.

    All are read from the journal, and what is heard says only that there are new ones: so none is lost between old and
    new ones, and none of those that a slow reader has not taken yet.
    """
    store, news = engine.parts.store, asyncio.Event()

    def hear(_: wire.Event) -> None:
        news.set()

    engine.listeners.append(hear)
    try:
        last = after or max((event.number for event in store.events(limit=1)), default=_BEFORE_ALL)
        while True:
            news.clear()
            while events := store.events(last):
                for event in events:
                    yield event
                last = events[-1].number
            await news.wait()
    finally:
        engine.listeners.remove(hear)


def _page(places: Settings) -> tuple[socket.socket, str]:
    """
    The dashboard's socket and token.

    Both are the same after a restart of the control plane, so that an open page goes on. Where somebody else has taken
    the port meanwhile, an open page may have told him the token: there is another one then.
    """
    port, token = 0, secrets.token_urlsafe(24)
    with contextlib.suppress(OSError, ValueError):
        before = places.token.read_text().split()
        port, token = int(before[0]), before[1]
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError:
        listener, token = socket.create_server(("127.0.0.1", 0)), secrets.token_urlsafe(24)
    places.token.touch(mode=0o600)
    places.token.write_text(f"{listener.getsockname()[1]} {token}")
    return listener, token


def _url(page: socket.socket, token: str) -> str:
    return f"http://127.0.0.1:{page.getsockname()[1]}/?token={token}"
