"""What a blueprint becomes, and that what did not change is not made again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.mesh import ir
from atoll.mesh.snapshot import Kind, Snapshots
from atoll.mesh.translate import names
from atoll.mesh.translate.blueprint import translate
from atoll.model.system import Check, Operation
from atoll.plan.blueprint import Shadow, Split, Stage

SHOP = """
system: shop
services:
  orders: {run: serve, calls: [payments], routes: [{path: /orders}]}
  payments: {run: serve}
  mail: {run: serve}
"""


@pytest.fixture
def shop(blueprint):
    return blueprint(SHOP)


def items(mesh, proxy, kind):
    return {i.name: i for share in mesh.shares.values() for i in share.items.get(proxy, ()) if isinstance(i, kind)}


def test_only_what_is_served_or_drained_is_an_endpoint(shop, namespaces, topology):
    made = translate(shop, topology(), namespaces(shop)).mesh
    first, second = shop.workloads["payments"].instances
    expected = (
        ir.Endpoint(first.name, first.address.ip, 8080, draining=False),
        ir.Endpoint(second.name, second.address.ip, 8080, draining=True),
    )
    assert items(made, ir.MESH, ir.Assignment)["payments"].endpoints == expected
    for stage in (Stage.START, Stage.STOP):
        away = replace(shop.workloads["payments"], instances=(replace(first, stage=stage),))
        changed = replace(shop, workloads={**shop.workloads, "payments": away})
        made = translate(changed, topology(), namespaces(shop)).mesh
        assert items(made, ir.MESH, ir.Assignment)["payments"].endpoints == ()
        assert first.name in items(made, ir.MESH, ir.Listener), "what starts or stops may still call"


def test_an_outlet_without_its_namespace_is_left_out(shop, namespaces, topology):
    present = namespaces(shop) - {"/run/netns/orders-r1-1"}
    made = translate(shop, topology(), present).mesh
    assert "orders-r1-1" not in items(made, ir.MESH, ir.Listener)
    assert "orders-r1-2" in items(made, ir.MESH, ir.Listener)
    again = translate(shop, topology(), namespaces(shop), translate(shop, topology(), present)).mesh
    assert "orders-r1-1" in items(again, ir.MESH, ir.Listener)


def test_a_call_has_an_edge_and_nothing_else_has(shop, namespaces, topology):
    made = translate(shop, topology(), namespaces(shop)).mesh
    assert set(items(made, ir.MESH, ir.Cluster)) == {"orders->payments"}
    assert set(items(made, ir.GATEWAY, ir.Cluster)) == {"@gateway->orders"}
    assert items(made, ir.GATEWAY, ir.Cluster)["@gateway->orders"].source_netns == "/run/fabric"
    rules = [host.name for host in items(made, ir.MESH, ir.RouteTable)["mail@1"].hosts]
    assert rules == ["flags", "called oddly", "other services", "undeclared"]


@pytest.mark.parametrize("runtime", ["sandbox", "process"])
def test_a_release_may_call_whom_it_was_made_to_call_and_nobody_else(blueprint, namespaces, topology, runtime):
    made = blueprint(SHOP.replace("{run: serve", f"{{run: serve, runtime: {runtime}"))
    orders = made.workloads["orders"]
    old, new = orders.instances
    old = replace(old, recipe=replace(old.recipe, calls=orders.calls))
    new = replace(new, recipe=replace(new.recipe, release=2, calls=()))
    both = replace(made, workloads={**made.workloads, "orders": replace(orders, instances=(old, new))})
    tables = items(translate(both, topology(), namespaces(both)).mesh, ir.MESH, ir.RouteTable)
    found = {name: [h.name for h in table.hosts] for name, table in tables.items() if name.startswith("orders@")}
    if runtime == "process":
        assert found == {"orders@1->payments": ["payments"]}
    else:
        assert "payments" in found["orders@1"]
        assert "payments" not in found["orders@2"]


def test_of_two_services_with_one_route_the_first_answers_and_the_other_is_known(blueprint, namespaces, topology):
    made = blueprint("system: shop\nservices:\n  heir: {run: serve, routes: [/]}\n  old: {run: serve, routes: [/o]}\n")
    heir, old = made.workloads["heir"], made.workloads["old"]
    both = replace(made, workloads={"old": replace(old, routes=heir.routes), "heir": heir})
    mesh = translate(both, topology(), namespaces(both)).mesh
    table = items(mesh, ir.GATEWAY, ir.RouteTable)[names.GATEWAY]
    ways = [rule for rule in table.hosts[0].rules if isinstance(rule, ir.Forward)]
    assert [rule.cluster for rule in ways] == ["@gateway->old", "@gateway->heir"]
    assert set(items(mesh, ir.GATEWAY, ir.Cluster)) == {"@gateway->old", "@gateway->heir"}


def test_only_who_may_ask_for_flags_has_a_way_to_the_control_plane(blueprint, namespaces, topology):
    made = blueprint(SHOP.replace("mail: {run: serve}", "mail: {run: serve, flags: [new-checkout]}"))
    mesh = translate(made, topology(), namespaces(made)).mesh
    found = items(mesh, ir.MESH, ir.Cluster)
    assert {n for n in found if n.endswith("->flags")} == {"mail->flags"}
    assert found["mail->flags"].target == ir.Unix("/run/flags.sock")
    tables = items(mesh, ir.MESH, ir.RouteTable)
    host, other = (next(h for h in tables[f"{name}@1"].hosts if h.name == "flags") for name in ("mail", "orders"))
    assert host.domains == ("flags", "flags:80")
    doors = items(mesh, ir.MESH, ir.Listener).values()
    assert {door.caller for door in doors if door.table == "mail@1"} == {"mail"}
    assert isinstance(host.rules[0], ir.Forward)
    assert (other.rules[0].status, "add `flags: [NAME]` under services.orders" in other.rules[0].text) == (403, True)


def test_without_root_the_gateway_knows_one_way_only(shop, namespaces, topology):
    made = translate(shop, topology(extra_hop=True), namespaces(shop)).mesh
    assert set(items(made, ir.GATEWAY, ir.Cluster)) == {names.INGRESS}
    assert {names.INGRESS} < set(items(made, ir.MESH, ir.Listener))
    assert items(made, ir.MESH, ir.Cluster)["@gateway->orders"].source_netns is None


def test_what_is_counted_beside_is_switched_on_where_somebody_wants_to_know(shop, namespaces, topology):
    mesh = translate(shop, topology(), namespaces(shop))
    orders = replace(shop.workloads["orders"], split=Split(1, 2, 5))
    beside = replace(shop, workloads={**shop.workloads, "orders": orders})
    for blueprint, on in ((shop, ()), (beside, (ir.MEASURED,)), (replace(shop, counting=True), (ir.MEASURED,))):
        made = translate(blueprint, topology(), namespaces(blueprint), mesh).mesh
        for proxy in ir.PROXIES:
            assert items(made, proxy, ir.Switches)[ir.SWITCHES].on == on


def test_what_is_counted_has_a_rule_of_its_own_while_two_stand_side_by_side(shop, namespaces, topology):
    counts = (("placed", Operation("POST", "/orders")), ("paid", Operation("PUT", "/orders/{id}")))
    alone = replace(shop.workloads["orders"], counts=counts)
    beside = replace(alone, split=Split(1, 2, 5))
    compared = replace(beside, shadow=Shadow(2, 0.1, 8))
    for workload, expected in ((alone, [""]), (beside, ["placed", "paid", ""]), (compared, [""])):
        blueprint = replace(shop, workloads={**shop.workloads, "orders": workload})
        made = translate(blueprint, topology(), namespaces(blueprint)).mesh
        (host,) = items(made, ir.GATEWAY, ir.RouteTable)[names.GATEWAY].hosts
        rules = [rule for rule in host.rules if isinstance(rule, ir.Forward)]
        assert [rule.counted for rule in rules] == expected
        assert {rule.only for rule in rules if rule.counted} <= {(("POST", "/orders"),), (("PUT", "/orders/{id}"),)}
        assert {rule.split for rule in rules} == {rules[-1].split}


def test_a_cluster_asks_by_the_check_of_its_release_and_by_none_where_there_is_none(shop, namespaces, topology):
    other = Check("/other")
    for check in (None, Check("/one")):
        orders = replace(shop.workloads["orders"], check=check, split=Split(1, 2, 5, check=other))
        blueprint = replace(shop, workloads={**shop.workloads, "orders": orders})
        clusters = items(translate(blueprint, topology(), namespaces(blueprint)).mesh, ir.GATEWAY, ir.Cluster)
        stable, beside = clusters["@gateway->orders"].check, clusters["@gateway->orders@next"].check
        assert (stable and stable.path, beside.path) == (check and check.path, "/other")


def test_what_a_shadow_asks_is_counted_apart(shop, namespaces, topology):
    orders = replace(shop.workloads["orders"], guarded=(1,))
    blueprint = replace(shop, workloads={**shop.workloads, "orders": orders})
    tables = items(translate(blueprint, topology(), namespaces(blueprint)).mesh, ir.MESH, ir.RouteTable)
    found = {r.counted for h in tables["orders@1"].hosts if h.name == "payments" for r in h.rules if hasattr(r, "only")}
    assert found == {names.SHADOW}


def test_a_workload_that_is_the_same_object_is_not_translated_again(shop, namespaces, topology):
    first = translate(shop, topology(), namespaces(shop))
    payments = shop.workloads["payments"]
    moved = replace(payments, instances=payments.instances[:1])
    changed = replace(shop, generation=2, workloads={**shop.workloads, "payments": moved})
    second = translate(changed, topology(), namespaces(shop), first)
    same = {n for n in first.mesh.shares if first.mesh.shares[n] is second.mesh.shares[n]}
    assert same == {"orders", "mail", "@platform"}


def test_a_service_that_comes_is_known_to_those_that_do_not_call_it(shop, namespaces, topology):
    before = {name: w for name, w in shop.workloads.items() if name != "payments"}
    first = translate(replace(shop, workloads=before), topology(), namespaces(shop))
    second = translate(shop, topology(), namespaces(shop), first)
    for made, known in ((first, False), (second, True)):
        hosts = {h.name: h for h in items(made.mesh, ir.MESH, ir.RouteTable)["mail@1"].hosts}
        assert ("payments" in hosts["other services"].domains) is known


def test_a_change_touches_only_what_differs(shop, namespaces, topology):
    snapshots = Snapshots()
    first = translate(shop, topology(), namespaces(shop))
    snapshots.make(first.mesh, 1)
    payments = shop.workloads["payments"]
    moved = replace(payments, instances=(payments.instances[0], replace(payments.instances[1], stage=Stage.STOP)))
    changed = replace(shop, generation=2, workloads={**shop.workloads, "payments": moved})
    made = snapshots.make(translate(changed, topology(), namespaces(shop), first).mesh, 2)
    assert {proxy: set(s.touched) for proxy, s in made.items()} == {
        ir.GATEWAY: {(Kind.ENDPOINTS, "payments")},
        ir.MESH: {(Kind.ENDPOINTS, "payments")},
    }
    gone = {name: w for name, w in changed.workloads.items() if name != "mail"}
    fewer = snapshots.make(translate(replace(changed, workloads=gone), topology(), namespaces(shop)).mesh, 3)
    assert (Kind.LISTENER, "mail-r1-5") in fewer[ir.MESH].touched
    assert (Kind.LISTENER, "mail-r1-5") not in fewer[ir.MESH].resources
    back = snapshots.make(translate(changed, topology(), namespaces(shop)).mesh, 4)
    assert (Kind.LISTENER, "mail-r1-5") in back[ir.MESH].touched


def test_versions_depend_on_content_only(shop, namespaces, topology):
    def versions():
        made = Snapshots().make(translate(shop, topology(), namespaces(shop)).mesh, 1)
        return {key: r.version for key, r in made[ir.MESH].resources.items()}

    assert versions() == versions()


def test_health_of_the_callee_reaches_the_callers_edge(shop, namespaces, topology):
    first = translate(shop, topology(), namespaces(shop))
    payments = shop.workloads["payments"]
    ready = replace(payments.check, path="/ready")
    changed = replace(shop, workloads={**shop.workloads, "payments": replace(payments, check=ready)})
    made = translate(changed, topology(), namespaces(shop), first).mesh
    assert items(made, ir.MESH, ir.Cluster)["orders->payments"].check.path == "/ready"


def test_names_of_edges_read_back():
    assert names.callee(names.edge("a", "b")) == names.callee(names.edge("@gateway", "b", 2)) == "b"
