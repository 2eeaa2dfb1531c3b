"""What the proxies counted of services, made ready for the judge: readings by instance."""

from __future__ import annotations

from collections.abc import Iterator

from atoll.engine.parts import Parts
from atoll.errors import AtollError
from atoll.plan.blueprint import Workload
from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm, Latency
from atoll.ports import HostCalls
from atoll.values.histograms import Bar, quantile, since

_Place = tuple[str, str, int]
"""A proxy, an address, a port."""


class Evidence:
    """Looks at the proxies' counters. What it remembers is lost with it, and costs one bucket's latency at most."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._calls: tuple[HostCalls, ...] = ()
        self._times: dict[_Place, tuple[Bar, ...]] = {}
        self._latencies: dict[_Place, Latency] = {}
        self.at = 0.0

    async def look(self, services: frozenset[str]) -> None:
        """Ask the proxies what was called of *services*. Where they do not answer, there is nothing to read."""
        self._calls = ()
        if not services:
            self._times.clear()
            return
        self.at = self._parts.clock()
        try:
            self._calls = await self._parts.mesh.calls(services)
        except (AtollError, OSError):
            return  # no data: the judge holds when it lasts
        self._latencies = dict(self._taken())

    def _taken(self) -> Iterator[tuple[_Place, Latency]]:
        """How long the calls took that were added since the last look, if any: proxies add them in batches."""
        before, self._times = self._times, {}
        for calls in self._calls:
            place = (calls.proxy, calls.ip, calls.port)
            self._times[place] = calls.times or self._times.get(place, ())
        for place, times in self._times.items():
            new = since(before.get(place, ()), times)
            p50, p95 = quantile(new, 0.5), quantile(new, 0.95)
            if place in before and p50 is not None and p95 is not None:
                yield place, Latency(sum(bar.count for bar in new), p50, p95)

    def snapshot(self, workload: Workload, release: int, share: float) -> Snapshot:
        """The last look as the judge wants it; *share* of the traffic is asked for *release*."""
        return Snapshot(self.at, tuple(self.readings(workload, release)), share)

    def readings(self, workload: Workload, release: int) -> Iterator[Reading]:
        """Each instance of either side in each proxy; none where the proxies did not answer."""
        arms = {
            (i.address.ip, i.address.port): (i.name, Arm.CANARY if i.recipe.release == release else Arm.STABLE)
            for i in workload.instances
        }
        for calls in self._calls:
            found = arms.get((calls.ip, calls.port))
            if found is not None:
                name, arm = found
                latency = self._latencies.get((calls.proxy, calls.ip, calls.port)) if calls.times else None
                # A cluster that is rebuilt counts anew, the others go on.
                source = f"{calls.proxy} {calls.cluster}"
                yield Reading(source, name, arm, calls.success, calls.error, calls.failed, latency, calls.counts)
