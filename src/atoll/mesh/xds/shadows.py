"""The parallel run in route tables: what is copied, how the comparer names a release, what a shadow may not ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, RuntimeFractionalPercent
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, Route, RouteAction, RouteMatch
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.wrappers_pb2 import BoolValue

from atoll.mesh import ir
from atoll.mesh.xds.messages import seconds
from atoll.values.headers import COMPARED, SHADOW_FROM, SHADOW_RUN, SHADOW_TO

SAFE = "GET|HEAD|OPTIONS"
MILLION = 1_000_000
_ANSWERED_BY = "%UPSTREAM_REMOTE_ADDRESS%"
_NO_SHADOW = HeaderMatcher(name=SHADOW_RUN, present_match=True, invert_match=True)
_IS_SAFE = HeaderMatcher(name=":method", string_match=StringMatcher(safe_regex=RegexMatcher(regex=SAFE)))


def copied(mirror: ir.Mirror) -> Iterator[tuple[str, list[HeaderMatcher]]]:
    """What a request must be like to be copied, and a method that it then has."""
    yield "GET", [_IS_SAFE, _NO_SHADOW]
    for method, path in mirror.safe:
        yield method, [*operation(method, path), _NO_SHADOW]


def operation(method: str, path: str) -> list[HeaderMatcher]:
    """Requests of this method to this path, in which `{name}` stands for any one segment."""
    regex = RegexMatcher(regex=_template(path))
    return [
        HeaderMatcher(name=":method", string_match=StringMatcher(exact=method)),
        HeaderMatcher(name=":path", string_match=StringMatcher(safe_regex=regex)),
    ]


def _template(path: str) -> str:
    """A path with `{name}` for any one segment, as a regular expression (RE2); a query may follow."""
    parts = (re.escape(part) for part in re.split(r"\{[^}]*\}", path))
    return "[^/?]+".join(parts) + r"(\?.*)?"


def policy(mirror: ir.Mirror) -> RouteAction.RequestMirrorPolicy:
    """
    Send a copy as well.

    Without a fraction Envoy copies everything, and without the switch for it it gives the copy another host. The header
    is on the copy alone.
    """
    named = HeaderValueOption(
        header=HeaderValue(key=COMPARED, value=mirror.service),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    share = FractionalPercent(numerator=round(mirror.share * MILLION), denominator=FractionalPercent.MILLION)
    return RouteAction.RequestMirrorPolicy(
        cluster=mirror.cluster,
        runtime_fraction=RuntimeFractionalPercent(default_value=share),
        trace_sampled=BoolValue(value=False),
        disable_shadow_host_suffix_append=True,
        request_headers_mutations=[HeaderMutation(append=named)],
    )


def meant(rule: ir.Meant) -> Iterator[Route]:
    """The comparer's ways to one release: no time limit but its own, no second try, and the answer says who gave it."""
    named = HeaderMatcher(name=SHADOW_TO, string_match=StringMatcher(exact=rule.target))
    for conditions in ([_IS_SAFE], *(operation(method, path) for method, path in rule.safe)):
        yield _meant(rule, [named, *conditions])


def _meant(rule: ir.Meant, conditions: list[HeaderMatcher]) -> Route:
    result = Route(name=rule.callee, match=RouteMatch(prefix="/", headers=conditions))
    result.request_headers_to_remove.append(SHADOW_TO)
    result.response_headers_to_add.append(
        HeaderValueOption(
            header=HeaderValue(key=SHADOW_FROM, value=_ANSWERED_BY),
            append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )
    )
    result.route.cluster = rule.cluster
    result.route.timeout.CopyFrom(seconds(0.0))
    result.route.idle_timeout.CopyFrom(seconds(rule.idle))
    return result


def write() -> RouteMatch:
    """Whatever may change something."""
    other = HeaderMatcher()
    other.CopyFrom(_IS_SAFE)
    other.invert_match = True
    return RouteMatch(prefix="/", headers=[other])


def upgrade() -> RouteMatch:
    """Whatever goes on in another protocol."""
    return RouteMatch(prefix="/", headers=[HeaderMatcher(name="upgrade", present_match=True)])
