"""
The JSON shapes that the store, the API and its clients share. `VERSION` changes when one of them does.

Everything here is a frozen dataclass; `encode` and `decode` are the only way in and out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from atoll.plan.preview import Difference

VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """
    A fact that happened. `number` grows by one; `subject` is a service, an instance or a part of the platform.

    `level` is info, warning or error; `text` is a sentence.
    """

    number: int
    at: float
    level: str
    kind: str
    service: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """A system file to apply or to plan. `index` is the plan's that was seen; None applies whatever it is now."""

    text: str
    file: str
    directory: str
    index: str | None = None
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanView:
    """
    What applying would do now. `index` names exactly this plan.

    `held` says what it would not do although the file differs, one sentence each, as that was taken back before.
    """

    index: str
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeView:
    """
    One requested change and where it stands: queued, building, rolling, done or failed.

    `reason` says why it has failed, or what it waits for.
    """

    number: int
    kind: str
    services: tuple[str, ...]
    state: str
    reason: str
    at: float
    releases: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Rates:
    """
    Traffic of one service over the last ten seconds or so: requests per second, the share of errors (5xx), and waiting.

    `p50` and `p99` are milliseconds until the first byte, of a sample if busy; None where nobody called. The proxies
    tell of them in batches, so they may be five seconds older than the rest.
    """

    rps: float
    p50: float | None
    p99: float | None
    errors: float


@dataclass(frozen=True, slots=True)
class Load:
    """What one instance uses: share of one core over the last seconds, bytes now."""

    cpu: float | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class InstanceView:
    """
    One instance. `state` is what it does now, `reason` why it is not serving, or what it has lost though it is.

    `cpu` is a share of one core.
    """

    name: str
    release: int
    state: str
    reason: str
    pid: int
    address: str
    started_at: float
    crashes: int
    cpu: float | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """
    One service: wanted against ready, and why they differ, or what has happened to instances though they do not.

    `restarts` are the instances of `release` (of `target` before anything serves) that failed and had to be replaced.
    `rps`, `p50`, `p99` and `errors` as in Rates.
    """

    name: str
    wanted: int
    ready: int
    release: int | None
    target: int | None
    restarts: int
    why: str
    cpu: float | None
    memory: int | None
    rps: float | None
    p50: float | None
    p99: float | None
    errors: float | None
    instances: tuple[InstanceView, ...]


@dataclass(frozen=True, slots=True)
class StatusView:
    """The system in one screen. `notes` are facts about this host that weaken a promise."""

    system: str
    at: float
    generation: int
    converged: bool
    gateway: str
    services: tuple[ServiceView, ...]
    change: ChangeView | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """One release of one service."""

    service: str
    number: int
    at: float
    artifact: str
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class TransitionView:
    """One step that a release took on its way: from which state to which, by what signal, who gave it and why."""

    at: float
    service: str
    release: int
    source: str
    target: str
    signal: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class SteerRequest:
    """What somebody asks of a release on its way (`service`, or `flag:NAME`): one of `allowed` in a ProgressView."""

    service: str
    signal: str
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ProgressView:
    """
    A release on its way to users: its state, its share of traffic in percent, its step of how many, and why.

    `service` is `flag:NAME` for a flag; its share is one of people.

    `allowed` are the commands that mean something now; `evidence` is what the judge has seen so far, in words.
    """

    service: str
    release: int
    stable: int | None
    state: str
    weight: int
    step: int
    steps: int
    since: float
    reason: str
    allowed: tuple[str, ...]
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class FlagVersion:
    """One version of the document of flags: who wrote it, what that did, and why. `etag` names exactly this one."""

    number: int
    etag: str
    at: float
    actor: str
    deed: str
    reason: str


@dataclass(frozen=True, slots=True)
class FlagDocument:
    """A version with its text, as JSON in flagd's format."""

    version: FlagVersion
    text: str


@dataclass(frozen=True, slots=True)
class FlagView:
    """
    One flag.

    `shares` are the percentages by variant, None where targeting alone decides; `releasing` is the variant that is on
    its way, or empty, and `progress` how far; `services` may ask for it; `due` says why it has had its time, a sentence
    each.
    """

    name: str
    state: str
    default: str
    shares: Mapping[str, float] | None
    owner: str
    kind: str
    expires: str
    killed: bool
    releasing: str
    progress: ProgressView | None
    services: tuple[str, ...]
    due: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlagsView:
    """All flags of the system."""

    version: FlagVersion
    flags: tuple[FlagView, ...]


@dataclass(frozen=True, slots=True)
class FlagWrite:
    """A whole document of flags. `before` is the etag of the version it was made from, None for the current one."""

    text: str
    actor: str
    reason: str
    before: str | None = None


@dataclass(frozen=True, slots=True)
class FlagChange:
    """
    A change of one flag: set, kill or revive.

    To set is to give it a default `variant`, or `percent` of all people that variant, or other `attributes` (state,
    owner, kind, expires, killVariant).
    """

    flag: str
    verb: str
    actor: str
    reason: str
    variant: str | None = None
    percent: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlagRollback:
    """The version to go back to; None for the one before the current one."""

    number: int | None
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class FlagStep:
    """A percentage of people, and for how many seconds at least."""

    weight: int
    least: float


@dataclass(frozen=True, slots=True)
class FlagReleaseRequest:
    """
    A variant to release in `steps`, each at most `most` seconds long without a verdict, with `bake` seconds at the end.

    The others get `rest` meanwhile; None where it is clear which variant that is.
    """

    flag: str
    variant: str
    actor: str
    reason: str
    rest: str | None = None
    steps: tuple[FlagStep, ...] = ()
    most: float = 600.0
    bake: float = 300.0


@dataclass(frozen=True, slots=True)
class FlagReceipt:
    """What a request has done, a sentence each, and what is doubtful about the document now."""

    version: FlagVersion
    words: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExampleView:
    """Three answers to a request in one field: stable's two and the candidate's; redacted unless it may be shown."""

    primary: str
    secondary: str
    candidate: str


@dataclass(frozen=True, slots=True)
class FieldView:
    """
    One field that differed, in so many of `samples`: the candidate's alone, one of stable's alone, all three.

    `kind` is different, alike so far, masked (all three differ: an id or a time), or intended; `odds` says
    in words how likely it is that the candidate differs by itself, `log_odds` is their natural logarithm.
    """

    endpoint: str
    path: str
    kind: str
    odds: str
    log_odds: float
    samples: int
    candidate: int
    others: int
    all_three: int
    first: float
    last: float
    examples: tuple[ExampleView, ...]


@dataclass(frozen=True, slots=True)
class IntendedView:
    """A difference that is wanted, and whether its time is over."""

    field: str
    endpoint: str
    owner: str
    reason: str
    expires: str
    expired: bool


@dataclass(frozen=True, slots=True)
class TimesView:
    """How long answers took, in seconds; None where there were none."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """
    A parallel run: what it has come to, by endpoint and field, the strongest evidence first.

    `verdict` is pass, fail, undecided or no data, `words` the sentence for it; `masked` and `ignored` are what the
    contract leaves out; `left_out` counts the copies that were not compared, by reason; `blocked` are calls that the
    candidate was not let make, so that they are not tested.
    """

    service: str
    release: int
    stable: int
    running: bool
    since: float
    until: float
    verdict: str
    words: str
    samples: int
    endpoints: Mapping[str, int]
    fields: tuple[FieldView, ...]
    masked: tuple[str, ...]
    ignored: tuple[str, ...]
    left_out: Mapping[str, int]
    blocked: int
    intended: tuple[IntendedView, ...]
    stable_times: TimesView
    candidate_times: TimesView


@dataclass(frozen=True, slots=True)
class Edge:
    """One declared call."""

    caller: str
    callee: str
    timeout: float
    retries: int


@dataclass(frozen=True, slots=True)
class GraphView:
    """Who may call whom; `gateway` and hosts outside appear as nodes."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that an instance wrote."""

    service: str
    instance: str
    text: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request led to. `change` is None where there was nothing to do."""

    change: ChangeView | None
    plan: PlanView | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Which control plane answers."""

    system: str
    pid: int
    version: str
    sandbox: bool
    dashboard: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the API sends it; `kind` is the name of the branch in `atoll.errors`."""

    kind: str
    message: str
    hint: str


def encode(value: object) -> bytes:
    """JSON of any shape above or of the values of `plan` and `model`."""
    return msgspec.json.encode(value)


def decode(data: bytes | str, kind: type[T]) -> T:
    """The value again. Raises `msgspec.DecodeError` where it is not of that shape."""
    return msgspec.json.decode(data, type=kind)
