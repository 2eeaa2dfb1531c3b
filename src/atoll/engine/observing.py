"""One look at the world: ask every source, keep what did not change as the same object, say who did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from atoll.engine.parts import Parts
from atoll.engine.probing import Probing, Subject
from atoll.errors import AtollError
from atoll.model.system import RuntimeKind
from atoll.plan.blueprint import Blueprint, Stage
from atoll.plan.observed import MeshSeen, Observed, Phase, Seen

PATIENCE = 5.0
"""Seconds a source has to answer."""


class Observer:
    """Makes one `Observed` after the other."""

    def __init__(self, parts: Parts, probing: Probing) -> None:
        self._parts = parts
        self._probing = probing
        self._last = Observed(at=0.0)

    async def look(self, blueprint: Blueprint, failed: Mapping[str, str]) -> Observed:
        """The world as it is now. A source that fails or is slow is left out of `answered`."""
        answered = {"probes"}
        instances = self._last.instances
        seen = await self._runtimes()
        if seen is not None:
            answered.add("runtime")
            instances = _grouped(seen, self._last.instances)
        mesh, away = await self._mesh()
        if mesh is not None:
            answered.add("mesh")
        self._probing.watch(_subjects(blueprint, instances))
        self._last = Observed(
            at=self._parts.clock(),
            instances=instances,
            readiness=self._probing.readiness(),
            mesh=mesh if mesh is not None else MeshSeen(),
            busy_ports=self._busy_ports(),
            failed=dict(failed),
            answered=frozenset(answered),
            away=away,
            ends=self._parts.mesh.ends(),
        )
        return self._last

    async def _runtimes(self) -> dict[str, Seen] | None:
        result: dict[str, Seen] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                for runtime in self._parts.runtimes.values():
                    result |= await runtime.observe()
        except (AtollError, OSError):
            return None
        return result

    async def _mesh(self) -> tuple[MeshSeen | None, str]:
        """What the proxies have, or None and in words which of them is away, where that is known."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._parts.mesh.observe(), ""
        except AtollError as error:
            return None, error.message
        except OSError:
            return None, ""

    def _busy_ports(self) -> frozenset[int]:
        if RuntimeKind.PROCESS not in self._parts.runtimes:
            return frozenset()
        return self._parts.busy_ports()


def _grouped(seen: Mapping[str, Seen], last: Mapping[str, Mapping[str, Seen]]) -> dict[str, Mapping[str, Seen]]:
    groups: dict[str, dict[str, Seen]] = {}
    for name, what in seen.items():
        groups.setdefault(what.service, {})[name] = what
    return {service: last[service] if last.get(service) == group else group for service, group in groups.items()}


def _subjects(blueprint: Blueprint, instances: Mapping[str, Mapping[str, Seen]]) -> Iterable[Subject]:
    def subjects() -> Iterator[Subject]:
        for service, workload in blueprint.workloads.items():
            seen = instances.get(service, {})
            for instance in workload.instances:
                what = seen.get(instance.name)
                running = what is not None and what.phase is Phase.RUNNING
                if running and instance.stage in {Stage.START, Stage.SERVE}:
                    yield Subject(instance.name, service, instance.address, instance.recipe.health)

    return subjects()
