"""
The parallel run of a service: who copies what to the comparer, and the ways by which it asks the two releases.

Copies and calls go over unix sockets. The comparer's calls have clusters of their own, without retries, breakers and
checks, and with names that no count of real calls looks at: what it does shows in no figure that anybody judges by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from atoll.mesh import ir
from atoll.mesh.translate import names
from atoll.model.system import Operation
from atoll.plan.blueprint import Shadow, Workload

CONNECT_TIMEOUT = 1.0
IDLE = 60.0
"""Seconds after which a call that nobody waits for any more is given up; the comparer bounds its calls itself."""
CALLS = 2
"""The comparer asks stable twice for each copy."""

BLOCKED = "shadow_blocked: {host} was not called, as this release only answers copies of requests now (compare)"


def mirror(service: str, shadow: Shadow | None, safe: Sequence[Operation]) -> ir.Mirror | None:
    """What is copied of the calls to a service while its next release is compared."""
    return None if shadow is None else ir.Mirror(names.copies(service), service, shadow.share, operations(safe))


def operations(safe: Sequence[Operation]) -> tuple[tuple[str, str], ...]:
    """Methods and paths."""
    return tuple((one.method, one.path) for one in safe)


def copies(workload: Workload, socket: str) -> Iterator[ir.Cluster]:
    """The way of the copies to the comparer: bounded, so that one that hangs holds no more than so many."""
    if workload.shadow is not None:
        most = workload.shadow.copies
        yield ir.Cluster(
            names.copies(workload.service), ir.Unix(socket), CONNECT_TIMEOUT, limits=ir.Limits(most, most, 0.0, 0)
        )


def calls(workload: Workload) -> Iterator[ir.Cluster]:
    """The ways of the comparer to the instances of both releases."""
    if workload.shadow is not None:
        most = CALLS * workload.shadow.copies
        for target in _targets(workload.service):
            yield ir.Cluster(
                names.shadow(target),
                ir.Assigned(target),
                CONNECT_TIMEOUT,
                limits=ir.Limits(most, most, 0.0, 0),
                protocol=workload.protocol,
            )


def door(workloads: Mapping[str, Workload], socket: str) -> Iterator[tuple[str, ir.Item]]:
    """Where the comparer calls: a header says which release of which service it means."""
    shadowed = [workload for workload in workloads.values() if workload.shadow is not None]
    if shadowed:
        rules = tuple(
            ir.Meant(target, names.shadow(target), workload.service, IDLE, operations(workload.safe))
            for workload in shadowed
            for target in _targets(workload.service)
        )
        nothing = ir.Refuse(404, "nothing is compared that is called so, or this could change something")
        host = ir.VirtualHost("compared", ("*",), (*rules, nothing))
        yield ir.MESH, ir.Listener(names.SHADOW, ir.Unix(socket), ir.Door.SHADOW, names.SHADOW)
        yield ir.MESH, ir.RouteTable(names.SHADOW, (host,))


def guarded(rule: ir.Forward, safe: Sequence[Operation] = ()) -> tuple[ir.Rule, ...]:
    """
    The rule for an instance that answers copies: it may ask nothing that could change something.

    *safe* are operations of the callee that change nothing, though their method does not say so.
    """
    plain = replace(rule, mirror=None, counted=names.SHADOW)
    allowed = (replace(plain, only=operations(safe)),) if safe else ()
    upgrade, write = (ir.Refuse(409, BLOCKED, asked) for asked in (ir.Asked.UPGRADE, ir.Asked.WRITE))
    return (upgrade, *allowed, write, plain)


def no_tunnel() -> ir.Rule:
    """Nobody sees what is asked inside a tunnel, so there is none."""
    return ir.Refuse(409, BLOCKED, ir.Asked.TUNNEL)


def _targets(service: str) -> tuple[str, str]:
    return service, names.next_of(service)
