"""One caller's way to one callee: the rule in its route table and the cluster behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from atoll.kit.policy import Retry
from atoll.mesh import ir
from atoll.mesh.translate import names, shadows
from atoll.model.system import CallPolicy, Check, Egress, Operation
from atoll.plan.blueprint import Shadow, Split, Workload
from atoll.values.protocols import Protocol

CONNECT_TIMEOUT = 1.0
IN_FLIGHT = 100
"""A retry budget is a share of so many requests at least: one lost instance takes more than any share of a few."""
FLAGS_POLICY = CallPolicy(timeout=5.0, idle=60.0)
"""How the control plane is asked for flags. It says something on every stream more often than it may be idle."""
EGRESS_CONNECT_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Callee:
    """What the ways to a service depend on beside a caller's policy: when it is well, what it speaks, its releases."""

    check: Check | None
    protocol: Protocol
    split: Split | None = None
    shadow: Shadow | None = None
    safe: tuple[Operation, ...] = ()
    counts: tuple[tuple[str, Operation], ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """One caller's way to one callee; variants differ in policy (the gateway's routes)."""

    caller: str
    callee: str
    variant: int = 0
    to_next: bool = False

    @property
    def target(self) -> str:
        """The assignment that it leads to."""
        return names.next_of(self.callee) if self.to_next else self.callee

    @property
    def name(self) -> str:
        """The name of its cluster."""
        return names.edge(self.caller, self.target, self.variant)

    @property
    def beside(self) -> Edge:
        """The same way to the next release."""
        return replace(self, to_next=True)


def callee(workload: Workload) -> Callee:
    """A service, as far as the ways to it depend on it."""
    judged = workload.split is not None and workload.shadow is None
    counts = workload.counts if judged else ()
    return Callee(workload.check, workload.protocol, workload.split, workload.shadow, workload.safe, counts)


def ways(path: str, edge: Edge, policy: CallPolicy, to: Callee, cookie: str = "") -> Iterator[ir.Forward]:
    """The rules that send calls along an edge: one for each operation that is counted, and one for all others."""
    rule = forward(path, edge, policy, to, cookie)
    for name, one in to.counts:
        yield replace(rule, only=((one.method, one.path),), counted=name)
    yield rule


def forward(path: str, edge: Edge, policy: CallPolicy, to: Callee, cookie: str = "") -> ir.Forward:
    """
    The rule that sends calls along an edge, with the edge's time limits and tries.

    Where *to* is split a part goes to the next release; *cookie* keeps a browser with the one that it has had. While
    the next release is compared nobody gets to it, and a part of the calls is copied.
    """
    split, part = to.split, None
    if split is not None and to.shadow is None:
        release = f"{edge.callee}={split.next}"
        part = ir.Split(edge.beside.name, release, split.weight, split.key, "" if split.key else cookie)
    return ir.Forward(
        path=path,
        cluster=edge.name,
        callee=edge.callee,
        timeout=policy.timeout,
        per_try=policy.per_try,
        idle=policy.idle,
        retry=_retry(policy),
        split=part,
        mirror=shadows.mirror(edge.callee, to.shadow, to.safe),
    )


def leaving(cluster: str, authority: str, policy: CallPolicy) -> ir.Forward:
    """The rule for calls to a host outside the system."""
    return ir.Forward("/", cluster, authority, policy.timeout, policy.per_try, policy.idle, _retry(policy))


def passing(cluster: str, callee: str, idle: float) -> ir.Forward:
    """A rule for a hop whose policy acts in the other proxy: nothing is bounded or tried twice here."""
    return ir.Forward("/", cluster, callee, 0.0, None, idle, None)


def clusters(edge: Edge, policy: CallPolicy, to: Callee, source_netns: str | None) -> Iterator[ir.Cluster]:
    """The callee as this caller sees it: once, or twice while two releases stand side by side."""
    yield _cluster(edge, policy, to, source_netns)
    if to.split is not None:
        yield _cluster(edge.beside, policy, to, source_netns)


def _cluster(edge: Edge, policy: CallPolicy, to: Callee, source_netns: str | None) -> ir.Cluster:
    asked = to.split.check if edge.to_next and to.split is not None else to.check
    return ir.Cluster(
        name=edge.name,
        target=ir.Assigned(edge.target),
        connect_timeout=CONNECT_TIMEOUT,
        limits=_limits(policy),
        breaker=policy.breaker if policy.breaker.mode == "enforce" else ir.Unreachable(),
        check=_check(asked, edge.callee) if asked is not None else None,
        source_netns=source_netns,
        protocol=to.protocol,
    )


def _check(asked: Check, host: str) -> ir.HealthCheck:
    return ir.HealthCheck(asked.path, host, asked.interval, asked.timeout, asked.failures)


def outside(name: str, policy: CallPolicy, path: str) -> ir.Cluster:
    """A host outside the system as this caller sees it: by way of the gateway, at the socket *path*."""
    return ir.Cluster(name, ir.Unix(path), CONNECT_TIMEOUT, limits=_limits(policy))


def flags(name: str, path: str) -> ir.Cluster:
    """The control plane at the socket *path*. It speaks HTTP/1.1 only."""
    return ir.Cluster(name, ir.Unix(path), CONNECT_TIMEOUT, limits=_limits(FLAGS_POLICY), protocol=Protocol.HTTP1)


def to_flags(cluster: str, callee: str) -> ir.Forward:
    """The rule for questions about flags."""
    return ir.Forward("/", cluster, callee, FLAGS_POLICY.timeout, None, FLAGS_POLICY.idle, _retry(FLAGS_POLICY))


def authority(egress: Egress) -> str:
    """Host and port, as a tunnel asks for them: `api.stripe.com:443`."""
    return f"{egress.host}:{egress.port}"


def _retry(policy: CallPolicy) -> Retry | None:
    return policy.retry if policy.retry.retries > 0 else None


def _limits(policy: CallPolicy) -> ir.Limits:
    """
    The bulkhead and the retry budget.

    Envoy bounds the retries that are under way, among the requests that are. When one of n instances dies with all that
    it was doing, that is 1/(n - 1) of what is left: half where there were three.
    """
    bulkhead, ratio = policy.bulkhead, policy.retry.budget.ratio
    return ir.Limits(bulkhead.limit, bulkhead.queue, ratio, ceil(ratio * IN_FLIGHT))
