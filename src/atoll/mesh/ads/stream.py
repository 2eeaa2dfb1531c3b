"""
One proxy's stream, without I/O: what to send next, and what the proxy has made of what was sent.

The order is make before break: clusters, then their endpoints, then listeners, then routes, and clusters are removed
last. Of each type only one response is under way at a time; what changes meanwhile goes with the next, as does what
was too much for one. So an answer is always about a known set of resources. A set that is refused, or not answered in
time, is cut in half and sent again, until it is known which resource it is: Envoy does not always say, and one bad
resource may not hold up others.

What was sent and not acknowledged is in the proxy or is not. So it is sent again if it is wanted, and removed if it is
not, whatever was acknowledged before; and a removal is repeated until it is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from atoll.mesh.snapshot import Key, Kind, Resource, Snapshot
from atoll.mesh.xds.messages import delimited

ORDER = (Kind.RUNTIME, Kind.TOKENS, Kind.CLUSTER, Kind.ENDPOINTS, Kind.LISTENER, Kind.ROUTES)
BY_NAME = (Kind.RUNTIME, Kind.TOKENS, Kind.ENDPOINTS, Kind.ROUTES)
PATIENCE = 3.0  # seconds for an answer, and a little more for each resource
PER_RESOURCE = 0.005
SILENCE = 20.0  # seconds after which no answer counts as a refusal: Envoy itself gives up waiting after 15
LARGE = 4 * 1024 * 1024  # bytes of resources in one response; only a single one may be larger
RETRY = 5.0  # seconds before what was refused is tried again
WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A version that a proxy did not take. `words` are its own; empty while it has only not answered yet.

    With `again` it may be sent once more: what was wrong may have been outside of it (a port in use).
    """

    version: str
    words: str
    at: float
    again: bool = False


@dataclass(slots=True)
class Ledger:
    """What is known about one proxy beyond a single stream: the last good version of everything, and what is bad."""

    good: dict[Key, Resource] = field(default_factory=dict)
    refused: dict[Key, Refusal] = field(default_factory=dict)

    def effective(self, key: Key, resource: Resource | None) -> Resource | None:
        """*resource*, or the last good one where the proxy has refused this version."""
        refusal = self.refused.get(key)
        if resource is None or refusal is None or refusal.version != resource.version:
            return resource
        return self.good.get(key) if refusal.words and not refusal.again else resource

    def prune(self, wanted: Container[Key]) -> None:
        """Let go of what is not wanted any more: what is asked for by name is never removed, only not asked for."""
        for key in [key for key in self.good if key not in wanted]:
            del self.good[key]

    def reopen(self, now: float) -> list[Key]:
        """Let what was refused a while ago be sent once more; returns what that is."""
        old = [key for key, refusal in self.refused.items() if refusal.words and now - refusal.at >= RETRY]
        for key in old:
            self.refused[key] = replace(self.refused[key], again=True, at=now)
        return old


@dataclass(slots=True)
class _Flight:
    nonce: str
    sent: dict[str, Resource]
    removed: tuple[str, ...]
    deadline: float
    early: set[str] = field(default_factory=set)  # to be sent once more, whatever the answer


@dataclass(slots=True)
class _Lane:
    """One type of resource on one stream."""

    kind: Kind
    open: bool = False
    greeted: bool = False  # without a first answer, be it empty, a proxy waits for 15 s before it goes on
    names: set[str] = field(default_factory=set)  # what was asked for, where that is by name
    known: dict[str, str] = field(default_factory=dict)  # versions the proxy has
    unsure: set[str] = field(default_factory=set)  # sent or removed, not acknowledged: what the proxy has is open
    pending: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)  # clusters that a refused route table may still lead to
    parts: deque[frozenset[str]] = field(default_factory=deque)  # halves of a set that was refused
    flight: _Flight | None = None

    def asked(self, name: str) -> bool:
        return self.kind not in BY_NAME or name in self.names

    def lacks(self, resource: Resource, *, refused: bool) -> bool:
        """
        Whether the proxy may not have this version.

        While a newer one is *refused* what was known before counts as what it has. Sending that too, to a proxy that
        answers nothing, would begin the waiting anew each time.
        """
        known = self.known.get(resource.name) == resource.version
        return not known or (resource.name in self.unsure and not refused)

    def may_have(self, name: str) -> bool:
        return name in self.known or name in self.unsure

    def repeat(self, name: str) -> None:
        """Send it whatever the proxy has, and whatever it says about what is under way: that may come too early."""
        self.known.pop(name, None)
        self.pending.add(name)
        if self.flight is not None:
            self.flight.early.add(name)

    @property
    def busy(self) -> bool:
        return self.flight is not None or bool(self.parts)


class Stream:
    """
    One proxy's stream.

    `offer`, `hear` and `tick` each return the responses to send now, serialized.
    """

    def __init__(self, ledger: Ledger, snapshot: Snapshot | None) -> None:
        self._ledger = ledger
        self._snapshot = snapshot
        self._lanes = {kind: _Lane(kind) for kind in ORDER}
        self._counter = 0
        self.generation = 0

    def known(self, kind: Kind) -> dict[str, str]:
        """The versions that the proxy has acknowledged, by name."""
        return self._lanes[kind].known

    def settled(self, kinds: Iterable[Kind] = ORDER) -> bool:
        """Whether the proxy has answered everything of these kinds."""
        return all(not lane.busy and not lane.pending for lane in map(self._lanes.__getitem__, kinds))

    def asks_for(self, kind: Kind, name: str) -> bool:
        """Whether the proxy wants to know about this resource."""
        return self._lanes[kind].asked(name)

    def offer(self, snapshot: Snapshot, now: float, again: Iterable[Key] = ()) -> list[bytes]:
        """There is a new snapshot; *again* was refused and may be tried once more."""
        first = self._snapshot is None
        self._snapshot = snapshot
        for kind, name in (*snapshot.touched, *again) if not first else ():
            if self._lanes[kind].open:
                self._lanes[kind].pending.add(name)
        if first:
            for lane in self._lanes.values():
                self._reconsider(lane)
        return self._advance(now)

    def hear(self, request: DeltaDiscoveryRequest, now: float) -> list[bytes]:
        """The proxy has said something: an acknowledgement, a refusal, or what it wants to know about."""
        lane = self._lanes.get(Kind(request.type_url)) if request.type_url in set(Kind) else None
        if lane is None:
            return []
        if not lane.open:
            lane.open = True
            lane.known.update(request.initial_resource_versions)
            lane.names.update(request.initial_resource_versions)
            self._reconsider(lane)
        for name in request.resource_names_subscribe:
            if name != WILDCARD:
                lane.names.add(name)
                lane.pending.add(name)
                if name not in request.initial_resource_versions:
                    lane.repeat(name)
        for name in request.resource_names_unsubscribe:
            lane.names.discard(name)
            lane.known.pop(name, None)
            lane.unsure.discard(name)
        if request.response_nonce:
            self._answer(lane, request, now)
        return self._advance(now)

    def tick(self, now: float) -> list[bytes]:
        """Time has passed: what was not answered is sent again in smaller parts."""
        for lane in self._lanes.values():
            flight = lane.flight
            if flight is None or now < flight.deadline:
                continue
            if lane.kind is Kind.CLUSTER:
                self._repeat_endpoints(flight.sent.values())
            self._give_up(lane, flight, "", now)
        return self._advance(now)

    def due(self) -> float | None:
        """When `tick` has something to do, at the earliest."""
        return min((lane.flight.deadline for lane in self._lanes.values() if lane.flight is not None), default=None)

    # --- what the proxy said ------------------------------------------------------------------------------------

    def _reconsider(self, lane: _Lane) -> None:
        if self._snapshot is not None and lane.open:
            lane.pending.update(name for kind, name in self._snapshot.resources if kind is lane.kind)
            lane.pending.update(lane.known)

    def _answer(self, lane: _Lane, request: DeltaDiscoveryRequest, now: float) -> None:
        flight = lane.flight
        if flight is None or flight.nonce != request.response_nonce:
            return
        if request.HasField("error_detail"):
            self._give_up(lane, flight, request.error_detail.message or "refused without a reason", now)
            return
        lane.flight = None
        lane.unsure.difference_update(flight.sent, flight.removed)
        for name, resource in flight.sent.items():
            if lane.asked(name) and name not in flight.early:
                lane.known[name] = resource.version
            self._ledger.good[lane.kind, name] = resource
            self._forgive((lane.kind, name), resource.version)
        for name in flight.removed:
            lane.known.pop(name, None)
            self._ledger.good.pop((lane.kind, name), None)
            self._ledger.refused.pop((lane.kind, name), None)

    def _give_up(self, lane: _Lane, flight: _Flight, words: str, now: float) -> None:
        lane.flight = None
        names = sorted((*flight.sent, *flight.removed))
        if len(names) > 1:
            half = len(names) // 2
            lane.parts.extendleft((frozenset(names[half:]), frozenset(names[:half])))
            lane.pending.update(names)
            return
        for name, resource in flight.sent.items():
            before = self._ledger.refused.get((lane.kind, name))
            began = before.at if before is not None and before.version == resource.version else now
            if not words and now - began >= SILENCE:
                words = f"{name}: no answer within {SILENCE:g} s"
            self._ledger.refused[lane.kind, name] = Refusal(resource.version, words, began)
            if not words:
                lane.pending.add(name)
        if not words:
            lane.pending.update(flight.removed)  # until it is answered: there is nothing to fall back to

    # --- what to send -------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> list[bytes]:
        if self._snapshot is None:
            return []
        # Once more for clusters: the routes that held up their removal may just have turned out to be in place.
        lanes = [self._lanes[kind] for kind in (*ORDER, Kind.CLUSTER)]
        responses = [response for lane in lanes for response in self._next(lane, now)]
        if self.settled() and self.generation != self._snapshot.generation:
            self.generation = self._snapshot.generation
            self._ledger.prune(self._snapshot.resources)
        return responses

    def _next(self, lane: _Lane, now: float) -> Iterator[bytes]:
        if not lane.open or lane.flight is not None:
            return
        upserts, removals = self._due(lane)
        if not upserts and not removals:
            lane.parts.clear()
            if lane.kind in BY_NAME or lane.greeted or lane.pending:
                return
        while lane.parts:
            part = lane.parts.popleft()
            chosen = {n: r for n, r in upserts.items() if n in part}, [n for n in removals if n in part]
            if any(chosen):
                upserts, removals = chosen
                break
        upserts = _fitting(upserts)
        lane.pending.difference_update(upserts, removals)
        if lane.kind is Kind.CLUSTER:
            self._repeat_endpoints(upserts.values())
        yield self._send(lane, upserts, removals, now)

    def _due(self, lane: _Lane) -> tuple[dict[str, Resource], list[str]]:
        """What can be sent of what is pending; what turns out to be known already is crossed off."""
        assert self._snapshot is not None  # noqa: S101 - nothing is sent before the first snapshot
        lane.pending |= lane.held
        lane.held.clear()
        upserts: dict[str, Resource] = {}
        removals: list[str] = []
        for name in list(lane.pending):
            key = (lane.kind, name)
            wanted = self._snapshot.resources.get(key)
            resource = self._ledger.effective(key, wanted)
            if resource is not None and lane.asked(name) and lane.lacks(resource, refused=resource is not wanted):
                upserts[name] = resource
            elif wanted is None and lane.may_have(name) and lane.kind not in BY_NAME:
                removals.append(name)
            else:
                lane.pending.discard(name)
                self._forgive(key, lane.known.get(name))
        if lane.kind in {Kind.LISTENER, Kind.ROUTES} and self._clusters_under_way():
            upserts = {}
        if lane.kind is Kind.ROUTES and self._listeners_wait():
            upserts = {}
        if lane.kind is Kind.CLUSTER and removals and not self._routes_in_place():
            if any(kind is Kind.ROUTES for kind, _ in self._ledger.refused):
                lane.held.update(removals)
                lane.pending.difference_update(removals)
            removals = []
        return upserts, removals

    def _forgive(self, key: Key, known: str | None) -> None:
        """A refusal is over when the proxy has what is wanted now, or nothing is wanted any more."""
        assert self._snapshot is not None  # noqa: S101 - see _due
        wanted = self._snapshot.resources.get(key)
        if wanted is None or wanted.version == known:
            self._ledger.refused.pop(key, None)

    def _clusters_under_way(self) -> bool:
        """Routes to a cluster that is not there yet would answer 503."""
        assert self._snapshot is not None  # noqa: S101 - see _due
        lane = self._lanes[Kind.CLUSTER]
        wanted = {name for name in lane.pending if (Kind.CLUSTER, name) in self._snapshot.resources}
        if lane.flight is not None:
            wanted.update(lane.flight.sent)
        return any((Kind.CLUSTER, name) not in self._ledger.refused for name in wanted)

    def _listeners_wait(self) -> bool:
        """
        Listeners that were too much for one response go before any routes.

        A proxy that starts is ready once the listeners it knows have their routes, and then its predecessor lets go.
        """
        assert self._snapshot is not None  # noqa: S101 - see _due
        waiting = [(Kind.LISTENER, name) for name in self._lanes[Kind.LISTENER].pending]
        return any(key in self._snapshot.resources and key not in self._ledger.refused for key in waiting)

    def _routes_in_place(self) -> bool:
        """No route leads to a cluster that is to go: the proxy has every table as it is wanted, none was refused."""
        refused = any(kind is Kind.ROUTES for kind, _ in self._ledger.refused)
        return not refused and self.settled((Kind.ROUTES, Kind.LISTENER))

    def _repeat_endpoints(self, clusters: Iterable[Resource]) -> None:
        """A cluster that is sent waits for its endpoints to be sent again, and Envoy does not ask for them."""
        lane = self._lanes[Kind.ENDPOINTS]
        for cluster in clusters:
            if cluster.refers in lane.names:
                lane.repeat(cluster.refers)

    def _send(self, lane: _Lane, upserts: dict[str, Resource], removals: list[str], now: float) -> bytes:
        lane.greeted = True
        self._counter += 1
        nonce = str(self._counter)
        lane.unsure.update(upserts, removals)
        size = len(upserts) + len(removals)
        lane.flight = _Flight(nonce, upserts, tuple(removals), now + PATIENCE + size * PER_RESOURCE)
        head = DeltaDiscoveryResponse(type_url=lane.kind, nonce=nonce, removed_resources=removals)
        return bytes(head.SerializeToString()) + b"".join(delimited(2, r.wire) for r in upserts.values())


def _fitting(upserts: dict[str, Resource]) -> dict[str, Resource]:
    """As many as go into one response, and at least one. The others are still pending, and go once it is answered."""
    room = LARGE
    chosen: dict[str, Resource] = {}
    for name, resource in upserts.items():
        room -= len(resource.wire)
        if chosen and room < 0:
            break
        chosen[name] = resource
    return chosen
