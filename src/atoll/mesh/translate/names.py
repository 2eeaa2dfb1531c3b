"""What things are called in both proxies. A service's name has no @, # or >, so nothing here can collide with one."""

from __future__ import annotations

import re
from collections.abc import Iterable

GATEWAY = "@gateway"
INGRESS = "@ingress"
EGRESS = "@egress"
SHADOW = "@shadow"


def edge(caller: str, callee: str, variant: int = 0) -> str:
    """The cluster of one caller's calls to one callee; variants differ in policy (the gateway's routes)."""
    return f"{caller}->{callee}" + (f"#{variant + 1}" if variant else "")


def next_of(service: str) -> str:
    """The assignment of a service's next release, while it stands beside the stable one."""
    return f"{service}@next"


def copies(service: str) -> str:
    """The cluster of the copies of a service's calls, on their way to the comparer."""
    return f"{service}=>@compare"


def shadow(assignment: str) -> str:
    """The cluster of the comparer's calls to one release. It has no `->`: it is no edge, and counts nowhere."""
    return f"{SHADOW}=>{assignment}"


def is_edge(cluster: str) -> bool:
    """Whether real calls go through this cluster."""
    return "->" in cluster


def target(cluster: str) -> str:
    """The assignment that an edge leads to, whichever its variant."""
    return cluster.rpartition("->")[2].partition("#")[0]


def callee(cluster: str) -> str:
    """The callee of an edge, whichever its variant and release."""
    return target(cluster).partition("@")[0]


def edges_to(services: Iterable[str]) -> str:
    """A regular expression (RE2) for all edges to these services."""
    return f"->({'|'.join(map(re.escape, sorted(services)))})(@next)?(#\\d+)?$"


def outlet(instance: str, callee_: str | None) -> str:
    """The listener of one outlet of one instance."""
    return instance if callee_ is None else edge(instance, callee_)


def table(service: str, release: int, callee_: str | None) -> str:
    """
    The route table behind an outlet: one for all callees, or one where the listener itself names the callee.

    Each release has its own, so that what one may call can change without a change of its listeners.
    """
    whole = f"{service}@{release}"
    return whole if callee_ is None else edge(whole, callee_)
