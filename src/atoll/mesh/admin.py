"""Ask a proxy how it is, over the unix socket of its admin interface."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from atoll.errors import Unavailable
from atoll.mesh.xds import counting
from atoll.mesh.xds.measuring import ANSWERS, CODE, COUNTED, HOST, PREFIX, SAID, TIMES
from atoll.values.histograms import Bar

PATIENCE = 5.0
OK = 200
CHEAPEST = "/hot_restart_version"
SENT = r"->.*\.upstream_rq_total$"
FAILURES = rf"^{counting.CALLS}\.{counting.FAILED}\."
WAITS = rf"^{counting.WAITS}\."
MEASURED = rf"^{PREFIX}\."
_ADDRESS = rf"{HOST}\.([0-9.]+):([0-9]+)"
_TIME = re.compile(rf"{PREFIX}\.{TIMES}\.{_ADDRESS}")
# What a route counts as has no dot in it: what a service said may hold anything.
_ANSWER = re.compile(rf"{PREFIX}\.{ANSWERS}\.{_ADDRESS}\.{SAID}\.(.*)\.{COUNTED}\.([^.]*)\.{CODE}\.([0-9]+)")
_CONNECTED = r"{}\.upstream_cx_active$"
_SENT = re.compile(r"cluster\.(.+)\.upstream_rq_total")
_FAILED = re.compile(
    rf"{counting.CALLS}\.{counting.FAILED}\.{counting.CLUSTER}\.(.+)"
    rf"\.{counting.HOST}\.([^.]*)\.{counting.FLAGS}\.([A-Z,-]+)"
)
_WAITED = re.compile(rf"{counting.WAITS}\.{counting.TIME}\.{counting.CLUSTER}\.(.+)")
UNSENT = frozenset({"UH", "UF", "UO", "NC"})
"""Envoy's flags where a call got to no instance: none was well, none took it, too many were under way."""


@dataclass(frozen=True, slots=True)
class HostState:
    """
    The endpoint of the instance *name* in one cluster, as a proxy sees it.

    Whether it gets requests, how many are open, how many were answered well; `error` are tries that were repeated.
    `connections` are those that this version of the cluster has made: see `forgotten`.
    """

    cluster: str
    ip: str
    port: int
    usable: bool
    active: int
    success: int = 0
    error: int = 0
    name: str = ""
    connections: int = 0


@dataclass(frozen=True, slots=True)
class ClusterCount:
    """
    What went through one cluster since the proxy started, or since it forgot what was long ago.

    `sent` are tries that got to an instance, `failed` by the name of the instance (empty: by none) the callers that got
    an answer that says so (5xx), under Envoy's flags of the answer, each a counter that is forgotten for itself.
    `waited` is for how long, in microseconds: of all callers, or of a sample.
    """

    sent: int = 0
    failed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    waited: tuple[Bar, ...] = ()

    @property
    def errors(self) -> int:
        """All that failed."""
        return sum(n for by_flags in self.failed.values() for n in by_flags.values())

    @property
    def unsent(self) -> int:
        """Those of them whose call got to no instance."""
        every = (one for by_flags in self.failed.values() for one in by_flags.items())
        return sum(n for flags, n in every if UNSENT.intersection(flags.split(",")))


async def ask(socket: Path, path: str, *, method: str = "GET") -> bytes:
    """One request. Raises `errors.Unavailable` when no good answer comes."""
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await _exchange(socket, path, method)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the proxy at {socket} does not answer ({error or 'it took too long'})") from error
    head, _, sent = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0
    body = _whole(head.lower(), sent)
    if body is None:
        raise Unavailable(f"the proxy at {socket} broke off its answer to {path}")
    if status != OK:
        raise Unavailable(f"the proxy at {socket} answers {status} to {path}: {body[:200].decode(errors='replace')}")
    return body


async def answers(socket: Path, patience: float) -> bool:
    """Whether a proxy says anything within *patience* seconds; yes where none listens (yet), as then none is silent."""
    try:
        async with asyncio.timeout(patience):
            await _exchange(socket, CHEAPEST, "GET")
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:  # a time-out is one, too; and a proxy that takes no connection any more does not answer either
        return False
    return True


async def _exchange(socket: Path, path: str, method: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 20)
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


async def hosts(socket: Path, clusters: str) -> tuple[HostState, ...]:
    """The endpoints of all clusters whose name matches the regular expression *clusters*."""
    data: dict[str, Any] = json.loads(await ask(socket, f"/clusters?format=json&filter={quote(clusters)}") or b"{}")
    return tuple(
        _host(cluster["name"], status)
        for cluster in data.get("cluster_statuses", ())
        for status in cluster.get("host_statuses", ())
    )


async def connections(socket: Path, clusters: str) -> Mapping[str, int]:
    """
    How many connections each cluster has whose name matches *clusters*, those of its former versions included.

    Where a cluster is changed Envoy makes another one with endpoints of its own; the requests that are open in the one
    before end there, and no endpoint tells of them any more.
    """
    data = await _stats(socket, _CONNECTED.format(clusters.removesuffix("$")), only_used=True)
    found = ((entry["name"], entry["value"]) for entry in data.get("stats", ()) if entry.get("value"))
    return {name.removeprefix("cluster.").rpartition(".")[0]: value for name, value in found}


def forgotten(connected: Mapping[str, int], states: Iterable[HostState]) -> dict[str, int]:
    """By cluster, how many of its connections no endpoint tells of."""
    told: Counter[str] = Counter()
    for state in states:
        told[state.cluster] += state.connections
    return {name: count - told[name] for name, count in connected.items() if count > told[name]}


async def refused(socket: Path, outlet: str) -> int:
    """How many calls were refused at one outlet, or (by callee) at all of one instance."""
    pattern = rf"^http\.outlet\.{re.escape(outlet)}(->.*)?\.rq_direct_response$"
    data = await _stats(socket, pattern, only_used=True)
    return sum(int(entry.get("value", 0)) for entry in data.get("stats", ()))


async def counts(socket: Path) -> Mapping[str, ClusterCount]:
    """What went through each cluster, by its name."""
    return parse_counts(await _stats(socket, SENT, only_used=True), await _stats(socket, f"({FAILURES}|{WAITS})"))


async def failures(socket: Path) -> Mapping[str, ClusterCount]:
    """The same of what failed alone."""
    return parse_counts(await _stats(socket, FAILURES))


async def _stats(socket: Path, pattern: str, *, only_used: bool = False) -> Mapping[str, Any]:
    """
    The statistics whose name *pattern* finds; *only_used* leaves out what nothing was ever added to.

    Not so what Envoy forgets after a while: it calls that unused already when nothing has been added since it last
    looked for what to forget, and what is left out now and there again later would be taken for new.
    """
    used = "usedonly&" if only_used else ""
    query = f"/stats?{used}format=json&histogram_buckets=detailed&filter={quote(pattern)}"
    return json.loads(await ask(socket, query))  # type: ignore[no-any-return]


def parse_counts(*answers: Mapping[str, Any]) -> dict[str, ClusterCount]:
    """What went through each cluster, from Envoy's statistics as JSON."""
    sent: dict[str, int] = {}
    failed: defaultdict[str, defaultdict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    waited: dict[str, tuple[Bar, ...]] = {}
    for entry in (entry for answer in answers for entry in answer.get("stats", ())):
        name = entry.get("name", "")
        if (match := _SENT.fullmatch(name)) is not None:
            sent[match[1]] = entry["value"]
        elif (match := _FAILED.fullmatch(name)) is not None:
            failed[match[1]][match[2]][match[3]] = entry["value"]
        for histogram, bars in _bars(entry).items():
            if (match := _WAITED.fullmatch(histogram)) is not None:
                waited[match[1]] = bars
    return {
        name: ClusterCount(sent.get(name, 0), dict(failed.get(name, {})), waited.get(name, ()))
        for name in {*sent, *failed, *waited}
    }


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """So many answers of one address had this status, said this in `x-atoll-flag`, and count as this."""

    ip: str
    port: int
    said: str
    counted: str
    status: int
    count: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What is counted call by call: how long each address took, in microseconds, and what it answered."""

    times: Mapping[tuple[str, int], tuple[Bar, ...]]
    answers: tuple[AnswerCount, ...]


async def measured(socket: Path, part: str = "") -> Measured:
    """What was measured while that was switched on; with a *part* (TIMES, ANSWERS) that alone."""
    return parse_measured(await _stats(socket, MEASURED + part))


def parse_measured(data: Mapping[str, Any]) -> Measured:
    """The same, from Envoy's statistics as JSON; what has no address (a socket) is left out."""
    times: dict[tuple[str, int], tuple[Bar, ...]] = {}
    answers: list[AnswerCount] = []
    for entry in data.get("stats", ()):
        for name, bars in _bars(entry).items():
            if (match := _TIME.fullmatch(name)) is not None:
                times[match[1], int(match[2])] = bars
        if (match := _ANSWER.fullmatch(entry.get("name", ""))) is not None:
            answers.append(AnswerCount(match[1], int(match[2]), match[3], match[4], int(match[5]), entry["value"]))
    return Measured(times, tuple(answers))


def _bars(entry: Mapping[str, Any]) -> dict[str, tuple[Bar, ...]]:
    """The histograms in one entry of the statistics, by name."""
    return {
        histogram["name"]: tuple(Bar(b["lower_bound"], b["width"], b["count"]) for b in histogram["totals"])
        for histogram in entry.get("histograms", {}).get("details", ())
    }


def _host(cluster: str, status: Mapping[str, Any]) -> HostState:
    where = status.get("address", {}).get("socket_address", {})
    health = status.get("health_status", {})
    stats = {s["name"]: int(s.get("value", 0)) for s in status.get("stats", ())}
    failing = any(
        health.get(why) for why in ("failed_active_health_check", "pending_active_hc", "failed_outlier_check")
    )
    return HostState(
        cluster,
        where.get("address", ""),
        where.get("port_value", 0),
        not failing,
        stats.get("rq_active", 0),
        stats.get("rq_success", 0),
        stats.get("rq_error", 0),
        status.get("hostname", ""),
        stats.get("cx_active", 0),
    )


def _whole(head: bytes, sent: bytes) -> bytes | None:
    """The body of an answer; None where the connection was closed in the middle of it."""
    if b"transfer-encoding: chunked" in head:
        return _dechunked(sent)
    length = re.search(rb"content-length: *(\d+)", head)
    return sent if length is None or len(sent) >= int(length[1]) else None


def _dechunked(body: bytes) -> bytes | None:
    result: list[bytes] = []
    position = 0
    while True:
        end = body.find(b"\r\n", position)
        if end <= position:
            return None
        size = int(body[position:end].split(b";")[0], 16)
        if size == 0:
            return b"".join(result)
        result.append(body[end + 2 : end + 2 + size])
        position = end + 2 + size + 2
