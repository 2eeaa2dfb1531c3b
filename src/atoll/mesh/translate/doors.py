"""What belongs to the platform and not to one service: the way in from outside and the way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from atoll.mesh import ir
from atoll.mesh.translate import edges, names
from atoll.mesh.translate.edges import Edge
from atoll.model.system import CallPolicy, Egress, Gateway, Route
from atoll.plan.blueprint import Workload
from atoll.values.headers import SHADOW_RUN
from atoll.values.names import CALLER_HEADER

OURS = (CALLER_HEADER, SHADOW_RUN)
"""What only we may say of a request."""
HIDDEN = ("server",)
"""What nobody outside needs to know of who answers: whose software it is, and how old. (To overwrite it costs more.)"""
NO_ROUTE = "nothing is served here: no service has a route for this host and path (services.NAME.routes in atoll.yaml)"
DOTS = "this path is not passed on: it goes up behind a parameter (..;), which programs take for different things"
MANY_HOSTS = "this request names more than one host (Host)"
NO_SUCH_DOOR = "{host} is not declared by any service"
COOKIE = "atoll-release"
INGRESS_IDLE = 3600.0  # longer than any route's own, which acts in the other proxy


def front(gateway: Gateway) -> ir.Listener:
    """The only door from outside."""
    return ir.Listener(
        names.GATEWAY, ir.Inet(gateway.host, gateway.listen), ir.Door.GATEWAY, names.GATEWAY, remove=OURS
    )


def ingress(path: str) -> Iterator[tuple[str, ir.Item]]:
    """The extra hop where the gateway may not enter the fabric: the mesh has the routes and gets everything."""
    rule = edges.passing(names.INGRESS, "the mesh", INGRESS_IDLE)
    host = ir.VirtualHost("everything", ("*",), (rule,))
    yield ir.GATEWAY, ir.RouteTable(names.GATEWAY, (host,))
    yield ir.GATEWAY, ir.Cluster(names.INGRESS, ir.Unix(path), edges.CONNECT_TIMEOUT)
    yield ir.MESH, ir.Listener(names.INGRESS, ir.Unix(path), ir.Door.INGRESS, names.INGRESS)


def public_table(name: str, workloads: Mapping[str, Workload]) -> ir.RouteTable:
    """All routes from outside: the longest path first, a route for this host before one for any."""
    rules = [
        (route, rule)
        for w, to in ((w, edges.callee(w)) for w in workloads.values())
        for route, variant in variants(w.routes)
        for rule in edges.ways(route.path, Edge(names.GATEWAY, w.service, variant), route.policy, to, COOKIE)
    ]
    rules.sort(key=lambda pair: (-len(pair[0].path), pair[0].path, not pair[0].hosts))
    dots, nothing = ir.Refuse(400, DOTS, ir.Asked.DOTS), ir.Refuse(404, NO_ROUTE)
    general = tuple(rule for route, rule in rules if not route.hosts)
    hosts = [
        ir.VirtualHost(
            host, (host,), (dots, *(rule for route, rule in rules if not route.hosts or host in route.hosts), nothing)
        )
        for host in sorted({host for route, _ in rules for host in route.hosts})
    ]
    several = ir.Refuse(400, MANY_HOSTS, ir.Asked.MANY_HOSTS)
    anywhere = ir.VirtualHost("any host", ("*",), (several, dots, *general, nothing))
    return ir.RouteTable(name, (*hosts, anywhere), any_port=True, hidden=HIDDEN)


def variants(routes: Sequence[Route]) -> Iterator[tuple[Route, int]]:
    """Each route with the number of its cluster: routes that take the same load and failure share one."""
    numbers: dict[object, int] = {}
    for route in routes:
        policy = route.policy
        shape = (policy.bulkhead, policy.retry.budget)
        yield route, numbers.setdefault(shape, len(numbers))


def public_edges(workload: Workload, source_netns: str | None) -> Iterator[ir.Cluster]:
    """The gateway's clusters for one service."""
    done: set[int] = set()
    for route, variant in variants(workload.routes):
        if variant not in done:
            done.add(variant)
            edge = Edge(names.GATEWAY, workload.service, variant)
            yield from edges.clusters(edge, route.policy, edges.callee(workload), source_netns)


def egress(declared: Sequence[Egress], path: str) -> Iterator[tuple[str, ir.Item]]:
    """The way out: a socket for the mesh, and behind it nothing but the hosts that some service declares."""
    if not declared:
        return
    yield ir.GATEWAY, ir.Listener(names.EGRESS, ir.Unix(path), ir.Door.EGRESS, names.EGRESS)
    targets = sorted({(e.host, e.port) for e in declared})
    for host, port in targets:
        yield ir.GATEWAY, ir.Cluster(_exit(host, port), ir.Resolved(host, port), edges.EGRESS_CONNECT_TIMEOUT)
    idle = max((e.policy.idle for e in declared), default=CallPolicy().idle)
    hosts = tuple(_exit_host(host, port, idle, declared) for host, port in targets)
    nowhere = ir.VirtualHost("undeclared", ("*",), (ir.Refuse(403, NO_SUCH_DOOR),))
    yield ir.GATEWAY, ir.RouteTable(names.EGRESS, (*hosts, nowhere))


def _exit_host(host: str, port: int, idle: float, declared: Sequence[Egress]) -> ir.VirtualHost:
    schemes = {e.scheme for e in declared if (e.host, e.port) == (host, port)}
    authority = f"{host}:{port}"
    rules: list[ir.Rule] = []
    if "https" in schemes:
        rules.append(ir.Tunnel(_exit(host, port), authority, idle, ends=True))
    if "http" in schemes:
        rules.append(edges.passing(_exit(host, port), authority, idle))
    domains = (authority, host) if port == 80 else (authority,)  # noqa: PLR2004 - the port of HTTP
    return ir.VirtualHost(authority, domains, tuple(rules), remove=("x-forwarded-proto", "x-request-id"))


def _exit(host: str, port: int) -> str:
    return names.edge(names.EGRESS, f"{host}:{port}")
