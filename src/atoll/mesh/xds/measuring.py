"""
What proxies count call by call beside what they always count: how long each instance took, while somebody compares.

It is switched on and off by a value of Envoy's runtime, as to change a listener would end its connections.
"""

from __future__ import annotations

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, RuntimeFilter
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config
from envoy.service.runtime.v3.rtds_pb2 import Runtime
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.struct_pb2 import Struct

from atoll.mesh import ir
from atoll.mesh.xds.messages import count, delimited, packed

PREFIX = "measured"
TIMES = "time"
HOST = "host"
FOR_ALL = 100  # percent of the calls
MOST = 2_000
"""Instances that are measured; those that are not called any more are forgotten after a while (`bootstrap`)."""


def runtime(item: ir.Switches) -> Runtime:
    """Envoy's form of the switches."""
    layer = Struct()
    layer.update(dict.fromkeys(item.on, FOR_ALL))
    return Runtime(name=item.name, layer=layer)


def times() -> AccessLog:
    """
    Count, by instance, the microseconds from the first byte sent to it to the first byte of its answer.

    Source: Envoy's `envoy.access_loggers.stats`, `COMMON_DURATION`.
    """
    host = Config.Tag(name=HOST, value_format="%UPSTREAM_HOST%")
    histogram = Config.Histogram(
        stat=Config.Stat(name=TIMES, tags=[host]),
        unit=Config.Histogram.Microseconds,
        value_format="%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%",
    )
    return AccessLog(
        name="envoy.access_loggers.stats",
        filter=AccessLogFilter(
            runtime_filter=RuntimeFilter(
                runtime_key=ir.MEASURED,
                percent_sampled=FractionalPercent(numerator=0),
                use_independent_randomness=True,
            )
        ),
        typed_config=packed(_bounded(Config(histograms=[histogram]))),
    )


def _bounded(config: Config) -> Config:
    """
    *config* with a prefix, a bound and an end for what it counts.

    That is its `stats_scope` (field 6, an `envoy.type.v3.Scope`), which the generated messages do not have yet; what
    they do not know they pass on.
    """
    most, prefix = count(MOST).SerializeToString(), PREFIX.encode()
    evicted = b"\x20\x01"  # enable_eviction: true
    limits = delimited(1, most) + delimited(3, most)  # max_counters, max_histograms
    scope = limits + evicted + delimited(5, prefix) + delimited(6, prefix)  # prefix, sharing_name
    config.MergeFromString(delimited(6, scope))
    return config
