from __future__ import annotations

from atoll import wire
from atoll.operations.views.graph import graph


def test_nodes_are_the_gateway_the_services_and_hosts_outside(scene):
    assert graph(scene.system).nodes == ("gateway", "web", "orders", "https://api.stripe.com:443", "payments")


def test_edges_carry_the_policy_of_the_call(scene):
    edges = graph(scene.system).edges
    assert wire.Edge("orders", "payments", 0.8, 1) in edges
    assert wire.Edge("gateway", "web", 30.0, 2) in edges
    assert [(e.caller, e.callee) for e in edges] == [
        ("gateway", "web"),
        ("web", "orders"),
        ("orders", "payments"),
        ("orders", "https://api.stripe.com:443"),
    ]


def test_several_routes_are_one_edge_and_a_host_of_two_services_one_node(scene_of):
    view = graph(
        scene_of(
            "system: s\nservices:\n"
            "  a: {source: a, routes: [/x, /y], calls: [https://h.example]}\n"
            "  b: {source: b, calls: [https://h.example]}\n"
        ).system
    )
    assert view.nodes.count("https://h.example:443") == 1
    assert [e.callee for e in view.edges].count("a") == 1


def test_nothing_applied_is_only_the_gateway():
    assert graph(None) == wire.GraphView(("gateway",), ())
