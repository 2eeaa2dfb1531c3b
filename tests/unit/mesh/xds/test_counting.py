"""What is always counted of calls: of which, under what names, and how many of them are timed."""

from __future__ import annotations

from envoy.extensions.access_loggers.filters.process_ratelimit.v3.process_ratelimit_pb2 import ProcessRateLimitFilter
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from atoll.mesh import ir
from atoll.mesh.xds.counting import counted, token_bucket
from atoll.mesh.xds.listeners import listener


def test_failures_are_counted_by_what_was_called_and_how_they_failed():
    failures, _ = counted()
    comparison = failures.filter.status_code_filter.comparison
    assert (comparison.op, comparison.value.default_value) == (comparison.GE, 500)
    (counter,) = Config.FromString(failures.typed_config.value).counters
    said = ["%UPSTREAM_CLUSTER_RAW%", "%UPSTREAM_HOST_NAME%", "%RESPONSE_FLAGS%"]
    assert [tag.value_format for tag in counter.stat.tags] == said


def test_what_is_counted_is_forgotten():
    """`enable_eviction` in the scope that the generated class does not know."""
    assert all(b"\x20\x01" in log.typed_config.value for log in counted())


def test_only_what_was_answered_is_timed_and_only_while_there_are_tokens():
    _, waiting = counted()
    tokens, answered = waiting.filter.and_filter.filters
    which = ProcessRateLimitFilter()
    assert tokens.extension_filter.typed_config.Unpack(which)
    assert which.dynamic_config.resource_name == ir.TIMED.name
    assert answered.status_code_filter.comparison.value.default_value == 200
    (histogram,) = Config.FromString(waiting.typed_config.value).histograms
    assert (histogram.unit, len(histogram.stat.tags)) == (Config.Histogram.Microseconds, 1)


def test_a_bucket_is_full_at_the_start_and_filled_every_second():
    made = token_bucket(ir.TokenBucket("some", 7))
    assert (made.max_tokens, made.tokens_per_fill.value, made.fill_interval.seconds) == (7, 7, 1)


def test_routers_do_not_count_the_same_at_a_higher_price():
    for door in ir.Door:
        manager, router = HttpConnectionManager(), Router()
        made = listener(ir.Listener("one", ir.Unix("/run/one.sock"), door, "table"))
        made.filter_chains[0].filters[0].typed_config.Unpack(manager)
        manager.http_filters[0].typed_config.Unpack(router)
        assert router.HasField("dynamic_stats")
        assert not router.dynamic_stats.value
