"""Which requests have a route of their own, before all others."""

from __future__ import annotations

import pytest
from envoy.config.route.v3.route_components_pb2 import Route

from atoll.kit.policy import Retry
from atoll.mesh import ir
from atoll.mesh.xds.routes import table

RULE = {"path": "/", "cluster": "c", "callee": "web", "timeout": 2.0, "per_try": None, "idle": 60.0, "retry": Retry()}
SPLIT = ir.Split("next", "web=2", 10)


def routes(**changes: object) -> list[Route]:
    rule = ir.Forward(**{**RULE, **changes})  # type: ignore[arg-type]
    return list(table(ir.RouteTable("t", (ir.VirtualHost("any", ("*",), (rule,)),))).virtual_hosts[0].routes)


def conditions(route: Route) -> list[str]:
    return [header.name for header in route.match.headers]


def silent(route: Route) -> float:
    """Seconds that it may be silent; 0 is for ever."""
    return route.route.idle_timeout.ToTimedelta().total_seconds()


def test_a_get_that_sends_and_streams_nothing_is_the_first_and_its_silence_is_bounded_by_others():
    first, *rest = routes()
    assert conditions(first) == [":method", "upgrade", "accept", "content-length"]
    assert (silent(first), first.route.flush_timeout.seconds, first.route.timeout.seconds) == (0.0, 60, 2)
    assert "retriable-status-codes" in first.route.retry_policy.retry_on
    assert [silent(route) for route in rest] == [60.0] * 5


def test_it_is_divided_like_the_rest():
    named, *_ = routes(split=SPLIT)
    assert conditions(named)[-1] == "x-atoll-release"
    (divided,) = [r for r in routes(split=SPLIT) if not silent(r) and r.route.HasField("weighted_clusters")]
    assert [c.name for c in divided.route.weighted_clusters.clusters] == ["next", "c"]


@pytest.mark.parametrize(
    "changes",
    [{"timeout": 0.0}, {"retry": None}, {"mirror": ir.Mirror("next", "web", 0.5)}],
    ids=["no time limit", "no second try", "copied"],
)
def test_without_a_time_limit_or_where_it_is_another_route_already_there_is_none(changes):
    assert all(silent(route) == 60.0 for route in routes(**changes))
