"""
What proxies count call by call beside what they always count, while somebody wants to know.

How long each instance took, what it was asked for, and what its answers say that requests got of a flag: while a
release of a service or of a flag is judged. It is switched on and off by a value of Envoy's runtime, as to change a
listener would end its connections.
"""

from __future__ import annotations

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, RuntimeFilter
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config
from envoy.service.runtime.v3.rtds_pb2 import Runtime
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import UInt64Value

from atoll.mesh import ir
from atoll.mesh.xds import statistics

PREFIX = "measured"
TIMES = "time"
ANSWERS = "answer"
HOST = "host"
SAID = "said"
COUNTED = "counted"
CODE = "code"
FLAG_HEADER = "x-atoll-flag"
LONGEST_SAID = 200
"""Characters of the header that are looked at."""
FOR_ALL = 100  # percent of the calls
MOST = 2_000
"""Counters, and histograms."""

NAMESPACE = "atoll"
"""Of what routes say of themselves: under COUNTED, what answers to it count as."""

_HOST = Config.Tag(name=HOST, value_format="%UPSTREAM_HOST%")


def runtime(item: ir.Switches) -> Runtime:
    """Envoy's form of the switches."""
    layer = Struct()
    layer.update(dict.fromkeys(item.on, FOR_ALL))
    return Runtime(name=item.name, layer=layer)


def measured() -> AccessLog:
    """Both, for the listeners at which calls are counted."""
    runtime_filter = RuntimeFilter(
        runtime_key=ir.MEASURED, percent_sampled=FractionalPercent(numerator=0), use_independent_randomness=True
    )
    config = Config(histograms=[_times()], counters=[_answers()])
    return statistics.log(PREFIX, MOST, config, AccessLogFilter(runtime_filter=runtime_filter))


def _times() -> Config.Histogram:
    """
    By instance, the microseconds from the first byte sent to it to the first byte of its answer.

    Source: Envoy's `envoy.access_loggers.stats`, `COMMON_DURATION`.
    """
    return Config.Histogram(
        stat=Config.Stat(name=TIMES, tags=[_HOST]),
        unit=Config.Histogram.Microseconds,
        value_format="%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%",
    )


def _answers() -> Config.Counter:
    """
    By instance and status, what answers say in `x-atoll-flag`, and what the route counts them as.

    A service may write into the header what it likes: how much of that is kept is bounded. What comes over the bound is
    not counted, and a release without counts holds.
    """
    said = Config.Tag(name=SAID, value_format=f"%RESP({FLAG_HEADER}):{LONGEST_SAID}%")
    counted = Config.Tag(name=COUNTED, value_format=f"%METADATA(ROUTE:{NAMESPACE}:{COUNTED})%")
    code = Config.Tag(name=CODE, value_format="%RESPONSE_CODE%")
    stat = Config.Stat(name=ANSWERS, tags=[_HOST, said, counted, code])
    return Config.Counter(stat=stat, value_fixed=UInt64Value(value=1))
