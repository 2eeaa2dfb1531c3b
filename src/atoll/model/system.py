"""
The declared types: what the file says, frozen and checked, nothing decided yet.

Durations are seconds (float), memory is bytes, cpu is thousandths of a core, shares are 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.kit.policy import Breaker, Bulkhead, Retry, RetryBudget
from atoll.values.judging import JudgePolicy
from atoll.values.protocols import Protocol


class RuntimeKind(StrEnum):
    """How an instance is run."""

    PROCESS = "process"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Check:
    """
    One health check. With a `path` it is an HTTP GET that must answer 2xx or 3xx, without one a TCP connect.

    `interval` and `timeout` are seconds; `failures` in a row make it failing.
    """

    path: str | None = None
    interval: float = 2.0
    timeout: float = 1.0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Health:
    """When an instance may get traffic (`ready`), must be restarted (`live`), and is given up (`startup` seconds)."""

    ready: Check = Check()
    live: Check | None = None
    startup: float = 60.0
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """The most an instance may use. None is no limit of ours."""

    cpu: int | None = None
    memory: int | None = None
    pids: int = 512


USUAL_RETRY = Retry(budget=RetryBudget(ratio=0.5))
"""What one of three instances takes with it may be tried again, and an outage at most doubles the load."""


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """
    How one callee is called. Acts in Envoy; every default is bounded.

    `timeout` bounds the whole call with all its tries, `per_try` a single one. Calls that stream
    (server-sent events, gRPC streams, upgrades) are bounded by `idle` instead.
    """

    timeout: float = 10.0
    per_try: float | None = None
    idle: float = 300.0
    retry: Retry = USUAL_RETRY
    bulkhead: Bulkhead = Bulkhead()
    breaker: Breaker = Breaker()


@dataclass(frozen=True, slots=True)
class Call:
    """Permission for, route to, and policy towards one other service."""

    service: str
    policy: CallPolicy = CallPolicy()


@dataclass(frozen=True, slots=True)
class Egress:
    """Permission to reach one host outside the system."""

    scheme: str
    host: str
    port: int
    policy: CallPolicy = CallPolicy()


ROUTE_POLICY = CallPolicy(timeout=30.0, breaker=Breaker(mode="shadow"))
"""Refuses nobody for what a service answered to others: strangers could shut it by asking for what fails."""


@dataclass(frozen=True, slots=True)
class Route:
    """Requests from outside whose path begins with `path` (whole segments) on one of `hosts` (empty: any)."""

    path: str
    hosts: tuple[str, ...] = ()
    policy: CallPolicy = ROUTE_POLICY

    @property
    def place(self) -> tuple[str, tuple[str, ...]]:
        """What it stands for, however it is served: two routes of one place are the same door."""
        return self.path, tuple(sorted(self.hosts))


@dataclass(frozen=True, slots=True)
class Step:
    """A share of traffic for a new release: `weight` percent, for `least` seconds and until the judge is content."""

    weight: int
    least: float = 60.0


USUAL = JudgePolicy()
CAREFUL = (Step(5), Step(25), Step(50))
SHADOW_THEN_CANARY = "shadow-then-canary"
IN_STEPS = ("canary", SHADOW_THEN_CANARY)
"""Strategies in which traffic moves step by step."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Requests of one method to one path, in which `{name}` stands for any one segment."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """
    How a new release replaces the old one. `surge` instances more than declared run at the same time.

    `drain` is how long open requests and streams may go on once nothing new is sent; `grace` is the time between
    SIGTERM and SIGKILL. `steps` are a canary's; after `most` seconds of a step without a verdict it holds. The old
    release stays warm for `bake` once the new one has all traffic. Requests with the same value of the header `key`
    get the same release. `judge` says what moves a canary on, and `counts` which operations are done well how often, by
    the names that the judge has for them. `rollback` is `safe`, or `forward-only` where the old release may not come
    back.
    """

    strategy: str = "rolling"
    surge: int = 1
    drain: float = 10.0
    grace: float = 10.0
    steps: tuple[Step, ...] = ()
    most: float = 600.0
    bake: float = 300.0
    key: str = ""
    rollback: str = "safe"
    judge: JudgePolicy = USUAL
    counts: tuple[tuple[str, Operation], ...] = ()

    @property
    def in_steps(self) -> bool:
        """Whether a release gets its traffic step by step, once there is something to step away from."""
        return self.strategy in IN_STEPS


EVERY_FLAG = ("all",)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Two numbers are the same if they differ by at most `absolute`, or by `relative` of the larger one."""

    absolute: float = 0.0
    relative: float = 0.0


@dataclass(frozen=True, slots=True)
class Intended:
    """
    A difference that is wanted: in `field`, in the answers of `endpoint` (empty: of all), until `expires`.

    `owner` and `reason` say who answers for it and why; `expires` is a date (ISO 8601), the last day that it holds.
    """

    field: str
    owner: str
    reason: str
    expires: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Compare:
    """
    A parallel run of a new release: what is copied to it, what of its answers counts, and how much is enough.

    `share` of the calls that change nothing are copied, and at most `concurrency` are compared at a time, each for at
    most `timeout` seconds. After `samples` compared calls and `least` seconds without a difference the release goes on.
    Fields are named as in `policies.comparing`; `sets` and `keyed` (by a field of the elements) say how arrays are
    compared; `shown` values may stand in a report. `endpoints` are paths with `{name}` for what differs from call to
    call; `safe` are operations that change nothing though their method does not say so.
    """

    share: float = 0.1
    concurrency: int = 8
    timeout: float = 5.0
    samples: int = 200
    least: float = 60.0
    headers: tuple[str, ...] = ("content-type",)
    masked: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    keyed: tuple[tuple[str, str], ...] = ()
    tolerances: tuple[tuple[str, Tolerance], ...] = ()
    shown: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    safe: tuple[Operation, ...] = ()
    intended: tuple[Intended, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """
    One microservice. `source` is relative to the file's directory.

    `flags` are the names of the feature flags that it may ask for, or EVERY_FLAG alone. `compare` is there
    where answers are compared.
    """

    name: str
    source: str | None = None
    run: str | None = None
    runtime: RuntimeKind = RuntimeKind.SANDBOX
    instances: int = 1
    resources: Resources = Resources()
    health: Health = Health()
    protocol: Protocol = Protocol.AUTO
    env: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    calls: tuple[Call, ...] = ()
    egress: tuple[Egress, ...] = ()
    flags: tuple[str, ...] = ()
    rollout: Rollout = Rollout()
    compare: Compare | None = None

    def may_ask_for(self, flag: str) -> bool:
        """Whether the file lets it know of a feature flag."""
        return self.flags == EVERY_FLAG or flag in self.flags


@dataclass(frozen=True, slots=True)
class Gateway:
    """The only door from outside. `host` is the address it listens on."""

    listen: int = 8080
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: a place in the file (`line` > 0) or a default with its reason."""

    line: int = 0
    column: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class System:
    """
    Everything the file says.

    `retained` names services that the file has no more, and that something still needs: see `plan.retaining`. `origins`
    maps a dotted field path (`services.orders.instances`) to where its value came from; `warnings` are problems that do
    not make the file wrong.
    """

    name: str
    gateway: Gateway
    services: Mapping[str, Service]
    directory: str
    retained: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
