"""What a proxy is started with: who it is, where its configuration comes from, what it counts."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.mesh.ir import SWITCHES

# Everything else is neither made nor kept: a third of the memory and a sixtieth of each look at a large system.
COUNTED = (
    r"^cluster\..*->.*\.upstream_(rq_total|rq_retry|cx_active|cx_connect_fail|cx_overflow|rq_pending_overflow)$",
    r"^cluster\..*->.*\.outlier_detection\.ejections_active$",
    r"^http\.outlet\..*\.rq_direct_response$",
    r"^(listener_manager\.lds|cluster_manager\.cds)\.update_rejected$",
    r"^http\.gateway\.(downstream_rq_[1-5]xx|downstream_cx_active)$",
    r"^(calls|waits|measured)\..*$",
    r"^server\.(live|uptime|memory_allocated)$",
)
FORGOTTEN = "600s"
"""What is counted by a log (`statistics`) goes when nothing was added from one of these moments to the next."""
LARGEST_REGEX = "re2.max_program_size.error_level"
"""Without a higher one Envoy refuses expressions of about a hundred characters: an operation's path may have more."""
MAX_CONNECTIONS = 20_000
ADS_CLUSTER = "ads"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """`node` is the proxy's name; `ads` and `admin` are paths of unix sockets."""

    node: str
    ads: str
    admin: str
    edge: bool


def bootstrap(item: Bootstrap) -> dict[str, object]:
    """Envoy's start configuration, ready for JSON."""
    source = {"resource_api_version": "V3", "ads": {}}
    result: dict[str, object] = {
        "node": {"id": item.node, "cluster": "atoll"},
        "admin": {"address": {"pipe": {"path": item.admin, "mode": 0o600}}},
        "dynamic_resources": {"ads_config": _ads(), "cds_config": source, "lds_config": source},
        "layered_runtime": {
            "layers": [
                {"name": "limits", "static_layer": {LARGEST_REGEX: 10_000}},
                {"name": SWITCHES, "rtds_layer": {"name": SWITCHES, "rtds_config": source}},
            ]
        },
        "stats_eviction_interval": FORGOTTEN,
        "static_resources": {"clusters": [_control_plane(item.ads)]},
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": r}} for r in COUNTED]}}
        },
    }
    if item.edge:
        result["overload_manager"] = _overload()
    return result


def _ads() -> dict[str, object]:
    back_off = {"base_interval": "0.1s", "max_interval": "1s"}
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [
            {"envoy_grpc": {"cluster_name": ADS_CLUSTER, "retry_policy": {"retry_back_off": back_off}}},
        ],
    }


def _control_plane(path: str) -> dict[str, object]:
    http2 = {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
    return {
        "name": ADS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
        "load_assignment": {
            "cluster_name": ADS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}],
        },
    }


def _overload() -> dict[str, object]:
    return {
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
                    ".downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MAX_CONNECTIONS,
                },
            }
        ]
    }
