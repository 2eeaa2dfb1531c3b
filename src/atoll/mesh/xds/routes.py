"""Route tables. One rule of ours is several routes of Envoy's, because what streams and what may be repeated differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, HeaderValueOption
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    HeaderMatcher,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from atoll.kit.policy import Retry
from atoll.mesh import ir
from atoll.mesh.xds import shadows
from atoll.mesh.xds.measuring import COUNTED, NAMESPACE
from atoll.mesh.xds.messages import count, packed, seconds

RELEASE_HEADER = "x-atoll-release"  # `orders=7, payments=3`: the releases that a request wants to see
ALL = 100
EXTERNAL_ADDRESS = "x-envoy-external-address"  # Envoy adds it where it trusts nobody; x-forwarded-for says the same

# Safe for every request: it did not reach the callee.
UNSENT = "connect-failure,refused-stream,reset-before-request"
# Safe when twice does no more than once (RFC 9110, 9.2.2): the connection broke or a try took too long, or the callee
# said "not now". A 500 is an answer; 502 and 504 come from behind the callee, which has tried by its own rules.
REPEATABLE = "connect-failure,refused-stream,reset,retriable-status-codes"
NOT_NOW = 503
# How often a try looks for an untried instance. Of two, the dead one has the fewest requests and is looked at
# first three times out of four: after twenty it is still the choice once in 300.
OTHERS = 20
IDEMPOTENT = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE"

_HOST = "%REQ(:AUTHORITY)%"
# Worked out only where the text is sent. Hosts are looked up whatever their letters, but names have small ones.
_SERVICE = "^([a-z][a-z0-9-]*)(:.*)?$"
_NAME = (
    rf"%CEL(request.host.matches('{_SERVICE}') ? re.extract(request.host, '{_SERVICE}', '\\1') : 'in-small-letters')%"
)
_OTHER_HOST = packed(PreviousHostsPredicate())


def table(item: ir.RouteTable) -> RouteConfiguration:
    """Envoy's form of a route table."""
    return RouteConfiguration(
        name=item.name,
        virtual_hosts=[_virtual_host(host) for host in item.hosts],
        ignore_port_in_host_matching=item.any_port,
        response_headers_to_remove=item.hidden,
    )


def plain_text(text: str) -> SubstitutionFormatString:
    """A line of text for an answer of Envoy's own."""
    return SubstitutionFormatString(
        text_format_source=DataSource(inline_string=f"{text}\n"), content_type="text/plain; charset=utf-8"
    )


def _virtual_host(host: ir.VirtualHost) -> VirtualHost:
    return VirtualHost(
        name=host.name,
        domains=host.domains,
        routes=[route for rule in host.rules for route in _routes(rule)],
        request_headers_to_remove=(*host.remove, EXTERNAL_ADDRESS),
    )


def _routes(rule: ir.Rule) -> Iterator[Route]:
    match rule:
        case ir.Forward():
            yield from _only(rule) if rule.only else _forward(rule)
        case ir.Meant():
            yield from shadows.meant(rule)
        case ir.Tunnel():
            yield _tunnel(rule)
        case ir.Refuse():
            yield _refuse(rule)


def _only(rule: ir.Forward) -> Iterator[Route]:
    for method, path in rule.only:
        for route in _forward(rule):
            route.match.headers.extend(shadows.operation(method, path))
            yield route


def _forward(rule: ir.Forward) -> Iterator[Route]:
    split = rule.split
    if split is not None:  # whoever names the other release gets it, whatever its weight
        for route in _variants(replace(rule, cluster=split.cluster, split=None)):
            route.match.headers.append(_names_release(split.release))
            yield route
    for route in _variants(rule):
        if split is not None and split.weight and split.cookie:
            yield from _remembered(route, split.cookie)
        else:
            yield route


def _remembered(route: Route, cookie: str) -> Iterator[Route]:
    """
    Give the cookie to whoever has none: it holds the id of the request that it was made for.

    The id decided where that request went. Its hash is the same when it comes back in the cookie, so it decides the
    same again. (Envoy makes the cookie of a hash policy only for balancers that hash.)
    """
    known = Route()
    known.CopyFrom(route)
    known.match.headers.append(HeaderMatcher(name="cookie", string_match=StringMatcher(contains=f"{cookie}=")))
    yield known
    value = f"{cookie}=%REQ(X-REQUEST-ID)%; Path=/; HttpOnly; SameSite=Lax"
    route.response_headers_to_add.append(HeaderValueOption(header=HeaderValue(key="set-cookie", value=value)))
    yield route


def _variants(rule: ir.Forward) -> Iterator[Route]:
    if rule.retry is not None and rule.timeout and rule.mirror is None:
        yield _plain_get(rule)
    for condition in _STREAMING:
        yield _route(rule, condition, timeout=0.0, per_try=None, retry_on=UNSENT)
    if rule.mirror is not None:
        yield from _mirrored(rule, rule.mirror)
    if rule.retry is not None:
        yield _route(rule, _IS_IDEMPOTENT, timeout=rule.timeout, per_try=rule.per_try, retry_on=REPEATABLE)
    yield _route(rule, None, timeout=rule.timeout, per_try=rule.per_try, retry_on=UNSENT)


def _plain_get(rule: ir.Forward) -> Route:
    """
    Most requests, at less cost: the first to be looked for, and without the timer that every event sets anew.

    That one bounds silence. Here the sender has said all, and the callee has `timeout`; who reads nothing has `idle`.
    """
    result = _route(rule, None, timeout=rule.timeout, per_try=rule.per_try, retry_on=REPEATABLE)
    result.match.headers.extend(_IS_PLAIN_GET)
    result.route.idle_timeout.CopyFrom(seconds(0.0))
    result.route.flush_timeout.CopyFrom(seconds(rule.idle))
    return result


def _mirrored(rule: ir.Forward, mirror: ir.Mirror) -> Iterator[Route]:
    """As without a copy, and a copy."""
    for method, conditions in shadows.copied(mirror):
        retry_on = REPEATABLE if method in IDEMPOTENT.split("|") else UNSENT
        route = _route(rule, None, timeout=rule.timeout, per_try=rule.per_try, retry_on=retry_on)
        route.match.headers.extend(conditions)
        route.route.request_mirror_policies.append(shadows.policy(mirror))
        yield route


def _route(
    rule: ir.Forward, condition: HeaderMatcher | None, *, timeout: float, per_try: float | None, retry_on: str
) -> Route:
    result = Route(name=rule.callee, match=_path(rule.path))
    if condition is not None:
        result.match.headers.append(condition)
    if rule.split is not None and rule.split.weight:
        _divide(result.route, rule.cluster, rule.split)
    else:
        result.route.cluster = rule.cluster
    result.route.timeout.CopyFrom(seconds(timeout))
    result.route.idle_timeout.CopyFrom(seconds(rule.idle))
    if rule.counted:
        result.metadata.filter_metadata[NAMESPACE].update({COUNTED: rule.counted})
    if rule.retry is not None:
        result.route.retry_policy.CopyFrom(_retry_policy(rule.retry, per_try, retry_on))
    return result


def _divide(action: RouteAction, stable: str, split: ir.Split) -> None:
    """
    Two clusters by weight, the same request always the same way.

    Envoy takes the hash modulo 100 and walks the list: next comes first, so that whoever has it keeps it as it grows.
    """
    shares = ((split.cluster, split.weight), (stable, ALL - split.weight))
    action.weighted_clusters.clusters.extend(
        WeightedCluster.ClusterWeight(name=name, weight=count(share)) for name, share in shares
    )
    action.weighted_clusters.use_hash_policy.value = True
    action.hash_policy.extend(_sticky(split))


def _sticky(split: ir.Split) -> Iterator[RouteAction.HashPolicy]:
    """The first that is there decides."""
    if split.key:
        yield _by_header(split.key)
    if split.cookie:
        yield RouteAction.HashPolicy(cookie=RouteAction.HashPolicy.Cookie(name=split.cookie), terminal=True)
    yield _by_header("x-request-id")


def _by_header(name: str) -> RouteAction.HashPolicy:
    return RouteAction.HashPolicy(header=RouteAction.HashPolicy.Header(header_name=name), terminal=True)


def _names_release(release: str) -> HeaderMatcher:
    regex = rf"(.*,)?\s*{re.escape(release)}\s*(,.*)?"
    return HeaderMatcher(name=RELEASE_HEADER, string_match=StringMatcher(safe_regex=RegexMatcher(regex=regex)))


def _retry_policy(retry: Retry, per_try: float | None, retry_on: str) -> RetryPolicy:
    result = RetryPolicy(
        retry_on=retry_on,
        num_retries=count(retry.retries),
        retry_host_predicate=[_predicate()],
        host_selection_retry_max_attempts=OTHERS,
        retry_back_off=RetryPolicy.RetryBackOff(
            base_interval=seconds(max(retry.base, 0.001)), max_interval=seconds(max(retry.cap, retry.base, 0.001))
        ),
    )
    if retry_on == REPEATABLE:
        result.retriable_status_codes.append(NOT_NOW)
    if per_try is not None:
        result.per_try_timeout.CopyFrom(seconds(per_try))
    return result


def _predicate() -> RetryPolicy.RetryHostPredicate:
    return RetryPolicy.RetryHostPredicate(name="envoy.retry_host_predicates.previous_hosts", typed_config=_OTHER_HOST)


def _path(path: str) -> RouteMatch:
    stem = path.rstrip("/")
    return RouteMatch(path_separated_prefix=stem) if stem else RouteMatch(prefix="/")


def _tunnel(rule: ir.Tunnel) -> Route:
    result = Route(name=rule.callee, match=RouteMatch(connect_matcher=RouteMatch.ConnectMatcher()))
    result.route.cluster = rule.cluster
    result.route.timeout.CopyFrom(seconds(0.0))
    result.route.idle_timeout.CopyFrom(seconds(rule.idle))
    if rule.ends:
        upgrade = RouteAction.UpgradeConfig(upgrade_type="CONNECT")
        upgrade.connect_config.SetInParent()
        result.route.upgrade_configs.append(upgrade)
    return result


def _refuse(rule: ir.Refuse) -> Route:
    text = rule.text.replace("%", "%%").replace("{host}", _HOST).replace("{name}", _NAME)
    match = _ASKED[rule.asked]()
    if rule.host:
        matcher = StringMatcher(safe_regex=RegexMatcher(regex=rule.host))
        match.headers.append(HeaderMatcher(name=":authority", string_match=matcher))
    return Route(match=match, direct_response=DirectResponseAction(status=rule.status, body_format=plain_text(text)))


def _anything() -> RouteMatch:
    return RouteMatch(prefix="/")


def _any_tunnel() -> RouteMatch:
    return RouteMatch(connect_matcher=RouteMatch.ConnectMatcher())


def _dots() -> RouteMatch:
    """The cheap question first: it is asked of every request."""
    some = HeaderMatcher(name=":path", string_match=StringMatcher(contains=".;"))
    regex = RegexMatcher(regex=r"[^?]*/\.\.?;.*")
    return RouteMatch(
        prefix="/", headers=[some, HeaderMatcher(name=":path", string_match=StringMatcher(safe_regex=regex))]
    )


def _many_hosts() -> RouteMatch:
    several = HeaderMatcher(name=":authority", string_match=StringMatcher(contains=","))
    return RouteMatch(prefix="/", headers=[several])


_ASKED: dict[ir.Asked, Callable[[], RouteMatch]] = {
    ir.Asked.ANYTHING: _anything,
    ir.Asked.TUNNEL: _any_tunnel,
    ir.Asked.WRITE: shadows.write,
    ir.Asked.UPGRADE: shadows.upgrade,
    ir.Asked.DOTS: _dots,
    ir.Asked.MANY_HOSTS: _many_hosts,
}

_EVENTS = StringMatcher(contains="text/event-stream", ignore_case=True)
_STREAMING = (
    HeaderMatcher(name="upgrade", present_match=True),
    HeaderMatcher(name="accept", string_match=_EVENTS),
    HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc", ignore_case=True)),
)
_IS_PLAIN_GET = (
    HeaderMatcher(name=":method", string_match=StringMatcher(exact="GET")),
    HeaderMatcher(name="upgrade", present_match=False),
    HeaderMatcher(name="accept", string_match=_EVENTS, invert_match=True, treat_missing_header_as_empty=True),
    HeaderMatcher(name="content-length", present_match=False),
)
_IS_IDEMPOTENT = HeaderMatcher(name=":method", string_match=StringMatcher(safe_regex=RegexMatcher(regex=IDEMPOTENT)))
