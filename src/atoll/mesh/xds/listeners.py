"""Listeners. They change as rarely as can be: what may change often is in route tables, clusters and assignments."""

from __future__ import annotations

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.protocol_pb2 import (
    Http2ProtocolOptions,
    HttpProtocolOptions,
)
from envoy.config.core.v3.socket_option_pb2 import SocketOption
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as EarlyHeaderMutation,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from atoll.mesh import ir
from atoll.mesh.xds import answers
from atoll.mesh.xds.counting import counted
from atoll.mesh.xds.measuring import measured
from atoll.mesh.xds.messages import ADS, address, count, packed, seconds
from atoll.values.names import CALLER_HEADER

HCM = "envoy.filters.network.http_connection_manager"
EDGE_BUFFER = 32 * 1024
HEAD_TIMEOUT = 10.0
# Nobody is internal, whatever the address: x-envoy-* headers of callers are dropped. A range that no packet comes from,
# since an empty list means all private addresses to Envoy.
_NOBODY = HttpConnectionManager.InternalAddressConfig(
    cidr_ranges=[CidrRange(address_prefix="255.255.255.255", prefix_len=UInt32Value(value=32))]
)
# Who vanished without a word is noticed after two minutes: 60 s of silence, then three questions, 20 s apart. These are
# Linux's numbers, because a translation may not import what opens sockets, not even for names.
_KEEPALIVE = [
    SocketOption(description=what, level=level, name=name, int_value=value, state=SocketOption.STATE_PREBIND)
    for what, level, name, value in (
        ("SO_KEEPALIVE", 1, 9, 1),
        ("TCP_KEEPIDLE", 6, 4, 60),
        ("TCP_KEEPINTVL", 6, 5, 20),
        ("TCP_KEEPCNT", 6, 6, 3),
    )
]
YES = BoolValue(value=True)
NO = BoolValue(value=False)

_COUNTED = (*counted(), measured())
# Behind the one another proxy counts, and what the comparer asks no user has asked.
_UNCOUNTED = (ir.Door.EGRESS, ir.Door.SHADOW)
_ROUTER = HttpFilter(
    name="envoy.filters.http.router",
    typed_config=packed(Router(suppress_envoy_headers=True, dynamic_stats=NO)),  # why not: see `counting`
)


def listener(item: ir.Listener) -> Listener:
    """Envoy's form of a listener."""
    manager = _manager(item)
    if item.remove or item.caller:
        manager.early_header_mutation_extensions.append(_told(item))
    if item.door not in _UNCOUNTED:
        manager.access_log.extend(_COUNTED)
    match item.door:
        case ir.Door.GATEWAY:
            _distrust(manager)
        case ir.Door.OUTLET:
            _serve_instance(manager, item.caller)
        case ir.Door.INGRESS:
            _pass_on(manager)
            manager.local_reply_config.CopyFrom(answers.to_public())
        case ir.Door.EGRESS | ir.Door.SHADOW:
            _pass_on(manager)
    result = Listener(
        name=item.name,
        stat_prefix=item.door.value,
        address=address(item.address),
        filter_chains=[FilterChain(filters=[Filter(name=HCM, typed_config=packed(manager))])],
    )
    if item.door is ir.Door.GATEWAY:
        result.per_connection_buffer_limit_bytes.CopyFrom(count(EDGE_BUFFER))
        result.socket_options.extend(_KEEPALIVE)
        # With one socket for all workers the kernel would give some of them far more connections than others.
        result.connection_balance_config.exact_balance.SetInParent()
    # One socket for all workers: with one each (SO_REUSEPORT) another process of this user, such as the gateway of
    # another system, could listen there too and would get its share of the connections.
    result.enable_reuse_port.CopyFrom(NO)
    return result


def _manager(item: ir.Listener) -> HttpConnectionManager:
    return HttpConnectionManager(
        stat_prefix=item.door.value if item.door is not ir.Door.OUTLET else f"{item.door.value}.{item.name}",
        rds=Rds(route_config_name=item.table, config_source=ADS),
        http_filters=[_ROUTER],
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        http2_protocol_options=Http2ProtocolOptions(allow_connect=True),
        preserve_external_request_id=True,
        stream_idle_timeout=seconds(300.0),  # routes say otherwise; this is for requests that never get to one
        server_header_transformation=HttpConnectionManager.PASS_THROUGH,
    )


def _told(item: ir.Listener) -> TypedExtensionConfig:
    """
    Take off what only we may say, then say it.

    Before a route is looked for, and by looking at each header: to remove or overwrite one by its name, as a route
    does, Envoy first makes a map of all headers of the request, at several times the cost.
    """
    mutations = [HeaderMutation(remove_on_match=_named(name)) for name in item.remove]
    if item.caller:
        caller = HeaderValueOption(header=HeaderValue(key=CALLER_HEADER, value=item.caller))
        mutations.append(HeaderMutation(append=caller))
    config = packed(EarlyHeaderMutation(mutations=mutations))
    return TypedExtensionConfig(name="envoy.http.early_header_mutation.header_mutation", typed_config=config)


def _named(name: str) -> HeaderMutation.RemoveOnMatch:
    return HeaderMutation.RemoveOnMatch(key_matcher=StringMatcher(exact=name))


def _distrust(manager: HttpConnectionManager) -> None:
    """Envoy's advice for an edge proxy: believe no header about where a request comes from, bound everything."""
    manager.use_remote_address.CopyFrom(YES)
    manager.internal_address_config.CopyFrom(_NOBODY)
    manager.normalize_path.CopyFrom(YES)
    manager.merge_slashes = True
    manager.path_with_escaped_slashes_action = HttpConnectionManager.REJECT_REQUEST
    manager.common_http_protocol_options.CopyFrom(
        HttpProtocolOptions(
            idle_timeout=seconds(300.0), headers_with_underscores_action=HttpProtocolOptions.DROP_HEADER
        )
    )
    # A route has its own; so this bounds how long a request may take to get to one, which is its head. The setting for
    # that, request_headers_timeout, does the same with a timer more for every request.
    manager.stream_idle_timeout.CopyFrom(seconds(HEAD_TIMEOUT))
    manager.http2_protocol_options.max_concurrent_streams.value = 100
    manager.http2_protocol_options.initial_stream_window_size.value = 64 * 1024
    manager.http2_protocol_options.initial_connection_window_size.value = 1024 * 1024
    manager.local_reply_config.CopyFrom(answers.to_public())


def _serve_instance(manager: HttpConnectionManager, caller: str) -> None:
    """An instance is known by where it calls from; what it says about time limits and retries is not for it to say."""
    manager.use_remote_address.CopyFrom(YES)
    manager.skip_xff_append = True
    manager.generate_request_id.CopyFrom(NO)  # the gateway's, passed on, joins calls; a new one here joins nothing
    manager.internal_address_config.CopyFrom(_NOBODY)
    manager.upgrade_configs.append(HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT"))
    manager.http_protocol_options.accept_http_10 = True  # before 3.12, Python asks for tunnels in it
    manager.local_reply_config.CopyFrom(answers.to_instance(caller))


def _pass_on(manager: HttpConnectionManager) -> None:
    """The other proxy has looked at it already."""
    manager.use_remote_address.CopyFrom(NO)
    manager.generate_request_id.CopyFrom(NO)
    manager.upgrade_configs.append(HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT"))
