"""A blueprint, service by service. What did not change is not looked at again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from atoll.mesh import ir
from atoll.mesh.translate import doors, edges, names, outlets, shadows
from atoll.model.system import Egress
from atoll.plan.blueprint import Blueprint, Instance, Stage, Workload

PLATFORM = "@platform"


@dataclass(frozen=True, slots=True)
class Topology:
    """
    Where the proxies stand on this host.

    `fabric` is the path of the fabric's network namespace, None where there is none. With `extra_hop` the gateway may
    not dial from the fabric and hands requests to the mesh at the socket `ingress`. `egress` is the socket for the
    way out, `flags` the one at which the control plane answers for feature flags. At `copies` the comparer takes copies
    of requests, at `shadow` the mesh takes the comparer's calls.
    """

    fabric: str | None
    extra_hop: bool
    ingress: str
    egress: str
    flags: str
    copies: str
    shadow: str


@dataclass(frozen=True, slots=True)
class Translation:
    """A mesh, and what each of its shares was made from."""

    mesh: ir.Mesh = field(default_factory=lambda: ir.Mesh({}))
    bases: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    namespaces: frozenset[str] = frozenset()
    services: tuple[str, ...] = ()


def translate(
    blueprint: Blueprint, topology: Topology, namespaces: frozenset[str], last: Translation | None = None
) -> Translation:
    """
    The whole mesh. Shares made from the same things are taken over from *last*.

    *namespaces* are the paths of the network namespaces that exist: an outlet waits for its own.
    """
    old = last or Translation()
    unmoved = namespaces == old.namespaces
    shares: dict[str, ir.Share] = {}
    bases: dict[str, tuple[object, ...]] = {}
    workloads = blueprint.workloads
    services = tuple(sorted(workloads))
    services = old.services if services == old.services else services  # the same object is compared at once
    for name, workload in workloads.items():
        callees = {c.service: edges.callee(workloads[c.service]) for c in workload.calls if c.service in workloads}
        before = old.bases.get(name)
        there = before[2] if before and unmoved and before[0] is workload else namespaces.intersection(_netns(workload))
        bases[name] = (workload, callees, there, topology, services)
        same = _same(before, bases[name])
        shares[name] = old.mesh.shares[name] if same else _share(workload, callees, services, namespaces, topology)
    routed = {n: w for n, w in workloads.items() if w.routes}
    declared = tuple(e for w in workloads.values() for e in w.egress)
    judging = blueprint.counting or any(w.split for w in workloads.values())
    switches = ir.Switches(ir.SWITCHES, (ir.MEASURED,) if judging else ())
    stands = tuple((n, w.routes, edges.callee(w)) for n, w in workloads.items() if w.routes or w.shadow is not None)
    basis = (blueprint.gateway, stands, declared, topology, switches)
    bases[PLATFORM] = basis
    same = old.bases.get(PLATFORM) == basis
    shares[PLATFORM] = old.mesh.shares[PLATFORM] if same else _platform(blueprint, topology, routed, declared, switches)
    return Translation(ir.Mesh(shares), bases, namespaces, services)


def _same(old: tuple[object, ...] | None, new: tuple[object, ...]) -> bool:
    """Workloads count as the same only by identity: to compare a changed one costs more than to translate it."""
    return old is not None and old[0] is new[0] and old[1:] == new[1:]


def _netns(workload: Workload) -> Iterator[str]:
    return (o.netns for i in workload.instances for o in i.outlets if o.netns is not None)


def _share(
    workload: Workload,
    callees: Mapping[str, edges.Callee],
    services: tuple[str, ...],
    namespaces: frozenset[str],
    topology: Topology,
) -> ir.Share:
    assignments = tuple(_assignment(name, found) for name, found in homes(workload).items())
    mesh: list[ir.Item] = [
        *assignments,
        *outlets.listeners(workload, namespaces),
        *outlets.tables(workload, callees, services),
        *outlets.calls(workload, callees),
        *outlets.leaving(workload, topology.egress),
        *outlets.flags(workload, topology.flags),
        *shadows.copies(workload, topology.copies),
        *shadows.calls(workload),
    ]
    public = doors.public_edges(workload, topology.fabric if not topology.extra_hop else None)
    if topology.extra_hop:
        return ir.Share({ir.GATEWAY: (), ir.MESH: (*mesh, *public)})
    copies = shadows.copies(workload, topology.copies)
    return ir.Share({ir.GATEWAY: (*assignments, *public, *copies), ir.MESH: tuple(mesh)})


def homes(workload: Workload) -> dict[str, list[Instance]]:
    """The assignments of a service and whose endpoints are in them."""
    found: dict[str, list[Instance]] = {workload.service: []}
    if workload.split is not None:
        found[names.next_of(workload.service)] = []
    for instance in workload.instances:
        for home in homes_of(instance, workload):
            found[home].append(instance)
    return found


def homes_of(instance: Instance, workload: Workload) -> tuple[str, ...]:
    """The assignments that one instance is in."""
    service, split, release = workload.service, workload.split, instance.recipe.release
    if split is None or release == split.stable:
        return (service,)
    if split.both and release == split.next:
        return (service, names.next_of(service))
    # What is neither stable nor next any more is with next to finish what it has: it drains, and is sent nothing.
    return (names.next_of(service),)


def _assignment(name: str, instances: Iterable[Instance]) -> ir.Assignment:
    return ir.Assignment(
        name,
        tuple(
            ir.Endpoint(i.name, i.address.ip, i.address.port, i.stage is Stage.DRAIN)
            for i in instances
            if i.stage in {Stage.SERVE, Stage.DRAIN}
        ),
    )


def _platform(
    blueprint: Blueprint,
    topology: Topology,
    routed: Mapping[str, Workload],
    declared: tuple[Egress, ...],
    switches: ir.Switches,
) -> ir.Share:
    items: list[tuple[str, ir.Item]] = [(proxy, item) for proxy in ir.PROXIES for item in (switches, ir.TIMED)]
    items.append((ir.GATEWAY, doors.front(blueprint.gateway)))
    if topology.extra_hop:
        items += doors.ingress(topology.ingress)
        items.append((ir.MESH, doors.public_table(names.INGRESS, routed)))
    else:
        items.append((ir.GATEWAY, doors.public_table(names.GATEWAY, routed)))
    items += doors.egress(declared, topology.egress)
    items += shadows.door(blueprint.workloads, topology.shadow)
    return ir.Share(_by_proxy(items))


def _by_proxy(items: Iterable[tuple[str, ir.Item]]) -> dict[str, tuple[ir.Item, ...]]:
    result: defaultdict[str, list[ir.Item]] = defaultdict(list)
    for proxy, item in items:
        result[proxy].append(item)
    return {proxy: tuple(found) for proxy, found in result.items()}
