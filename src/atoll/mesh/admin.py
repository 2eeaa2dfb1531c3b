"""Ask a proxy how it is, over the unix socket of its admin interface."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from atoll.errors import Unavailable

PATIENCE = 5.0
OK = 200
COUNTERS = r"\.upstream_rq_(completed|5xx|time)$"
_COUNTER = re.compile(r"^cluster\.(.+)\.upstream_rq_(completed|5xx)$")


@dataclass(frozen=True, slots=True)
class HostState:
    """One endpoint in one cluster, as a proxy sees it: whether it gets requests, how many are open, how all ended."""

    cluster: str
    ip: str
    port: int
    usable: bool
    active: int
    success: int = 0
    error: int = 0


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many calls took from `low` to `low + width` milliseconds."""

    low: float
    width: float
    count: int


@dataclass(frozen=True, slots=True)
class ClusterCount:
    """What went through one cluster since the proxy started."""

    completed: int = 0
    errors: int = 0
    times: tuple[Bucket, ...] = ()


async def ask(socket: Path, path: str, *, method: str = "GET") -> bytes:
    """One request. Raises `errors.Unavailable` when no good answer comes."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 20)
            try:
                writer.write(f"{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the proxy at {socket} does not answer ({error or 'it took too long'})") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0
    if b"transfer-encoding: chunked" in head.lower():
        body = _dechunked(body)
    if status != OK:
        raise Unavailable(f"the proxy at {socket} answers {status} to {path}: {body[:200].decode(errors='replace')}")
    return body


async def hosts(socket: Path, clusters: str) -> tuple[HostState, ...]:
    """The endpoints of all clusters whose name matches the regular expression *clusters*."""
    data: dict[str, Any] = json.loads(await ask(socket, f"/clusters?format=json&filter={quote(clusters)}") or b"{}")
    return tuple(
        _host(cluster["name"], status)
        for cluster in data.get("cluster_statuses", ())
        for status in cluster.get("host_statuses", ())
    )


async def refused(socket: Path, outlet: str) -> int:
    """How many calls were refused at one outlet, or (by callee) at all of one instance."""
    pattern = rf"^http\.outlet\.{re.escape(outlet)}(->.*)?\.rq_direct_response$"
    query = f"/stats?usedonly&format=json&filter={quote(pattern)}"
    data: dict[str, Any] = json.loads(await ask(socket, query))
    return sum(int(entry.get("value", 0)) for entry in data.get("stats", ()))


async def counts(socket: Path) -> Mapping[str, ClusterCount]:
    """What went through each cluster, by its name."""
    query = f"/stats?usedonly&format=json&histogram_buckets=detailed&filter={quote(COUNTERS)}"
    data: dict[str, Any] = json.loads(await ask(socket, query))
    return parse_counts(data)


def parse_counts(data: Mapping[str, Any]) -> dict[str, ClusterCount]:
    """What went through each cluster, from Envoy's statistics as JSON."""
    numbers: dict[str, dict[str, int]] = {}
    times: dict[str, tuple[Bucket, ...]] = {}
    for entry in data.get("stats", ()):
        if "histograms" in entry:
            for histogram in entry["histograms"].get("details", ()):
                name = histogram["name"].removeprefix("cluster.").removesuffix(".upstream_rq_time")
                times[name] = tuple(Bucket(b["lower_bound"], b["width"], b["count"]) for b in histogram["totals"])
        elif (match := _COUNTER.match(entry["name"])) is not None:
            numbers.setdefault(match[1], {})[match[2]] = entry["value"]
    return {
        name: ClusterCount(found.get("completed", 0), found.get("5xx", 0), times.get(name, ()))
        for name, found in numbers.items()
    }


def quantile(buckets: Iterable[Bucket], share: float) -> float | None:
    """The time that *share* of the calls stayed below, in milliseconds; None without calls."""
    ordered = sorted(buckets, key=lambda b: b.low)
    rank = share * sum(b.count for b in ordered)
    for bucket in ordered:
        if bucket.count and rank <= bucket.count:
            return bucket.low + bucket.width * rank / bucket.count
        rank -= bucket.count
    return None


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
    )


def _dechunked(body: bytes) -> bytes:
    result: list[bytes] = []
    position = 0
    while True:
        end = body.find(b"\r\n", position)
        size = int(body[position:end].split(b";")[0], 16) if end > position else 0
        if size == 0:
            return b"".join(result)
        result.append(body[end + 2 : end + 2 + size])
        position = end + 2 + size + 2
