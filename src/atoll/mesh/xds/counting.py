"""
What proxies always count of the calls to each callee: those that failed, and how long the callers of some waited.

Envoy's own counts by status (`dynamic_stats` of its router) say the same of every call, and cost more than all else
that Atoll has a proxy do: it looks up six counters and two histograms by names that it makes anew each time. So they
are off, and with them what Envoy counts of each host's 5xx (`rq_error` goes on to count the tries that were repeated).
A counter that only a failed call adds to costs next to nothing, how many calls there are Envoy counts anyway, and a
quantile needs no more than a sample.
"""

from __future__ import annotations

from envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLog,
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ExtensionFilter,
    StatusCodeFilter,
)
from envoy.config.core.v3.base_pb2 import RuntimeUInt32
from envoy.extensions.access_loggers.filters.process_ratelimit.v3.process_ratelimit_pb2 import (
    DynamicTokenBucket,
    ProcessRateLimitFilter,
)
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config
from envoy.type.v3.token_bucket_pb2 import TokenBucket
from google.protobuf.wrappers_pb2 import UInt64Value

from atoll.mesh import ir
from atoll.mesh.xds import statistics
from atoll.mesh.xds.messages import ADS, count, packed, seconds

CALLS = "calls"
FAILED = "failed"
WAITS = "waits"
TIME = "time"
CLUSTER = "cluster"
HOST = "host"
FLAGS = "flags"
FAILURE = 500
ANSWERED = 200
"""Below it nothing was answered: the caller went away (0), or the connection became another protocol's (101)."""
MOST = 20_000
"""Counters, and histograms: a large system has 1,000 services with 10 callers each."""

_CLUSTER = Config.Tag(name=CLUSTER, value_format="%UPSTREAM_CLUSTER_RAW%")


def token_bucket(item: ir.TokenBucket) -> TokenBucket:
    """Envoy's form of a token bucket: full at the start, filled evenly."""
    return TokenBucket(max_tokens=item.per_second, tokens_per_fill=count(item.per_second), fill_interval=seconds(1.0))


def counted() -> tuple[AccessLog, ...]:
    """Both, for the listeners at which calls are counted."""
    failures = statistics.log(CALLS, MOST, Config(counters=[_failed()]), _status(FAILURE))
    waiting = statistics.log(WAITS, MOST, Config(histograms=[_waited()]), _some_answered())
    return (failures, waiting)


def _failed() -> Config.Counter:
    """
    By cluster, instance and Envoy's flags of the answer (`-`, `UH`, `UF,URX`), how many callers got a failure.

    An instance is named and not addressed: an address is given to somebody else afterwards.

    Source: Envoy's access logging, `RESPONSE_FLAGS`, `UPSTREAM_HOST_NAME`.
    """
    host = Config.Tag(name=HOST, value_format="%UPSTREAM_HOST_NAME%")
    flags = Config.Tag(name=FLAGS, value_format="%RESPONSE_FLAGS%")
    tags = [_CLUSTER, host, flags]
    return Config.Counter(stat=Config.Stat(name=FAILED, tags=tags), value_fixed=UInt64Value(value=1))


def _waited() -> Config.Histogram:
    """
    By cluster, the microseconds from the last byte of a request to the first byte of its answer, all tries included.

    Source: Envoy's `COMMON_DURATION`.
    """
    return Config.Histogram(
        stat=Config.Stat(name=TIME, tags=[_CLUSTER]),
        unit=Config.Histogram.Microseconds,
        value_format="%COMMON_DURATION(DS_RX_END:DS_TX_BEG:us)%",
    )


def _some_answered() -> AccessLogFilter:
    """A token for each call that is timed; the cheap question first, as it is asked for every call."""
    some = ProcessRateLimitFilter(dynamic_config=DynamicTokenBucket(resource_name=ir.TIMED.name, config_source=ADS))
    extension = ExtensionFilter(
        name="envoy.access_loggers.extension_filters.process_ratelimit", typed_config=packed(some)
    )
    return AccessLogFilter(
        and_filter=AndFilter(filters=[AccessLogFilter(extension_filter=extension), _status(ANSWERED)])
    )


def _status(least: int) -> AccessLogFilter:
    value = RuntimeUInt32(default_value=least, runtime_key=f"atoll.status.{least}")
    return AccessLogFilter(
        status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=ComparisonFilter.GE, value=value))
    )
