"""The proxies as one thing: two Envoy processes, the server that tells them what to do, and what they say of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from atoll.errors import AtollError, Unavailable
from atoll.mesh import acceptance, admin, ir
from atoll.mesh.acceptance import Known, Offered
from atoll.mesh.admin import HostState
from atoll.mesh.ads.server import AdsServer
from atoll.mesh.liveness import PERIOD, Liveness
from atoll.mesh.process import EnvoyProcess, Spec
from atoll.mesh.snapshot import Kind, Snapshot, Snapshots
from atoll.mesh.translate import names
from atoll.mesh.translate.blueprint import Topology, Translation, translate
from atoll.mesh.xds.bootstrap import Bootstrap, bootstrap
from atoll.mesh.xds.measuring import ANSWERS
from atoll.plan.blueprint import Blueprint, Stage
from atoll.plan.observed import MeshSeen
from atoll.ports import FlagCalls, HostCalls, Traffic
from atoll.unforeseen import persist
from atoll.values.network import COMPARING, COPIES, SHADOW_CALLS

LOOK = 0.1  # seconds between looks at instances that come or go
TIDY = 60.0
WARM = 10.0  # seconds after which a changed cluster has surely taken the place of the one before
OK, WRONG, FAILED = 200, 400, 500
"""The first status of an answer that does what was asked, of one that does not, and of one that failed."""


class EnvoyMesh:
    """
    Meets `ports.Mesh` with two Envoys: the gateway in the host's network, the mesh in the fabric's.

    *fabric* is the path of the fabric's network namespace, or None where services run as plain processes.
    *rootless* says that we are root in a user namespace only: then the gateway reaches the mesh over a unix socket.
    All sockets and records are in *run_dir*, whose path must be short, also the one where flags are asked for.
    """

    def __init__(
        self, run_dir: Path, log_dir: Path, fabric: str | None, *, rootless: bool, workers: int | None = None
    ) -> None:
        self._run_dir = run_dir
        self._comparing = run_dir / COMPARING
        self._topology = Topology(
            fabric=fabric,
            extra_hop=fabric is not None and rootless,
            ingress=str(run_dir / "ingress.sock"),
            egress=str(run_dir / "egress.sock"),
            copies=str(self._comparing / COPIES),
            shadow=str(self._comparing / SHADOW_CALLS),
            flags=str(run_dir / "flags.sock"),
        )
        self._changed: Callable[[], None] = lambda: None
        self._ads = AdsServer(run_dir / "ads.sock", ir.PROXIES, self._news)
        count = workers or max(1, (os.cpu_count() or 1) // 2)
        self._processes = {
            name: EnvoyProcess(_spec(name, run_dir, log_dir, fabric, count), partial(self._lost, name))
            for name in ir.PROXIES
        }
        self._liveness = {name: Liveness(self._socket(name)) for name in ir.PROXIES}
        self._snapshots = Snapshots()
        self._changed_at: dict[str, float] = {}
        """When the clusters that lead to a service were changed last."""
        self._told: set[str] = set()
        """Services of whose open requests the endpoints tell all: no cluster was changed since it was last asked."""
        self._translation = Translation()
        self._namespaces: frozenset[str] = frozenset()
        self._offered: Offered | None = None
        self._known = Known()
        self._outlets: frozenset[str] = frozenset()
        self._stale = False
        self._awake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def prepare(self, changed: Callable[[], None]) -> None:
        """
        Start or adopt the proxies.

        Raises `errors.Unavailable` when Envoy is missing or a socket cannot be made, `errors.Failed` when a proxy
        cannot be started.
        """
        self._changed = changed
        self._comparing.mkdir(mode=0o700, exist_ok=True)
        await self._ads.start()
        for process in self._processes.values():
            process.ensure()
        loops = {
            "asking the proxies about instances": self._follow,
            "tidying the proxies' logs": self._tidy,
        }
        loops |= {f"looking whether the {name} proxy works": partial(self._watch, name) for name in ir.PROXIES}
        self._tasks = [asyncio.create_task(persist(what, body), name=what) for what, body in loops.items()]

    async def publish(self, blueprint: Blueprint) -> None:
        """Offer this configuration; outlets whose namespace is not there yet are left out until the next time."""
        before = self._offered
        namespaces, self._namespaces = self._namespaces, _present(blueprint, self._namespaces)
        self._translation = translate(blueprint, self._topology, self._namespaces, self._translation)
        snapshots = self._snapshots.make(self._translation.mesh, blueprint.generation)
        self._offered = Offered(blueprint, snapshots)
        self._doubt(snapshots.values())
        self._ads.offer(snapshots)
        # Who offers the same again, as it is not accepted yet, is not to be told at once that there is something new.
        if before is None or before.blueprint.generation != blueprint.generation or namespaces != self._namespaces:
            self._news()

    async def observe(self) -> MeshSeen:
        """
        What both proxies have accepted.

        Raises `errors.Unavailable` while one of them is away or stuck.
        """
        if stuck := [words for name in ir.PROXIES if (words := self._stuck(name))]:
            raise Unavailable(" and ".join(stuck))
        streams = {name: self._ads.streams(name) for name in ir.PROXIES}
        away = [name for name, found in streams.items() if not found]
        if away:
            raise Unavailable(f"the {' and the '.join(away)} proxy do{'es' if len(away) == 1 else ''} not answer")
        if self._offered is None:
            return MeshSeen()
        known = self._refreshed()
        return MeshSeen(
            generation=min(found[-1].generation for found in streams.values()),
            accepted=acceptance.accepted(self._offered, known),
            outlets=self._outlets,
            active=dict(known.active),
            rejected="\n".join(self._ads.refusals()),
        )

    def ends(self) -> Mapping[str, str]:
        """How the last process of each proxy ended that ended by itself."""
        return {name: process.end for name, process in self._processes.items() if process.end}

    async def traffic(self) -> Mapping[str, Traffic]:
        """Per service, what went through all clusters that lead to it."""
        services = self._offered.blueprint.workloads if self._offered is not None else {}
        found: dict[str, dict[str, admin.ClusterCount]] = {name: {} for name in services}
        for proxy in ir.PROXIES:
            for cluster, count in (await admin.counts(self._admin(proxy))).items():
                found.get(names.callee(cluster), {})[f"{proxy} {cluster}"] = count
        return {name: _traffic(counts) for name, counts in found.items()}

    async def calls(self, services: frozenset[str]) -> tuple[HostCalls, ...]:
        """Per address, proxy and cluster, how the calls ended that were sent there; and what was measured of them."""
        found: list[HostCalls] = []
        for proxy in ir.PROXIES:
            measured = await admin.measured(self._admin(proxy))
            hosts = await admin.hosts(self._admin(proxy), names.edges_to(services))
            failures = await admin.failures(self._admin(proxy))
            for h in hosts:
                failed = failures.get(h.cluster, admin.ClusterCount()).failed.get(h.name, {})
                calls = HostCalls(proxy, h.ip, h.port, h.success, h.error, tuple(failed.items()), h.cluster)
                found.append(calls)
            counted = _counted(measured.answers)
            for place in dict.fromkeys((h.ip, h.port) for h in hosts):
                times, counts = measured.times.get(place, ()), counted.get(place, ())
                found.append(HostCalls(proxy, *place, times=times, counts=tuple(counts)))
        return tuple(found)

    async def flag_calls(self) -> tuple[FlagCalls, ...]:
        """Per address, proxy, flag and variant, how the calls ended whose answers named it."""
        found: dict[tuple[str, str, int, str, str], FlagCalls] = {}
        for proxy in ir.PROXIES:
            for answers in (await admin.measured(self._admin(proxy), ANSWERS)).answers:
                if answers.counted == names.SHADOW:
                    continue  # no user asked for it
                for flag, variant in _named(answers.said):
                    key = (proxy, answers.ip, answers.port, flag, variant)
                    before = found.get(key, FlagCalls(*key, 0, 0))
                    failed = answers.status >= FAILED
                    found[key] = replace(
                        before,
                        success=before.success + (0 if failed else answers.count),
                        error=before.error + (answers.count if failed else 0),
                    )
        return tuple(found.values())

    async def refused(self, instance: str) -> int:
        """How many of the calls of an instance were refused, since its proxy started."""
        return await admin.refused(self._admin(ir.MESH), instance)

    async def hot_restart(self) -> None:
        """Replace both proxies by new processes that take over their sockets. Nothing is lost."""
        for process in self._processes.values():
            process.hot_restart()

    async def stop(self) -> None:
        """End the proxies. Traffic ends."""
        await self._cancel()
        await asyncio.gather(*(process.stop() for process in self._processes.values()))
        await self._ads.close()

    async def close(self) -> None:
        """Let go of the proxies; they go on with what they have."""
        await self._cancel()
        for process in self._processes.values():
            process.let_go()
        await self._ads.close()

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # --- what the proxies say -----------------------------------------------------------------------------------

    def _lost(self, name: str) -> None:
        """A proxy died."""
        self._ads.forget(name)
        self._news()

    def _news(self) -> None:
        """A proxy connected, went, accepted or rejected, or there is something new for it."""
        if not all(self._ads.streams(name) for name in ir.PROXIES):
            self._known = Known()
        self._stale = True
        self._awake.set()
        self._changed()

    def _refreshed(self) -> Known:
        """What is known, with the latest acknowledgements; worked out once for all that came since the last look."""
        streams = {name: self._ads.streams(name) for name in ir.PROXIES}
        if not self._stale or self._offered is None or not all(streams.values()):
            return self._known
        self._stale = False
        known = self._known
        stages = known.stages = acceptance.acknowledged(self._offered, streams, known.stages)
        known.usable = {name: homes for name, homes in known.usable.items() if stages.get(name) is Stage.SERVE}
        known.active = {name: n for name, n in known.active.items() if stages.get(name) is Stage.DRAIN}
        self._outlets = acceptance.outlets(self._offered, streams[ir.MESH])
        return known

    async def _follow(self) -> None:
        """Ask the proxies about instances that come or go, while there are any."""
        last: dict[str, int] = {}
        while True:
            await self._awake.wait()
            if self._offered is None or not any(acceptance.in_question(self._offered, self._refreshed())):
                self._awake.clear()
                last = {}
                continue
            await asyncio.sleep(LOOK)
            with contextlib.suppress(AtollError, OSError, ValueError):
                last = await self._look(self._offered, last)

    async def _look(self, offered: Offered, last: Mapping[str, int]) -> dict[str, int]:
        """
        One look.

        Draining instances count as idle when two looks in a row show nothing: the threads of a proxy learn of a change
        one after the other.
        """
        known = self._refreshed()
        fresh, draining = acceptance.in_question(offered, known)
        services = {i.recipe.service for i in (*fresh, *draining)}
        by_proxy = {p: await admin.hosts(self._admin(p), names.edges_to(services)) for p in ir.PROXIES}
        states = [state for found in by_proxy.values() for state in found]
        forgotten = await self._forgotten({i.recipe.service for i in draining} - self._told, by_proxy)
        if known is not self._known or offered is not self._offered:
            return {}
        before = (dict(known.usable), dict(known.active))
        known.usable |= acceptance.usable(
            fresh, states, acceptance.leading_to(services, offered.snapshots.values()), offered
        )
        active = acceptance.active(draining, states, forgotten)
        known.active = {name: max(count, last[name]) for name, count in active.items() if name in last}
        if before != (known.usable, known.active):
            self._changed()
        return active

    def _doubt(self, snapshots: Iterable[Snapshot]) -> None:
        """Note to which services clusters are changed: what is open in them is forgotten by the new ones."""
        touched = {names.callee(name) for s in snapshots for kind, name in s.touched if kind is Kind.CLUSTER}
        self._changed_at |= dict.fromkeys(touched, time.monotonic())
        self._told -= touched

    async def _forgotten(
        self, services: Collection[str], states: Mapping[str, Iterable[HostState]]
    ) -> Mapping[str, int]:
        """By service, the connections that changed clusters still have, and that may have requests on them."""
        found: Counter[str] = Counter()
        for proxy in ir.PROXIES if services else ():
            connected = await admin.connections(self._admin(proxy), names.edges_to(services))
            for cluster, count in admin.forgotten(connected, states[proxy]).items():
                found[names.callee(cluster)] += count
        # A cluster is in its place once it is warm, not yet when it is acknowledged.
        now = time.monotonic()
        self._told |= {s for s in services if not found[s] and now > self._changed_at.get(s, 0.0) + WARM}
        return found

    async def _watch(self, name: str) -> None:
        """Kill the proxy whenever it hangs, so that another one takes its place."""
        process, liveness = self._processes[name], self._liveness[name]
        while True:
            await asyncio.sleep(PERIOD)
            pid, before = process.pid, self._stuck(name)
            if pid is None:
                continue
            if await liveness.look(pid) and process.pid == pid:
                process.kill(f"it hung ({liveness.stuck(pid)}) and was killed")
            if self._stuck(name) != before:
                self._changed()

    def _stuck(self, name: str) -> str:
        pid = self._processes[name].pid
        found = self._liveness[name].stuck(pid)
        return f"the {name} proxy (process {pid}) hangs ({found})" if found else ""

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY)
            for process in self._processes.values():
                process.tidy()

    def _admin(self, proxy: str) -> Path:
        """Where to ask a proxy. Raises `errors.Unavailable` while it is stuck: nobody is to wait for its answer."""
        if stuck := self._stuck(proxy):
            raise Unavailable(stuck)
        return self._socket(proxy)

    def _socket(self, proxy: str) -> Path:
        return self._run_dir / f"{proxy}.admin.sock"


def _spec(name: str, run_dir: Path, log_dir: Path, fabric: str | None, workers: int) -> Spec:
    config = bootstrap(
        Bootstrap(name, str(run_dir / "ads.sock"), str(run_dir / f"{name}.admin.sock"), edge=name == ir.GATEWAY)
    )
    return Spec(name, run_dir, log_dir, config, fabric if name == ir.MESH else None, workers)


def _present(blueprint: Blueprint, known: frozenset[str]) -> frozenset[str]:
    """The network namespaces of outlets that exist. One is made once: what was seen is not looked for again."""
    paths = {o.netns for w in blueprint.workloads.values() for i in w.instances for o in i.outlets if o.netns}
    return frozenset(path for path in paths if path in known or _is_namespace(path))


def _is_namespace(path: str) -> bool:
    """A namespace is mounted on its file; before that the file is an ordinary one, on its directory's device."""
    try:
        return Path(path).stat().st_dev != Path(path).parent.stat().st_dev
    except OSError:
        return False


def _traffic(counts: Mapping[str, admin.ClusterCount]) -> Traffic:
    return Traffic(
        requests=sum(c.sent + c.unsent for c in counts.values()),
        errors=sum(c.errors for c in counts.values()),
        waited={name: count.waited for name, count in counts.items() if count.waited},
    )


def _counted(answers: Iterable[admin.AnswerCount]) -> dict[tuple[str, int], list[tuple[str, str, int]]]:
    """How often each address did well what is counted by name, by what it answered."""
    found: defaultdict[tuple[str, int], list[tuple[str, str, int]]] = defaultdict(list)
    for one in answers:
        if one.counted and OK <= one.status < WRONG:
            found[one.ip, one.port].append((one.counted, f"{one.status} {one.said}", one.count))
    return found


def _named(said: str) -> Iterator[tuple[str, str]]:
    """The flags and variants in a header `NAME=VARIANT, NAME=VARIANT`."""
    for one in said.split(","):
        flag, sign, variant = one.strip().partition("=")
        if flag and sign and variant:
            yield flag, variant
