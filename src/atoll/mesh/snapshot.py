"""
Resources by proxy, type and name, each with the digest of its content as version and its bytes made once.

Content digests mean that a new control plane, which builds everything anew, has nothing to tell a proxy that is up
to date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import Message

from atoll.mesh import ir
from atoll.mesh.xds.clusters import assignment, cluster
from atoll.mesh.xds.counting import token_bucket
from atoll.mesh.xds.listeners import listener
from atoll.mesh.xds.measuring import runtime
from atoll.mesh.xds.messages import packed
from atoll.mesh.xds.routes import table


class Kind(StrEnum):
    """Envoy's types of resources, by type URL."""

    RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    TOKENS = "type.googleapis.com/envoy.type.v3.TokenBucket"
    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


@dataclass(frozen=True, slots=True)
class Resource:
    """
    One resource, ready to be sent: `wire` is a serialized `Resource` of the discovery protocol.

    `refers` is the name of what it cannot work without: a cluster's assignment, a listener's route table.
    """

    kind: Kind
    name: str
    version: str
    wire: bytes = field(repr=False)
    refers: str = ""


Key = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one proxy is to have. `touched` are the keys that may differ from the snapshot before."""

    generation: int
    resources: Mapping[Key, Resource]
    touched: frozenset[Key]


@dataclass(frozen=True, slots=True)
class _Encoded:
    share: ir.Share
    items: Mapping[str, Mapping[Key, tuple[ir.Item, Resource]]]  # by proxy


class Snapshots:
    """Makes one snapshot after the other; shares and items that did not change are not encoded again."""

    def __init__(self) -> None:
        self._encoded: dict[str, _Encoded] = {}
        self._resources: dict[str, dict[Key, Resource]] = {proxy: {} for proxy in ir.PROXIES}

    def make(self, mesh: ir.Mesh, generation: int) -> Mapping[str, Snapshot]:
        """The snapshot of each proxy."""
        touched: dict[str, set[Key]] = {proxy: set() for proxy in ir.PROXIES}
        after = {proxy: dict(resources) for proxy, resources in self._resources.items()}
        changed = [
            o for o, share in mesh.shares.items() if o not in self._encoded or self._encoded[o].share is not share
        ]
        gone = [owner for owner in self._encoded if owner not in mesh.shares]
        encoded = {owner: _encode(mesh.shares[owner], self._encoded.get(owner)) for owner in changed}
        for owner in (*changed, *gone):
            self._withdraw(owner, after, touched)
        for owner in changed:
            for proxy, items in encoded[owner].items.items():
                after[proxy].update((key, resource) for key, (_, resource) in items.items())
                touched[proxy].update(items)
            self._encoded[owner] = encoded[owner]
        before, self._resources = self._resources, after
        return {
            proxy: Snapshot(
                generation,
                after[proxy],
                frozenset(k for k in touched[proxy] if before[proxy].get(k) is not after[proxy].get(k)),
            )
            for proxy in ir.PROXIES
        }

    def _withdraw(self, owner: str, after: Mapping[str, dict[Key, Resource]], touched: Mapping[str, set[Key]]) -> None:
        old = self._encoded.pop(owner, None)
        for proxy, items in old.items.items() if old is not None else ():
            for key in items:
                after[proxy].pop(key, None)
            touched[proxy].update(items)


def encode(item: ir.Item) -> Resource:
    """The resource for one item."""
    kind, body = _KIND_OF[type(item)], packed(MESSAGES[type(item)](item))
    version = hashlib.sha256(body.value).hexdigest()[:16]
    wire = discovery_pb2.Resource(name=item.name, version=version, resource=body).SerializeToString()
    return Resource(kind, item.name, version, wire, _refers(item))


def _refers(item: ir.Item) -> str:
    if isinstance(item, ir.Listener):
        return item.table
    if isinstance(item, ir.Cluster) and isinstance(item.target, ir.Assigned):
        return item.target.name
    return ""


def _encode(share: ir.Share, old: _Encoded | None) -> _Encoded:
    result: dict[str, dict[Key, tuple[ir.Item, Resource]]] = {}
    for proxy, items in share.items.items():
        known = old.items.get(proxy, {}) if old is not None else {}
        made: dict[Key, tuple[ir.Item, Resource]] = {}
        for item in items:
            before = known.get((_KIND_OF[type(item)], item.name))
            pair = before if before is not None and before[0] == item else (item, encode(item))
            made[pair[1].kind, item.name] = pair
        result[proxy] = made
    return _Encoded(share, result)


_KIND_OF: Mapping[type, Kind] = {
    ir.Switches: Kind.RUNTIME,
    ir.TokenBucket: Kind.TOKENS,
    ir.Cluster: Kind.CLUSTER,
    ir.Assignment: Kind.ENDPOINTS,
    ir.Listener: Kind.LISTENER,
    ir.RouteTable: Kind.ROUTES,
}
MESSAGES: Mapping[type, Callable[..., Message]] = {
    ir.Switches: runtime,
    ir.TokenBucket: token_bucket,
    ir.Cluster: cluster,
    ir.Assignment: assignment,
    ir.Listener: listener,
    ir.RouteTable: table,
}
