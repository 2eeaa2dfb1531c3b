"""
Every field of the system file, once.

Parsing, the JSON Schema, `atoll explain` and the reference all read this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Shape(StrEnum):
    """How a value is written."""

    NAME = "name"
    TEXT = "text"
    PATH = "path"
    COUNT = "count"
    PORT = "port"
    DURATION = "duration"
    SIZE = "size"
    CPU = "cpu"
    PERCENT = "percent"
    FLAG = "flag"
    CHOICE = "choice"
    SECTION = "section"
    LIST = "list"
    NAMED = "named"
    VARIABLES = "variables"
    PATHS = "paths"


WORDS: Mapping[Shape, str] = MappingProxyType(
    {
        Shape.NAME: "a name",
        Shape.TEXT: "text",
        Shape.PATH: "a path",
        Shape.COUNT: "a whole number",
        Shape.PORT: "a port",
        Shape.DURATION: "a duration",
        Shape.SIZE: "a size",
        Shape.CPU: "an amount of cpu",
        Shape.PERCENT: "a percentage",
        Shape.FLAG: "true or false",
        Shape.CHOICE: "a word",
        Shape.SECTION: "a mapping",
        Shape.LIST: "a list",
        Shape.NAMED: "a mapping of names",
        Shape.VARIABLES: "a mapping of names to text",
        Shape.PATHS: "a mapping of fields to text",
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """
    One field.

    `default` is what it is when nothing is written and `reason` why; `section` names the table of what is
    inside; `short` says which simpler form may stand in its place; `also` are the words that other systems have for
    it. `later` marks a word that is kept for a coming version and says what it will do, `later_choices` do so for
    values.
    """

    key: str
    shape: Shape
    meaning: str
    default: str = ""
    reason: str = ""
    example: str = ""
    section: str = ""
    short: str = ""
    choices: tuple[str, ...] = ()
    later_choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    required: bool = False
    later: str = ""


def _later(key: str, what: str) -> Field:
    return Field(key, Shape.TEXT, what, later=what)


_CHECK = (
    Field(
        "path",
        Shape.PATH,
        "GET this path; 2xx and 3xx pass.",
        reason="without a path it is a TCP connect",
        example="/healthz",
    ),
    Field("tcp", Shape.FLAG, "Only connect, send nothing.", "false", "said by leaving `path` out as well"),
    Field(
        "interval", Shape.DURATION, "Time between two checks.", "2s", "quick enough to notice, cheap enough to ignore"
    ),
    Field(
        "timeout", Shape.DURATION, "Longest time an answer may take.", "1s", "a healthy check answers in milliseconds"
    ),
    Field("failures", Shape.COUNT, "Failures in a row that count as failing.", "3", "one lost packet is no outage"),
)

_POLICY = (
    Field(
        "timeout",
        Shape.DURATION,
        "Longest time for the whole call, all tries together.",
        "10s",
        "no call waits for ever; a person has gone by then",
        "300ms",
    ),
    Field("per-try", Shape.DURATION, "Longest time for one try.", reason="as long as the whole call", example="100ms"),
    Field(
        "idle",
        Shape.DURATION,
        "Longest silence on a stream (server-sent events, gRPC, WebSocket).",
        "5m",
        "streams have no total time, but a dead one must end",
    ),
    Field(
        "retries",
        Shape.COUNT,
        "Further tries, where trying again is safe: what never reached the service; and of an idempotent request (GET,"
        " HEAD, OPTIONS, TRACE, PUT, DELETE) that is no stream also a connection that breaks, a try that takes longer"
        " than `per-try`, and 503. Other answers, 500 and 502 among them, are passed on.",
        "2",
        "hides a killed instance, cannot become a storm",
        "2",
        section="retries",
        short="a number, or a mapping",
    ),
    Field(
        "concurrency",
        Shape.COUNT,
        "Most calls in flight at once (bulkhead).",
        "1024",
        "one slow callee cannot take all of a caller",
    ),
    Field("queue", Shape.COUNT, "Most calls that wait for a place in the bulkhead.", "1024", "then refuse at once"),
    Field(
        "breaker",
        Shape.SECTION,
        "Stop sending to an instance that keeps failing; where all do, calls are refused at once.",
        "consecutive: 5",
        "always on: who keeps failing is worth a pause",
        section="breaker",
    ),
)

SECTIONS: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "file": (
            Field("system", Shape.NAME, "The system's name.", required=True, example="shop", also=("name",)),
            Field("gateway", Shape.SECTION, "The only door from outside.", section="gateway"),
            Field(
                "services",
                Shape.NAMED,
                "The microservices, by name.",
                section="service",
                required=True,
                example="{web: {source: web}}",
            ),
            _later("data", "data stores with backups and restore promises"),
            _later("policies", "call policies that are named once and used often"),
        ),
        "gateway": (
            Field(
                "listen",
                Shape.PORT,
                "The port, or `address:port`, that it listens on.",
                "127.0.0.1:8080",
                "reachable from this machine only, until you say otherwise",
                "8443",
            ),
            _later("login", "single sign-on for people"),
            _later("tls", "certificates for the gateway"),
        ),
        "service": (
            Field(
                "source",
                Shape.PATH,
                "The directory that it is built from, relative to the file.",
                reason="the directory of the file, where `run` says what to start",
                example="services/orders",
                also=("build", "context", "path", "dir"),
            ),
            Field(
                "run",
                Shape.TEXT,
                "The command that starts it. It must listen on $PORT.",
                reason="found in the source: Procfile, pyproject.toml, requirements.txt, package.json, *.py",
                example="python main.py",
                also=("command", "cmd", "entrypoint", "start"),
            ),
            Field(
                "runtime",
                Shape.CHOICE,
                "How instances run.",
                "sandbox",
                "isolated execution: own network, files, processes",
                choices=("sandbox", "process"),
            ),
            Field(
                "instances", Shape.COUNT, "How many run.", "1", "start small", "3", also=("replicas", "scale", "count")
            ),
            Field(
                "resources",
                Shape.SECTION,
                "The most an instance may use.",
                section="resources",
                also=("limits", "deploy"),
            ),
            Field(
                "health",
                Shape.PATH,
                "When an instance may get traffic.",
                reason="a TCP connect to $PORT",
                section="health",
                short="a path, or a mapping",
                example="/healthz",
                also=("healthcheck", "probe", "check", "readiness", "liveness"),
            ),
            Field(
                "protocol",
                Shape.CHOICE,
                "The version of HTTP that it is spoken to in. `http1` translates for callers that speak HTTP/2, `http2`"
                " for those that speak HTTP/1.1. It acts on all instances at once: before the program speaks another"
                " one only, release one that speaks both.",
                "auto",
                "what the caller speaks; HTTP/1.1, HTTP/2, gRPC and WebSocket all pass",
                choices=("auto", "http1", "http2"),
                also=("appProtocol", "app_protocol", "h2c", "http2", "grpc"),
            ),
            Field(
                "env",
                Shape.VARIABLES,
                "Environment variables. No secrets here.",
                reason="only what Atoll sets: PORT, ATOLL_*, and the URL of each callee",
                example="{LOG_LEVEL: info}",
                also=("environment", "variables"),
            ),
            Field(
                "routes",
                Shape.LIST,
                "Paths of the gateway that lead here.",
                reason="not reachable from outside",
                section="route",
                short="a list of paths, or of mappings",
                also=("ingress", "expose", "ports", "hosts"),
            ),
            Field(
                "calls",
                Shape.LIST,
                "Services (and `https://hosts` outside) that it may call, and how. A release keeps the services that it"
                " was made to call until it is gone; how, and hosts outside, act at once.",
                reason="may call nobody",
                section="call",
                short="a list of names, or a mapping with policies",
                also=("depends_on", "depends-on", "dependencies", "uses", "egress"),
            ),
            Field(
                "flags",
                Shape.LIST,
                "Feature flags that it may ask for at `http://flags`; `all` is every one.",
                reason="may ask for none",
                example="[new-checkout]",
                short="a list of names, or `all`",
                also=("features", "feature-flags", "toggles"),
            ),
            Field(
                "release",
                Shape.SECTION,
                "How a new release replaces the old one.",
                section="release",
                also=("rollout", "strategy", "update_config"),
            ),
            Field(
                "compare",
                Shape.SECTION,
                "A parallel run before a new release gets its first user: its answers are compared with the old one's."
                " `compare: {}` will do; the strategy is then `shadow-then-canary`.",
                reason="nothing is compared",
                section="compare",
                also=("shadow", "mirror", "diffy", "parallel-run"),
            ),
            _later("function", "a function that is run on demand"),
            _later("timeout", "the time limit of a function"),
            _later("data", "the data stores it uses"),
            _later("volumes", "files that outlive an instance"),
            _later("cache", "caching of its responses"),
            _later("secrets", "secrets that it may read"),
            _later("publishes", "messages that it sends"),
            _later("consumes", "messages that its instances compete for"),
            _later("slo", "objectives for availability and latency"),
            _later("zone", "a trust zone"),
            _later("image", "a container image in place of a source"),
        ),
        "resources": (
            Field("cpu", Shape.CPU, "Cores.", reason="no limit of ours", example="500m"),
            Field(
                "memory",
                Shape.SIZE,
                "Memory of all its processes. Beyond it the kernel ends the instance, which is started again; under"
                " control groups v1 it ends one process only, and the instance goes with that if it was the main one.",
                reason="no limit of ours",
                example="128Mi",
            ),
            Field("pids", Shape.COUNT, "Processes and threads.", "512", "a fork bomb ends here"),
        ),
        "check": _CHECK,
        "health": (
            *_CHECK,
            Field(
                "startup",
                Shape.DURATION,
                "Longest time from start to ready; then it counts as failed.",
                "1m",
                "most services need seconds",
            ),
            Field(
                "ready",
                Shape.PATH,
                "The check for traffic, where it is not written directly.",
                reason="what stands beside it",
                section="check",
                short="a path, or a mapping",
            ),
            Field(
                "live",
                Shape.PATH,
                "A second check: when it fails, the instance is restarted.",
                reason="not restarted by a check",
                section="check",
                short="a path, or a mapping",
            ),
        ),
        "route": (
            Field(
                "path",
                Shape.PATH,
                "Requests whose path, once it is normalised, begins with this, in whole segments.",
                required=True,
                example="/api/orders",
            ),
            Field("hosts", Shape.LIST, "Only for these host names.", reason="any host"),
            Field("timeout", Shape.DURATION, "Longest time for a request.", "30s", "a browser gives up as well"),
            Field(
                "retries",
                Shape.COUNT,
                "Further tries, where trying again is safe.",
                "2",
                "as for calls",
                section="retries",
                short="a number, or a mapping",
            ),
            _later("allow", "the roles that may come in"),
        ),
        "call": _POLICY,
        "retries": (
            Field("count", Shape.COUNT, "Further tries after the first.", "2", "hides a killed instance"),
            Field("base", Shape.DURATION, "Shortest pause, with full jitter.", "25ms", "Envoy's own"),
            Field("cap", Shape.DURATION, "Longest pause.", "250ms", "ten times the shortest"),
            Field(
                "budget",
                Shape.PERCENT,
                "Most retries at once, as a share of the requests in flight, of which 100 are assumed at least.",
                "50%",
                "what one of three instances takes with it is tried again, and an outage at most doubles the load",
            ),
        ),
        "breaker": (
            Field(
                "errors",
                Shape.PERCENT,
                "Share of failures that opens it; every 5xx is one.",
                reason="counts failures in a row instead",
                example="50%",
            ),
            Field(
                "consecutive",
                Shape.COUNT,
                "Failures in a row that open it: no connection, a reset, a time-out, 502, 503, 504. 500 is an answer.",
                "5",
                "Envoy's own",
            ),
            Field(
                "min-calls", Shape.COUNT, "Calls that a share is judged on at least.", "20", "two of three is no rate"
            ),
            Field("window", Shape.DURATION, "The time that a share is taken over.", "10s", "Envoy's own"),
            Field("open", Shape.DURATION, "How long it stays open.", "5s", "a restart takes about that"),
        ),
        "judge": (
            Field(
                "metrics",
                Shape.LIST,
                "What is compared: errors, latency_p50, latency_p95, as the proxies count them.",
                reason="all of them, or errors alone where one instance has no peer to be compared with",
                example="[errors, latency_p95]",
            ),
            Field(
                "counts",
                Shape.PATHS,
                "Operations that must not succeed (2xx, 3xx) less often than with the old release, by name.",
                reason="only the service knows which of its answers the business lives by",
                example="{orders-placed: POST /orders}",
            ),
            Field(
                "dry-run",
                Shape.LIST,
                "Metrics and counts that are measured and told, and decide nothing.",
                reason="all that is measured decides",
                example="[latency_p50]",
            ),
            Field(
                "alpha",
                Shape.PERCENT,
                "Chance that a release as good as the old one is aborted, over all metrics and looks together.",
                "1%",
                "one needless abort in a hundred releases",
            ),
            Field(
                "beta",
                Shape.PERCENT,
                "Chance that an unacceptable release passes.",
                "5%",
                "the next step and the bake time come after it",
            ),
            Field(
                "errors",
                Shape.PERCENT,
                "Error rate that is unacceptable where it is also twice the old release's.",
                "0.5%",
                "half of a usual error budget spent by one release",
            ),
            Field("slower", Shape.PERCENT, "How much slower is unacceptable.", "20%", "people notice about as much"),
            Field("fewer", Shape.PERCENT, "How far a count may not fall.", "50%", "less takes longer to rule out"),
            Field(
                "bucket",
                Shape.DURATION,
                "A unit of evidence is one instance in so much time.",
                "5s",
                "longer than most hiccups of an instance, shorter than patience",
            ),
            Field(
                "requests",
                Shape.COUNT,
                "Requests that the new release has answered before it passes.",
                "100",
                "fewer say nothing about rare errors",
            ),
            Field(
                "no-data",
                Shape.DURATION,
                "The release holds when there was nothing to compare for so long.",
                "1m",
                "nothing is never a pass",
            ),
            Field(
                "risk-budget",
                Shape.COUNT,
                "Requests it may fail beyond what the old release would have failed; then it is aborted at once.",
                reason="the judge alone stops it",
                example="500",
            ),
        ),
        "step": (
            Field("weight", Shape.PERCENT, "The share of traffic.", required=True, example="25%"),
            Field("for", Shape.DURATION, "Shortest time for this step.", "1m", "twelve looks of the judge"),
        ),
        "release": (
            Field(
                "strategy",
                Shape.CHOICE,
                "How traffic moves.",
                "rolling",
                "instance by instance, nothing to judge",
                choices=("rolling", "canary", "blue-green", "shadow-then-canary"),
                later_choices=("flag", "recreate"),
            ),
            Field("surge", Shape.COUNT, "Instances more than declared while it goes on.", "1", "costs the least"),
            Field(
                "drain",
                Shape.DURATION,
                "How long open requests and streams may still go on.",
                "10s",
                "longer than almost any request",
            ),
            Field("grace", Shape.DURATION, "Time from SIGTERM to SIGKILL.", "10s", "the field's custom"),
            Field(
                "steps",
                Shape.LIST,
                "Shares of traffic for a canary release, one after the other.",
                reason="5%, 25% and 50% for a minute each, where the strategy is canary",
                example="[5%, {weight: 25%, for: 5m}]",
                section="step",
                short="a list of percentages, or of mappings",
            ),
            Field(
                "most",
                Shape.DURATION,
                "Longest time for one step; without a verdict by then the release holds.",
                "10m",
                "a person decides what the traffic cannot",
            ),
            Field(
                "bake",
                Shape.DURATION,
                "How long the old release stays warm once the new one has all traffic.",
                "5m",
                "most regrets come early",
            ),
            Field(
                "key",
                Shape.TEXT,
                "A header: requests with the same value get the same release.",
                reason="a cookie for browsers, the request's id between services",
                example="x-user-id",
            ),
            Field(
                "rollback",
                Shape.CHOICE,
                "Whether the old release may come back. `forward-only` holds instead of aborting.",
                "safe",
                "anything else has to be said",
                choices=("safe", "forward-only"),
            ),
            Field(
                "judge",
                Shape.SECTION,
                "What a canary release is judged by.",
                section="judge",
                also=("analysis", "metrics", "thresholds"),
            ),
        ),
        "compare": (
            Field(
                "share",
                Shape.PERCENT,
                "The share of the calls that change nothing (GET, HEAD, OPTIONS, and what is `safe`) that is copied.",
                "10%",
                "each copy costs the old release two calls more, a fifth of its reads",
                "50%",
            ),
            Field(
                "concurrency",
                Shape.COUNT,
                "Most copies that are compared at a time; others are dropped.",
                "8",
                "a slow release holds no more than so many",
            ),
            Field(
                "timeout",
                Shape.DURATION,
                "Longest time for one answer; later ones count as none.",
                "5s",
                "half of what a caller waits",
            ),
            Field(
                "samples",
                Shape.COUNT,
                "Calls to compare at least, before the release may go on.",
                "200",
                "finds a field that differs in one answer of twenty",
            ),
            Field("for", Shape.DURATION, "Shortest time to compare.", "1m", "what runs once a minute is seen"),
            Field(
                "headers",
                Shape.LIST,
                "Headers of an answer that count, beside its status and body.",
                "content-type",
                "others are about the transport",
                "[content-type, cache-control]",
            ),
            Field(
                "masked",
                Shape.LIST,
                "Fields that must be there with the same type, whatever their value.",
                reason="all values count",
                example="[id, 'items[*].created']",
                also=("mask",),
            ),
            Field(
                "ignored",
                Shape.LIST,
                "Fields that do not count at all.",
                reason="all fields count",
                example="[debug]",
                also=("ignore",),
            ),
            Field(
                "sets", Shape.LIST, "Arrays in which the order does not count.", reason="it counts", example="[tags]"
            ),
            Field(
                "keyed",
                Shape.PATHS,
                "Arrays whose elements are known by one of their fields.",
                reason="elements are compared in their order",
                example="{items: sku}",
            ),
            Field(
                "tolerance",
                Shape.PATHS,
                "How far numbers may be apart: a number, or a percentage of the larger one.",
                reason="they are to be equal",
                example="{total: 0.01, rate: 1%}",
            ),
            Field(
                "shown",
                Shape.LIST,
                "Fields whose values a report may show.",
                reason="it shows their type, their length and a hash",
                example="[status, currency]",
            ),
            Field(
                "endpoints",
                Shape.LIST,
                "Paths that are one endpoint, with `{name}` for what differs from call to call.",
                reason="what is no plain word in a path is recognised",
                example="['/users/{name}']",
            ),
            Field(
                "safe",
                Shape.LIST,
                "Operations that change nothing, though their method does not say so.",
                reason="GET, HEAD and OPTIONS",
                example="['POST /search']",
            ),
            Field(
                "intended",
                Shape.LIST,
                "Differences that are wanted.",
                reason="none is",
                section="intended",
                example="[{field: total, owner: ann, reason: rounding, expires: 2027-01-31}]",
            ),
        ),
        "intended": (
            Field("field", Shape.TEXT, "The field that differs.", required=True, example="total"),
            Field(
                "endpoint",
                Shape.TEXT,
                "In the answers of this endpoint only, as the report names it.",
                reason="in those of all",
                example="'GET /orders/{id}'",
            ),
            Field("owner", Shape.TEXT, "Who answers for it.", required=True, example="ann"),
            Field("reason", Shape.TEXT, "Why it is wanted.", required=True, example="cents are rounded now"),
            Field(
                "expires",
                Shape.TEXT,
                "The last day that it holds, as YYYY-MM-DD; after that the difference counts again.",
                required=True,
                example="2027-01-31",
            ),
        ),
    }
)
"""The fields of each section, in the order of the reference."""


_BY_KEY = {section: MappingProxyType({f.key: f for f in fields}) for section, fields in SECTIONS.items()}


def known(section: str) -> Mapping[str, Field]:
    """The fields of one section, by key."""
    return _BY_KEY[section]
