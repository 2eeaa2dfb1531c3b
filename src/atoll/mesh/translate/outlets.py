"""What one service may call: its listeners, its route table, its edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, product

from atoll.mesh import ir
from atoll.mesh.translate import edges, names, shadows
from atoll.mesh.translate.edges import Callee, Edge
from atoll.mesh.translate.refusals import Refusals
from atoll.model.system import Call, Egress
from atoll.plan.blueprint import Instance, Outlet, Workload
from atoll.values.names import CALLER_HEADER, FLAGS

_SPELLINGS = tuple(map("".join, product(*(("-", "_") if letter == "-" else (letter,) for letter in CALLER_HEADER))))
"""All that a server after CGI's way (WSGI among them) takes for the same header: RFC 3875, 4.1.18."""


def listeners(workload: Workload, namespaces: frozenset[str]) -> Iterator[ir.Item]:
    """One for each outlet whose namespace is there; the others follow when it is."""
    for instance in workload.instances:
        for outlet in instance.outlets:
            if outlet.netns is None or outlet.netns in namespaces:
                yield _listener(workload.service, instance, outlet)


def calls(workload: Workload, callees: Mapping[str, Callee]) -> Iterator[ir.Item]:
    """The edges to other services. *callees* has the callees that exist."""
    for call in workload.calls:
        callee = callees.get(call.service)
        if callee is not None:
            yield from edges.clusters(Edge(workload.service, call.service), call.policy, callee, None)


def flags(workload: Workload, socket: str) -> Iterator[ir.Item]:
    """The way to the control plane, for feature flags only."""
    if workload.flags:
        yield edges.flags(names.edge(workload.service, FLAGS), socket)


def leaving(workload: Workload, egress_socket: str) -> Iterator[ir.Item]:
    """The edges to hosts outside the system."""
    for egress in workload.egress:
        yield edges.outside(_egress_name(workload.service, egress), egress.policy, egress_socket)


def tables(workload: Workload, callees: Mapping[str, Callee], services: tuple[str, ...]) -> Iterator[ir.Item]:
    """
    For each release one table for its sandboxed instances, or one for each callee where the listener names it.

    *services* are the names of all there are: who calls one that it may not is told another thing than who calls none.
    """
    outlets = {(i.recipe.release, outlet.callee) for i in workload.instances for outlet in i.outlets}
    recipes = {i.recipe.release: i.recipe for i in workload.instances if i.outlets}
    for release, recipe in sorted(recipes.items()):
        calls = tuple(call for call in workload.calls if recipe.may_call(call.service))
        way = _Way(workload, release, calls, callees, services)
        if (release, None) in outlets:
            yield way.table()
        yield from (way.table_to(call) for call in calls if (release, call.service) in outlets)
        if (release, FLAGS) in outlets:
            yield way.table_to_flags()


def _listener(service: str, instance: Instance, outlet: Outlet) -> ir.Listener:
    return ir.Listener(
        name=names.outlet(instance.name, outlet.callee),
        address=ir.Inet(outlet.address.ip, outlet.address.port, outlet.netns),
        door=ir.Door.OUTLET,
        table=names.table(service, instance.recipe.release, outlet.callee),
        caller=service,
        remove=_SPELLINGS,
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """What the instances of one release may call: a release that only ever answered copies may change nothing by it."""

    workload: Workload
    release: int
    calls: tuple[Call, ...]
    callees: Mapping[str, Callee]
    services: tuple[str, ...]

    @property
    def caller(self) -> str:
        return self.workload.service

    @property
    def guarded(self) -> bool:
        return self.release in self.workload.guarded

    @property
    def refusals(self) -> Refusals:
        return Refusals(self.caller)

    def table(self) -> ir.RouteTable:
        inner = tuple(self._inside(call) for call in self.calls)
        by_authority = groupby(sorted(self.workload.egress, key=edges.authority), edges.authority)
        outer = tuple(self._outside(authority, tuple(found)) for authority, found in by_authority)
        reached = (FLAGS, *(call.service for call in self.calls))
        refused = self.refusals.hosts(reached, self.services)
        hosts = (*inner, *outer, self._flags(FLAGS, f"{FLAGS}:80"), *refused)
        return ir.RouteTable(names.table(self.caller, self.release, None), hosts)

    def _inside(self, call: Call) -> ir.VirtualHost:
        rules = (*self._to(call), self.refusals.no_tunnel(call.service))
        return ir.VirtualHost(call.service, (call.service, f"{call.service}:80"), rules)

    def table_to(self, call: Call) -> ir.RouteTable:
        host = ir.VirtualHost(call.service, ("*",), self._to(call))
        return ir.RouteTable(names.table(self.caller, self.release, call.service), (host,))

    def table_to_flags(self) -> ir.RouteTable:
        return ir.RouteTable(names.table(self.caller, self.release, FLAGS), (self._flags("*"),))

    def _flags(self, *domains: str) -> ir.VirtualHost:
        """Asking for a flag changes nothing, so a release that answers copies may."""
        if self.workload.flags:
            rule = edges.to_flags(names.edge(self.caller, FLAGS), FLAGS)
            return ir.VirtualHost(FLAGS, domains, (rule, self.refusals.no_tunnel(FLAGS)))
        return ir.VirtualHost(FLAGS, domains, tuple(self.refusals.flags()))

    def _to(self, call: Call) -> tuple[ir.Rule, ...]:
        callee = self.callees.get(call.service)
        if callee is None:
            return (ir.Refuse(503, f"{call.service} is not part of the system now: nothing can answer {{host}}"),)
        edge = Edge(self.caller, call.service)
        if self.guarded:
            return shadows.guarded(edges.forward("/", edge, call.policy, callee), callee.safe)
        return tuple(edges.ways("/", edge, call.policy, callee))

    def _outside(self, authority: str, declared: tuple[Egress, ...]) -> ir.VirtualHost:
        """One host and port, by tunnel, in the clear, or both."""
        rules = tuple(rule for egress in declared for rule in self._leaving(egress))
        clear = [egress for egress in declared if egress.scheme == "http"]
        domains = tuple(e.host for e in clear if e.port == 80)  # noqa: PLR2004 - the port of HTTP
        return ir.VirtualHost(
            f"{declared[0].scheme}://{authority}",
            (*domains, authority),
            (*rules, *self.refusals.other_way(authority, declared)),
            remove=(CALLER_HEADER,) if clear else (),
        )

    def _leaving(self, egress: Egress) -> tuple[ir.Rule, ...]:
        name, authority = _egress_name(self.caller, egress), edges.authority(egress)
        if egress.scheme == "https":
            tunnel = ir.Tunnel(name, authority, egress.policy.idle, ends=False)
            return (shadows.no_tunnel() if self.guarded else tunnel,)
        leaving = edges.leaving(name, authority, egress.policy)
        return shadows.guarded(leaving) if self.guarded else (leaving,)


def _egress_name(caller: str, egress: Egress) -> str:
    return names.edge(caller, f"{egress.scheme}://{edges.authority(egress)}")
