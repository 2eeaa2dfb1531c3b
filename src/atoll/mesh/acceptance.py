"""
What the proxies have made of the latest blueprint, put together from their streams and their admin interfaces.

An instance counts as taken in only once every proxy that sends to it has its endpoint, has the routes, and has found
it healthy: Envoy gives a new endpoint nothing until its first health check passes. Only then may the old one go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.mesh import ir
from atoll.mesh.admin import HostState
from atoll.mesh.ads.stream import Stream
from atoll.mesh.snapshot import Key, Kind, Snapshot
from atoll.mesh.translate import names
from atoll.mesh.translate.blueprint import homes, homes_of
from atoll.plan.blueprint import Blueprint, Instance, Stage, Workload

ROUTING = (Kind.CLUSTER, Kind.ROUTES)


@dataclass(frozen=True, slots=True)
class Offered:
    """The latest that was published, and the snapshots made from it."""

    blueprint: Blueprint
    snapshots: Mapping[str, Snapshot]


@dataclass(slots=True)
class Known:
    """What has been found out so far. All of it is by instance."""

    stages: dict[str, Stage] = field(default_factory=dict)  # acknowledged by all proxies
    usable: dict[str, tuple[str, ...]] = field(default_factory=dict)  # serving, and well in these assignments' clusters
    active: dict[str, int] = field(default_factory=dict)  # open requests of draining ones


def outlets(offered: Offered, streams: Sequence[Stream]) -> frozenset[str]:
    """
    Instances whose outlets are open in the newest mesh proxy, and those whose outlets are not yet closed in any.

    A listener works once it has its route table.
    """
    wanted = offered.snapshots[ir.MESH].resources
    instances = {i.name: i for w in offered.blueprint.workloads.values() for i in w.instances}
    newest = streams[-1]
    found = {name for name, instance in instances.items() if instance.outlets and _open(instance, newest, wanted)}
    for stream in streams:
        owners = {name.partition("->")[0] for name in stream.known(Kind.LISTENER)}
        found |= {owner for owner in owners if owner not in instances and not owner.startswith("@")}
    return frozenset(found)


def acknowledged(
    offered: Offered, streams: Mapping[str, Sequence[Stream]], before: Mapping[str, Stage]
) -> dict[str, Stage]:
    """The stage in which every proxy knows each instance; *before* holds where the latest is not acknowledged yet."""
    routed = {proxy: found[-1].settled(ROUTING) for proxy, found in streams.items()}
    result: dict[str, Stage] = {}
    for workload in offered.blueprint.workloads.values():
        told = {
            home: all(_has(Kind.ENDPOINTS, home, offered.snapshots[proxy], found) for proxy, found in streams.items())
            for home in homes(workload)
        }
        for instance in workload.instances:
            new = instance.stage is not Stage.SERVE or before.get(instance.name) is Stage.SERVE
            if all(told[home] for home in homes_of(instance, workload)) and (new or all(routed.values())):
                result[instance.name] = instance.stage
            elif instance.name in before:
                result[instance.name] = before[instance.name]
    return result


def accepted(offered: Offered, known: Known) -> dict[str, str]:
    """The stage in which each instance is taken: that it serves only once it is well wherever it gets requests."""
    return {
        instance.name: stage
        for workload in offered.blueprint.workloads.values()
        for instance in workload.instances
        if (stage := known.stages.get(instance.name)) is not None
        and (stage is not Stage.SERVE or _is_usable(instance, workload, known))
    }


def in_question(offered: Offered, known: Known) -> tuple[list[Instance], list[Instance]]:
    """The instances to ask the proxies about: serving ones that are not known to be usable yet, and draining ones."""
    fresh: list[Instance] = []
    draining: list[Instance] = []
    for workload in offered.blueprint.workloads.values():
        for instance in workload.instances:
            stage = known.stages.get(instance.name)
            if stage is Stage.SERVE and instance.stage is stage and not _is_usable(instance, workload, known):
                fresh.append(instance)
            elif stage is Stage.DRAIN and instance.stage is stage:
                draining.append(instance)
    return fresh, draining


def usable(
    fresh: Iterable[Instance], states: Sequence[HostState], clusters: Mapping[str, int], offered: Offered
) -> dict[str, tuple[str, ...]]:
    """Those that are healthy in as many clusters as lead to where they are (*clusters*, by assignment), and where."""
    healthy: dict[tuple[str, str, int], int] = {}
    for state in states:
        if state.usable:
            key = (names.target(state.cluster), state.ip, state.port)
            healthy[key] = healthy.get(key, 0) + 1
    found = {i.name: (i.address, homes_of(i, offered.blueprint.workloads[i.recipe.service])) for i in fresh}
    return {
        name: where
        for name, (address, where) in found.items()
        if all(healthy.get((home, address.ip, address.port), 0) >= clusters.get(home, 0) for home in where)
    }


def _is_usable(instance: Instance, workload: Workload, known: Known) -> bool:
    """Whether it was found well in the clusters of every assignment that it is in now."""
    found = known.usable.get(instance.name)
    return found is not None and (workload.split is None or set(found).issuperset(homes_of(instance, workload)))


def active(draining: Iterable[Instance], states: Sequence[HostState], forgotten: Mapping[str, int]) -> dict[str, int]:
    """
    The open requests of each, in all clusters of all proxies.

    Each may be the one that *forgotten* connections of its service lead to (see `admin.forgotten`).
    """
    return {
        i.name: sum(s.active for s in states if (s.ip, s.port) == (i.address.ip, i.address.port))
        + forgotten.get(i.recipe.service, 0)
        for i in draining
    }


def leading_to(services: Iterable[str], snapshots: Iterable[Snapshot]) -> dict[str, int]:
    """How many clusters in all proxies lead to each assignment of these services."""
    result = {name: 0 for service in services for name in (service, names.next_of(service))}
    for snapshot in snapshots:
        for (kind, _), resource in snapshot.resources.items():
            if kind is Kind.CLUSTER and resource.refers in result and names.is_edge(resource.name):
                result[resource.refers] += 1
    return result


def _open(instance: Instance, stream: Stream, wanted: Mapping[Key, object]) -> bool:
    listeners, tables = stream.known(Kind.LISTENER), stream.known(Kind.ROUTES)
    for outlet in instance.outlets:
        name = names.outlet(instance.name, outlet.callee)
        table = names.table(instance.recipe.service, instance.recipe.release, outlet.callee)
        if (Kind.LISTENER, name) not in wanted or name not in listeners or table not in tables:
            return False
    return True


def _has(kind: Kind, name: str, snapshot: Snapshot, streams: Sequence[Stream]) -> bool:
    """Whether all streams have the latest version, or do not want it."""
    resource = snapshot.resources.get((kind, name))
    return resource is None or all(
        not s.asks_for(kind, name) or s.known(kind).get(name) == resource.version for s in streams
    )
