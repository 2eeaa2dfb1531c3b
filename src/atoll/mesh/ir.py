"""
What the proxies are to do, in our own words: listeners, route tables, clusters and endpoints.

Neutral on both sides: nothing here knows the blueprint, nothing knows Envoy. Durations are seconds, shares are 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from atoll.kit.policy import Breaker, Retry
from atoll.values.protocols import Protocol


class Door(StrEnum):
    """What stands behind a listener: who is on the other side decides what is believed and what is refused."""

    GATEWAY = "gateway"  # hostile bytes from outside
    INGRESS = "ingress"  # what the gateway has let in, on its way to the mesh
    OUTLET = "outlet"  # calls of one instance
    EGRESS = "egress"  # what the mesh has let out, on its way to the gateway
    SHADOW = "shadow"  # calls of the comparer


@dataclass(frozen=True, slots=True)
class Inet:
    """A TCP address; with `netns` (a path) inside that network namespace."""

    ip: str
    port: int
    netns: str | None = None


@dataclass(frozen=True, slots=True)
class Unix:
    """A unix socket."""

    path: str


@dataclass(frozen=True, slots=True)
class Listener:
    """
    A socket that is listened on, and the route table its requests are looked up in.

    `caller` is who calls there, and what callees are told; what requests themselves say in the headers `remove` is not
    believed: neither a route nor a callee sees it.
    """

    name: str
    address: Inet | Unix
    door: Door
    table: str
    caller: str = ""
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """
    `weight` percent of the requests, and all that name `release` (`orders=7`), go to `cluster` instead.

    The same value of the header `key`, or else of the cookie `cookie` (made where it is missing; empty: no cookie), or
    else of the request's id goes the same way, also when the weight grows.
    """

    cluster: str
    release: str
    weight: int
    key: str = ""
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class Mirror:
    """
    A copy of a part (`share`, 0 to 1) of the requests that change nothing also goes to `cluster`.

    It has the header `x-atoll-compared: service`, and its answer is dropped. GET, HEAD and OPTIONS change nothing, nor
    do the methods and paths in `safe`. What streams, and what says itself that it is part of a comparison
    (`x-atoll-shadow-run`), is not copied.
    """

    cluster: str
    service: str
    share: float
    safe: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """
    Requests whose path begins with `path` (whole segments) go to `cluster`; `callee` is its name for people.

    `timeout` bounds the call with all its tries, 0 leaves that to somebody else. What streams is bounded by `idle`
    only. Without `retry` every call is tried once. `split` sends a part to another release, `mirror` copies a part.
    With `only` the rule is for these methods and paths, in which `{name}` stands for any one segment. While somebody
    wants to know, answers to it are counted as `counted`.
    """

    path: str
    cluster: str
    callee: str
    timeout: float
    per_try: float | None
    idle: float
    retry: Retry | None
    split: Split | None = None
    mirror: Mirror | None = None
    only: tuple[tuple[str, str], ...] = ()
    counted: str = ""


@dataclass(frozen=True, slots=True)
class Meant:
    """
    Requests that name `target` (`orders`, `orders@next`) in the header `x-atoll-shadow-to` go to `cluster`, once.

    Only those that change nothing: GET, HEAD and OPTIONS, and the methods and paths in `safe`.
    The answer names the address of the instance that gave it, in `x-atoll-shadow-from`: without it, nobody did.
    """

    target: str
    cluster: str
    callee: str
    idle: float
    safe: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Tunnel:
    """CONNECT requests go to `cluster`. With `ends` the tunnel ends here and its bytes go on, else it is passed on."""

    cluster: str
    callee: str
    idle: float
    ends: bool


class Asked(StrEnum):
    """Which requests a refusal is for."""

    ANYTHING = "anything"  # but a tunnel, which is nothing that a path could be told of
    TUNNEL = "tunnel"
    WRITE = "write"  # its method is none that changes nothing
    UPGRADE = "upgrade"  # to a protocol in which nobody sees what is asked
    DOTS = "dots"  # its path goes up behind a parameter (`/..;x/`), which some servers take for `/../`
    MANY_HOSTS = "many hosts"  # its host is a list: the header was there more than once (RFC 9112, 3.2)


@dataclass(frozen=True, slots=True)
class Refuse:
    """
    The answer is `status` and `text`.

    In it {host} stands for the host that was asked for, and {name} for the first word of that. `host` is a regular
    expression (RE2) for all of it, so that the rule is for some hosts only.
    """

    status: int
    text: str
    asked: Asked = Asked.ANYTHING
    host: str = ""


Rule = Forward | Meant | Tunnel | Refuse


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """Rules for some hosts, first match wins. `remove` are headers that who is there must not see."""

    name: str
    domains: tuple[str, ...]
    rules: tuple[Rule, ...]
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteTable:
    """
    Where requests go, by host. With `any_port` the port in the Host header does not count.

    `hidden` are headers of answers that who asks must not see.
    """

    name: str
    hosts: tuple[VirtualHost, ...]
    any_port: bool = False
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assigned:
    """The endpoints of a cluster are those of the assignment with that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The endpoints of a cluster are what DNS says."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """With a `path` an HTTP GET that must answer 2xx or 3xx, without one a TCP connect."""

    path: str | None
    host: str
    interval: float
    timeout: float
    failures: int


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `calls` in flight and `queue` waiting; at most `retry_ratio` of them are retries, or `retry_floor`."""

    calls: int
    queue: int
    retry_ratio: float
    retry_floor: int


@dataclass(frozen=True, slots=True)
class Unreachable:
    """
    Leaves out an instance to which `consecutive` connections in a row failed or broke, for `open` seconds.

    At most the `share` of all at once. What an instance answers does not count.
    """

    consecutive: int = 5
    open: float = 5.0
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    One caller's view of one callee: who answers, and how much failure and load is taken.

    `source_netns` is the path of the network namespace to dial from, where that is not the proxy's own.
    """

    name: str
    target: Assigned | Resolved | Unix
    connect_timeout: float
    limits: Limits | None = None
    breaker: Breaker | Unreachable | None = None
    check: HealthCheck | None = None
    source_netns: str | None = None
    protocol: Protocol = Protocol.AUTO


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The instance *name*. A draining one gets nothing new and keeps what it has."""

    name: str
    ip: str
    port: int
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who answers for one service."""

    name: str
    endpoints: tuple[Endpoint, ...]


MEASURED = "atoll.measured"
"""The switch that makes a proxy measure, by instance, how long calls take and what was answered."""


@dataclass(frozen=True, slots=True)
class Switches:
    """What is switched on in a proxy. There is always one, called `SWITCHES`: a proxy does not start without it."""

    name: str
    on: tuple[str, ...] = ()


SWITCHES = "atoll"


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """So many of something are allowed in a second, and as many at once."""

    name: str
    per_second: int


TIMED = TokenBucket("timed", 200)
"""The calls of which a proxy keeps how long they took: all up to so many, and a sample of more."""

Item = Listener | RouteTable | Cluster | Assignment | Switches | TokenBucket


@dataclass(frozen=True, slots=True)
class Share:
    """What one service (or the platform itself) puts into each proxy, by the proxy's name."""

    items: Mapping[str, tuple[Item, ...]]


@dataclass(frozen=True, slots=True)
class Mesh:
    """Everything, by owner. A share that did not change is the same object as before."""

    shares: Mapping[str, Share]


GATEWAY = "gateway"
MESH = "mesh"
PROXIES = (GATEWAY, MESH)
