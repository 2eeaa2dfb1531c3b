"""Clusters and their endpoints."""

from __future__ import annotations

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection
from envoy.config.core.v3 import health_check_pb2
from envoy.config.core.v3.address_pb2 import BindConfig, SocketAddress
from envoy.config.core.v3.health_check_pb2 import HealthCheck, HealthStatus
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.v3.percent_pb2 import Percent
from envoy.type.v3.range_pb2 import Int64Range
from google.protobuf.wrappers_pb2 import BoolValue

from atoll.kit.policy import Breaker
from atoll.mesh import ir
from atoll.mesh.xds.messages import ADS, address, count, packed, seconds
from atoll.values.protocols import Protocol

UNLIMITED = 1_000_000
EVERY_SECOND = 1.0

# Envoy gathers what health checks say for a second by default: that long a new instance, found healthy, got nothing.
MERGE_WINDOW = 0.01

# A server that closes an idle connection in the moment a request is sent on it loses that request, and one that may
# not be repeated fails. Servers close after 2 s (gunicorn), 5 s (uvicorn, Node.js) or more: be the first to close.
UPSTREAM_IDLE = 1.5

_COMMON = HttpProtocolOptions(idle_timeout=seconds(UPSTREAM_IDLE))
_HTTP1 = Http1ProtocolOptions()
_HTTP2 = Http2ProtocolOptions(allow_connect=True)
_Options = http_protocol_options_pb2.HttpProtocolOptions
_PROTOCOLS = {
    # Speak to the callee what the caller speaks: HTTP/1.1, HTTP/2 and gRPC pass, upgrades too.
    Protocol.AUTO: packed(
        _Options(
            common_http_protocol_options=_COMMON,
            use_downstream_protocol_config=_Options.UseDownstreamHttpConfig(
                http_protocol_options=_HTTP1, http2_protocol_options=_HTTP2
            ),
        )
    ),
    Protocol.HTTP1: packed(
        _Options(
            common_http_protocol_options=_COMMON,
            explicit_http_config=_Options.ExplicitHttpConfig(http_protocol_options=_HTTP1),
        )
    ),
    Protocol.HTTP2: packed(
        _Options(
            common_http_protocol_options=_COMMON,
            explicit_http_config=_Options.ExplicitHttpConfig(http2_protocol_options=_HTTP2),
        )
    ),
}
_PROTOCOL_NAME = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(item: ir.Cluster) -> Cluster:
    """Envoy's form of a cluster."""
    result = Cluster(
        name=item.name,
        connect_timeout=seconds(item.connect_timeout),
        lb_policy=Cluster.LEAST_REQUEST,
        circuit_breakers=_circuit_breakers(item.limits),
        typed_extension_protocol_options={_PROTOCOL_NAME: _PROTOCOLS[item.protocol]},
        ignore_health_on_host_removal=True,  # what is no longer listed is gone, whatever its health check says
    )
    # Without this Envoy sends to instances that it knows to be bad when they are more than half.
    result.common_lb_config.healthy_panic_threshold.CopyFrom(Percent(value=0.0))
    result.common_lb_config.update_merge_window.CopyFrom(seconds(MERGE_WINDOW))
    _aim(result, item.target)
    match item.breaker:
        case Breaker():
            result.outlier_detection.CopyFrom(_outlier_detection(item.breaker))
        case ir.Unreachable():
            result.outlier_detection.CopyFrom(_unreachable(item.breaker))
    if item.check is not None:
        result.health_checks.append(_health_check(item.check))
    if item.source_netns is not None:
        result.upstream_bind_config.CopyFrom(_dial_from(item.source_netns))
    return result


def assignment(item: ir.Assignment) -> ClusterLoadAssignment:
    """Envoy's form of the endpoints of one service."""
    if not item.endpoints:
        return ClusterLoadAssignment(cluster_name=item.name)
    endpoints = [
        LbEndpoint(
            endpoint=Endpoint(address=address(ir.Inet(e.ip, e.port)), hostname=e.name),
            health_status=HealthStatus.DRAINING if e.draining else HealthStatus.HEALTHY,
        )
        for e in item.endpoints
    ]
    return ClusterLoadAssignment(cluster_name=item.name, endpoints=[LocalityLbEndpoints(lb_endpoints=endpoints)])


def _aim(result: Cluster, target: ir.Assigned | ir.Resolved | ir.Unix) -> None:
    match target:
        case ir.Assigned(name):
            result.type = Cluster.EDS
            result.eds_cluster_config.eds_config.CopyFrom(ADS)
            result.eds_cluster_config.service_name = name
        case ir.Resolved(host, port):
            result.type = Cluster.STRICT_DNS
            result.dns_lookup_family = Cluster.V4_PREFERRED
            result.respect_dns_ttl = True
            result.load_assignment.CopyFrom(_single(result.name, ir.Inet(host, port)))
        case ir.Unix():
            result.type = Cluster.STATIC
            result.load_assignment.CopyFrom(_single(result.name, target))


def _single(name: str, where: ir.Inet | ir.Unix) -> ClusterLoadAssignment:
    only = LbEndpoint(endpoint=Endpoint(address=address(where)))
    return ClusterLoadAssignment(cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=[only])])


def _circuit_breakers(limits: ir.Limits | None) -> CircuitBreakers:
    """
    The bulkhead and the retry budget.

    Envoy counts a request as waiting also while its connection is being made, so the queue can not be smaller than
    the number of calls that may begin at once. Without a queue the connections are not limited, only the requests:
    what is too much is refused at once.
    """
    thresholds = CircuitBreakers.Thresholds(
        max_connections=count(UNLIMITED),
        max_pending_requests=count(UNLIMITED),
        max_requests=count(UNLIMITED),
        max_retries=count(UNLIMITED),
    )
    if limits is not None:
        thresholds.max_requests.value = limits.calls
        thresholds.max_pending_requests.value = max(limits.queue, limits.calls)
        if limits.queue:
            thresholds.max_connections.value = limits.calls
        thresholds.retry_budget.budget_percent.value = limits.retry_ratio * 100
        thresholds.retry_budget.min_retry_concurrency.value = limits.retry_floor
    return CircuitBreakers(thresholds=[thresholds])


def _outlier_detection(breaker: Breaker) -> OutlierDetection:
    """
    A breaker per instance; when all are open, so is the callee's.

    In a row count the failures of an instance or the way to it (502, 503, 504, no connection, a reset, a time-out): a
    500 is an answer. The rate counts every 5xx.
    """
    interval = min(EVERY_SECOND, breaker.open) if breaker.rate is None else breaker.window
    result = _ejections(interval, breaker.open, share=1.0)
    if breaker.consecutive is not None:
        result.consecutive_gateway_failure.value = breaker.consecutive
        result.enforcing_consecutive_gateway_failure.value = 100
    if breaker.rate is not None:
        result.failure_percentage_threshold.value = round(breaker.rate * 100)
        result.failure_percentage_minimum_hosts.value = 1
        result.failure_percentage_request_volume.value = breaker.min_calls
        result.enforcing_failure_percentage.value = 100
    return result


def _unreachable(limit: ir.Unreachable) -> OutlierDetection:
    """Envoy tells what happened to the connection from what was answered only where it is asked to."""
    result = _ejections(min(EVERY_SECOND, limit.open), limit.open, limit.share)
    result.split_external_local_origin_errors = True
    result.consecutive_local_origin_failure.value = limit.consecutive
    result.enforcing_consecutive_local_origin_failure.value = 100
    result.enforcing_local_origin_success_rate.value = 0
    return result


def _ejections(interval: float, lasting: float, share: float) -> OutlierDetection:
    """Ejections of at most a share of the instances, each as long as the first, for no reason yet."""
    return OutlierDetection(
        interval=seconds(interval),
        base_ejection_time=seconds(lasting),
        max_ejection_time=seconds(lasting),
        max_ejection_percent=count(round(share * 100)),
        enforcing_consecutive_5xx=count(0),
        enforcing_success_rate=count(0),
        enforcing_consecutive_gateway_failure=count(0),
        enforcing_failure_percentage=count(0),
        successful_active_health_check_uneject_host=BoolValue(value=False),
    )


def _health_check(check: ir.HealthCheck) -> HealthCheck:
    """Asked also when nobody calls, and quicker while it fails, so that an instance is back as soon as it can be."""
    result = HealthCheck(
        timeout=seconds(check.timeout),
        interval=seconds(check.interval),
        no_traffic_interval=seconds(check.interval),
        unhealthy_interval=seconds(min(check.interval, EVERY_SECOND / 2)),
        interval_jitter_percent=10,
        unhealthy_threshold=count(check.failures),
        healthy_threshold=count(1),
    )
    if check.path is None:
        result.tcp_health_check.CopyFrom(health_check_pb2.HealthCheck.TcpHealthCheck())
        return result
    result.http_health_check.CopyFrom(
        health_check_pb2.HealthCheck.HttpHealthCheck(
            host=check.host,
            path=check.path,
            expected_statuses=[Int64Range(start=200, end=400)],
            retriable_statuses=[Int64Range(start=400, end=600)],  # else one bad answer is enough, whatever `failures`
        )
    )
    return result


def _dial_from(netns: str) -> BindConfig:
    return BindConfig(
        source_address=SocketAddress(
            address="0.0.0.0",  # noqa: S104 - any source address; the namespace is what matters
            port_value=0,
            network_namespace_filepath=netns,
        )
    )
