"""Statistics of our own: counters and histograms that Envoy keeps because a listener's log says so."""

from __future__ import annotations

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config

from atoll.mesh.xds.messages import count, delimited, packed


def log(prefix: str, most: int, config: Config, only: AccessLogFilter) -> AccessLog:
    """
    Keep what *config* says of the calls that *only* lets through, under *prefix*.

    All listeners together keep at most *most* counters and as many histograms. What nothing is added to any more is
    forgotten after a while (`bootstrap.FORGOTTEN`).
    """
    bounded = _bounded(config, prefix.encode(), most)
    return AccessLog(name="envoy.access_loggers.stats", filter=only, typed_config=packed(bounded))


def _bounded(config: Config, prefix: bytes, most: int) -> Config:
    """
    *config* with a prefix, a bound and an end for what it counts.

    That is its `stats_scope` (field 6, an `envoy.type.v3.Scope`), which the generated messages do not have yet; what
    they do not know they pass on.
    """
    bound = count(most).SerializeToString()
    evicted = b"\x20\x01"  # enable_eviction: true
    limits = delimited(1, bound) + delimited(3, bound)  # max_counters, max_histograms
    scope = limits + evicted + delimited(5, prefix) + delimited(6, prefix)  # prefix, sharing_name
    config.MergeFromString(delimited(6, scope))
    return config
