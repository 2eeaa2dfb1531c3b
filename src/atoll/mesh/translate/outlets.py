"""What one service may call: its listeners, its route table, its edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from atoll.mesh import ir
from atoll.mesh.translate import edges, names
from atoll.mesh.translate.edges import Callee, Edge
from atoll.model.system import Call, Egress
from atoll.plan.blueprint import Instance, Outlet, Workload
from atoll.values.names import CALLER_HEADER, FLAGS


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
    """One table for all sandboxed instances; one for each callee where the listener names it."""
    outlets = [outlet for instance in workload.instances for outlet in instance.outlets]
    if any(outlet.callee is None for outlet in outlets):
        yield _table(workload, callees)
    named = {outlet.callee for outlet in outlets}
    for call in workload.calls:
        if call.service in named:
            host = ir.VirtualHost(call.service, ("*",), (_rule(workload, call, callees),), workload.service)
            yield ir.RouteTable(names.edge(workload.service, call.service), (host,))
    if FLAGS in named:
        yield ir.RouteTable(names.edge(workload.service, FLAGS), (_flags(workload, ("*",)),))


def _listener(service: str, instance: Instance, outlet: Outlet) -> ir.Listener:
    return ir.Listener(
        name=names.outlet(instance.name, outlet.callee),
        address=ir.Inet(outlet.address.ip, outlet.address.port, outlet.netns),
        door=ir.Door.OUTLET,
        table=names.table(service, outlet.callee),
        caller=service,
    )


def _table(workload: Workload, callees: Mapping[str, Callee]) -> ir.RouteTable:
    caller = workload.service
    inner = tuple(
        ir.VirtualHost(c.service, (c.service, f"{c.service}:80"), (_rule(workload, c, callees),), caller)
        for c in workload.calls
    )
    outer = tuple(_outside(caller, egress) for egress in workload.egress)
    mine = _flags(workload, (FLAGS, f"{FLAGS}:80"))
    return ir.RouteTable(caller, (*inner, *outer, mine, _undeclared(caller)))


def _flags(workload: Workload, domains: tuple[str, ...]) -> ir.VirtualHost:
    caller = workload.service
    refusal = ir.Refuse(
        403, f"{caller} may not ask for flags: add `flags: [NAME]` under services.{caller} in atoll.yaml"
    )
    rule = edges.to_flags(names.edge(caller, FLAGS), FLAGS) if workload.flags else refusal
    return ir.VirtualHost(FLAGS, domains, (rule,), caller)


def _rule(workload: Workload, call: Call, callees: Mapping[str, Callee]) -> ir.Rule:
    callee = callees.get(call.service)
    if callee is None:
        return ir.Refuse(503, f"{call.service} is not part of the system any more: nothing can answer {{host}}")
    return edges.forward("/", Edge(workload.service, call.service), call.policy, callee.split)


def _outside(caller: str, egress: Egress) -> ir.VirtualHost:
    name, authority = _egress_name(caller, egress), edges.authority(egress)
    if egress.scheme == "https":
        rule: ir.Rule = ir.Tunnel(name, authority, egress.policy.idle, ends=False)
        return ir.VirtualHost(f"https://{authority}", (authority,), (rule, *_refusals(caller)))
    domains = (egress.host, authority) if egress.port == 80 else (authority,)  # noqa: PLR2004 - the port of HTTP
    rule = edges.leaving(name, authority, egress.policy)
    return ir.VirtualHost(f"http://{authority}", domains, (rule, *_refusals(caller)), remove=(CALLER_HEADER,))


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
