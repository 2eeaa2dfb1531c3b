"""What one service may call: its listeners, its route table, its edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from atoll.mesh import ir
from atoll.mesh.translate import edges, names, shadows
from atoll.mesh.translate.edges import Callee, Edge
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


def tables(workload: Workload, callees: Mapping[str, Callee]) -> Iterator[ir.Item]:
    """For each release one table for its sandboxed instances, or one for each callee where the listener names it."""
    outlets = {(i.recipe.release, outlet.callee) for i in workload.instances for outlet in i.outlets}
    for release in sorted({release for release, _ in outlets}):
        way = _Way(workload, release, callees)
        if (release, None) in outlets:
            yield way.table()
        yield from (way.table_to(call) for call in workload.calls if (release, call.service) in outlets)
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
    callees: Mapping[str, Callee]

    @property
    def caller(self) -> str:
        return self.workload.service

    @property
    def guarded(self) -> bool:
        return self.release in self.workload.guarded

    def table(self) -> ir.RouteTable:
        inner = tuple(
            ir.VirtualHost(c.service, (c.service, f"{c.service}:80"), self._to(c)) for c in self.workload.calls
        )
        outer = tuple(self._outside(egress) for egress in self.workload.egress)
        hosts = (*inner, *outer, self._flags(FLAGS, f"{FLAGS}:80"), _undeclared(self.caller))
        return ir.RouteTable(names.table(self.caller, self.release, None), hosts)

    def table_to(self, call: Call) -> ir.RouteTable:
        host = ir.VirtualHost(call.service, ("*",), self._to(call))
        return ir.RouteTable(names.table(self.caller, self.release, call.service), (host,))

    def table_to_flags(self) -> ir.RouteTable:
        return ir.RouteTable(names.table(self.caller, self.release, FLAGS), (self._flags("*"),))

    def _flags(self, *domains: str) -> ir.VirtualHost:
        """Asking for a flag changes nothing, so a release that answers copies may."""
        if self.workload.flags:
            rule: ir.Rule = edges.to_flags(names.edge(self.caller, FLAGS), FLAGS)
        else:
            mend = f"add `flags: [NAME]` under services.{self.caller} in atoll.yaml"
            rule = ir.Refuse(403, f"{self.caller} may not ask for flags: {mend}")
        return ir.VirtualHost(FLAGS, domains, (rule,))

    def _to(self, call: Call) -> tuple[ir.Rule, ...]:
        callee = self.callees.get(call.service)
        if callee is None:
            return (ir.Refuse(503, f"{call.service} is not part of the system any more: nothing can answer {{host}}"),)
        edge = Edge(self.caller, call.service)
        if self.guarded:
            return shadows.guarded(edges.forward("/", edge, call.policy, callee), callee.safe)
        return tuple(edges.ways("/", edge, call.policy, callee))

    def _outside(self, egress: Egress) -> ir.VirtualHost:
        name, authority = _egress_name(self.caller, egress), edges.authority(egress)
        refusals = _refusals(self.caller)
        if egress.scheme == "https":
            tunnel = ir.Tunnel(name, authority, egress.policy.idle, ends=False)
            rule = shadows.no_tunnel() if self.guarded else tunnel
            return ir.VirtualHost(f"https://{authority}", (authority,), (rule, *refusals))
        domains = (egress.host, authority) if egress.port == 80 else (authority,)  # noqa: PLR2004 - the port of HTTP
        leaving = edges.leaving(name, authority, egress.policy)
        rules = (*(shadows.guarded(leaving) if self.guarded else (leaving,)), *refusals)
        return ir.VirtualHost(f"http://{authority}", domains, rules, remove=(CALLER_HEADER,))


def _undeclared(caller: str) -> ir.VirtualHost:
    return ir.VirtualHost("undeclared", ("*",), _refusals(caller))


def _refusals(caller: str) -> tuple[ir.Refuse, ...]:
    where = f"under services.{caller}.calls in atoll.yaml"
    return (
        ir.Refuse(403, f"{caller} may not reach {{host}}: add `https://{{host}}` {where}", ir.Asked.TUNNEL),
        ir.Refuse(403, f"{caller} may not call {{host}}: add `{{host}}` {where}", ir.Asked.BARE_NAME),
        ir.Refuse(403, f"{caller} may not reach {{host}}: add `http://{{host}}` {where}"),
    )


def _egress_name(caller: str, egress: Egress) -> str:
    return names.edge(caller, f"{egress.scheme}://{edges.authority(egress)}")
