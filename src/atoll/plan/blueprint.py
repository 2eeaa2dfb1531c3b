"""
The target, fully resolved: every name, address, port and number is chosen here, nothing is left to choose.

A Blueprint is a mapping of Workloads, one per service. A workload that did not change is the same object in the
next blueprint, so that everything below can skip it by identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.model.system import Call, Check, Egress, Gateway, Health, Operation, Resources, Route, RuntimeKind
from atoll.values.protocols import Protocol


class Stage(StrEnum):
    """What an instance is for right now."""

    START = "start"  # runs, gets no traffic: not ready yet, or ready no more
    SERVE = "serve"  # ready: is an endpoint
    DRAIN = "drain"  # is finishing: an endpoint that gets nothing new
    STOP = "stop"  # is told to end: no endpoint, but its outlet stays open for what it still has to say


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address and a port."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Outlet:
    """
    Where an instance finds the services that it may call.

    In a sandbox there is one, on 127.0.0.1:80 of its own network namespace, and the Host header names the callee
    (`callee` is None); `netns` is the path of that namespace. A plain process has one loopback port per callee, the
    flags included.
    """

    address: Address
    callee: str | None = None
    netns: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """
    How one release of a service is run; shared by its instances.

    `artifact` is a digest and `argv` runs in it; `hosts` are names that lead to the outlet inside a sandbox: all
    services and that of the flags, so that an undeclared call gets the proxy's explanation and not a failed look-up.
    `calls` is whom its instances may call for as long as they run, whatever the file says by then; None where an older
    Atoll has not written that down, and the file decides.
    """

    service: str
    release: int
    artifact: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    runtime: RuntimeKind
    resources: Resources
    health: Health
    drain: float
    grace: float
    hosts: tuple[str, ...] = ()
    calls: tuple[Call, ...] | None = None

    def allowed(self, declared: tuple[Call, ...]) -> tuple[Call, ...]:
        """Whom its instances may call, where *declared* is what the file says."""
        return declared if self.calls is None else self.calls

    def may_call(self, service: str) -> bool:
        """Whether its instances may call *service*, where the file allows it or did so when the release was made."""
        return self.calls is None or any(call.service == service for call in self.calls)


@dataclass(frozen=True, slots=True)
class Instance:
    """
    One run of one release, from its place being made to its end. `name` is unique for ever: a replacement has another.

    `network` numbers its link to the fabric (0 for a plain process); `address` is where it must listen, as seen by
    the proxies; `outlets` is where it may call from; `env` comes on top of the recipe's. `crashes` counts the failed
    runs in a row before this one, and it is not started before `not_before`. `since` is when its stage began and
    `reason` says why; `served` is when it first got traffic, 0 when never. Instants are seconds since the epoch.
    """

    name: str
    recipe: Recipe
    serial: int
    network: int
    address: Address
    outlets: tuple[Outlet, ...]
    env: tuple[tuple[str, str], ...]
    stage: Stage
    since: float
    reason: str = ""
    crashes: int = 0
    not_before: float = 0.0
    served: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A run of a release that failed, the last of `crashes` in a row, and that has no replacement yet."""

    release: int
    crashes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Split:
    """
    Two releases of one service side by side.

    `stable` gets what names no release, but for `weight` percent of it, which `next` gets; `next` also gets what names
    it. Requests with the same value of the header `key` get the same release; without a key a cookie keeps a browser
    where it is. With `both`, the instances of `next` are known as stable's as well, so that they can take over. `check`
    is how the proxies ask the instances of `next`.
    """

    stable: int
    next: int
    weight: int
    key: str = ""
    both: bool = False
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Shadow:
    """
    The next release answers copies of requests, for its answers to be compared, and nothing else.

    `share` (0 to 1) of the calls that change nothing is copied, at most `copies` at a time.
    """

    release: int
    share: float
    copies: int


@dataclass(frozen=True, slots=True)
class Workload:
    """
    One service in the target. `failures` is what a rollout must not forget where it has made room for something else.

    `calls` is whom any of its instances may call, some of them perhaps as their release was made when the file said so.
    What the instances of the `guarded` releases call may change nothing: whatever they do, they do because of a copy.

    `check` is how the proxies ask its endpoints, of the stable release where it is split; None where they would have to
    be asked in different ways, and only the control plane does.

    `basis` is set on a settled one: what it was derived from, so that the same basis means the same workload and
    nothing to do.
    """

    service: str
    runtime: RuntimeKind
    instances: tuple[Instance, ...]
    routes: tuple[Route, ...]
    calls: tuple[Call, ...]
    egress: tuple[Egress, ...]
    check: Check | None = None
    protocol: Protocol = Protocol.AUTO
    serial: int = 0  # how many instances this service has ever had
    failures: tuple[Failure, ...] = ()
    failed_runs: tuple[tuple[int, int], ...] = ()  # by release that serves or is to serve, how many were replaced
    split: Split | None = None
    flags: bool = False  # whether it may ask for feature flags
    shadow: Shadow | None = None
    safe: tuple[Operation, ...] = ()  # change nothing, though their method does not say so
    guarded: tuple[int, ...] = ()
    counts: tuple[tuple[str, Operation], ...] = ()  # answers that a release must not have fewer of, by name
    basis: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """
    The whole target. `generation` grows by one with every change and fences every port call.

    With `counting` it is counted what answers say about flags, as one is being released.
    """

    system: str
    generation: int
    gateway: Gateway
    workloads: Mapping[str, Workload]
    cursor: int = 0  # the last network number or port offset given out; numbers are reused as late as possible
    counting: bool = False
