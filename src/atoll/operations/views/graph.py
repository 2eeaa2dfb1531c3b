"""Who may call whom."""

from __future__ import annotations

from atoll import wire
from atoll.model.system import CallPolicy, System


def graph(system: System | None) -> wire.GraphView:
    """The declared calls; routes from outside come from the node `gateway`, egress goes to hosts outside."""
    edges: list[wire.Edge] = []
    nodes: list[str] = []
    for name, service in system.services.items() if system is not None else ():
        nodes.append(name)
        edges += [_edge("gateway", name, r.policy) for r in service.routes[:1]]
        edges += [_edge(name, c.service, c.policy) for c in service.calls]
        outside = [(f"{e.scheme}://{e.host}:{e.port}", e.policy) for e in service.egress]
        nodes += [host for host, _ in outside if host not in nodes]
        edges += [_edge(name, host, policy) for host, policy in outside]
    return wire.GraphView(("gateway", *nodes), tuple(edges))


def _edge(caller: str, callee: str, policy: CallPolicy) -> wire.Edge:
    return wire.Edge(caller, callee, policy.timeout, policy.retry.retries)
