from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Call, CallPolicy, Gateway, Health, Resources, RuntimeKind, Service, System
from atoll.plan.recipes import environment, recipe, same_content, url_variable

ORDERS = Service("orders", source="orders", calls=(Call("stock-room"),), env={"LEVEL": "debug"})
SHOP = System("shop", Gateway(), {"orders": ORDERS, "catalog": Service("catalog")}, "")


def test_a_recipe_holds_what_a_process_notices():
    one = recipe(SHOP, ORDERS, artifact="abc", argv=("run",))
    assert (one.service, one.release, one.artifact, one.argv) == ("orders", 0, "abc", ("run",))
    assert one.hosts == ("catalog", "flags", "orders")


def test_the_environment_names_the_system_the_callees_and_the_proxy():
    env = dict(environment(SHOP, ORDERS))
    assert env["ATOLL_SYSTEM"] == "shop"
    assert env["STOCK_ROOM_URL"] == "http://stock-room"
    assert env["HTTPS_PROXY"] == "http://127.0.0.1:80"
    assert env["LEVEL"] == "debug"
    assert env["NO_PROXY"] == env["no_proxy"] == "127.0.0.1,localhost,stock-room:80"
    assert env["no_grpc_proxy"] == "127.0.0.1,localhost,stock-room"


def test_a_plain_process_has_no_proxy_but_another_callee_makes_another_release():
    one = replace(ORDERS, runtime=RuntimeKind.PROCESS)
    two = replace(one, calls=())
    assert "HTTP_PROXY" not in dict(environment(SHOP, one))
    assert environment(SHOP, one) != environment(SHOP, two)


def test_who_may_ask_for_flags_is_told_where_and_becoming_so_makes_another_release():
    one = replace(ORDERS, flags=("new-checkout",))
    env = dict(environment(SHOP, one))
    assert (env["FLAGS_URL"], env["OFREP_ENDPOINT"]) == ("http://flags", "http://flags")
    assert {"FLAGS_URL", "OFREP_ENDPOINT"}.isdisjoint(dict(environment(SHOP, ORDERS)))
    assert environment(SHOP, one) == environment(SHOP, replace(one, flags=("all",)))


def test_the_file_wins():
    one = replace(ORDERS, env={"HTTP_PROXY": "mine"})
    assert dict(environment(SHOP, one))["HTTP_PROXY"] == "mine"


def test_a_variable_is_made_of_a_name():
    assert url_variable("orders-db") == "ORDERS_DB_URL"


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("artifact", "other", False),
        ("argv", ("other",), True),  # it belongs to the artifact
        ("env", (("A", "b"),), False),
        ("runtime", RuntimeKind.PROCESS, False),
        ("resources", Resources(cpu=1), False),
        ("health", Health(startup=1.0), False),
        ("health", Health(declared=True), True),
        ("drain", 1.0, True),
        ("grace", 1.0, True),
        ("hosts", (), True),
        ("release", 9, True),
    ],
)
def test_what_needs_a_restart(field, value, same):
    one = recipe(SHOP, ORDERS, artifact="abc", argv=("run",))
    assert same_content(one, replace(one, **{field: value})) is same


def test_whom_it_may_call_belongs_to_a_release_and_how_does_not():
    plain = replace(ORDERS, runtime=RuntimeKind.PROCESS, env={"STOCK_ROOM_URL": "http://stock-room"})
    one = recipe(SHOP, plain, artifact="abc", argv=("run",))
    assert one.calls == ORDERS.calls
    other_policy = replace(plain, calls=(Call("stock-room", CallPolicy(timeout=1.0)),))
    assert same_content(one, recipe(SHOP, other_policy, artifact="abc", argv=("run",)))
    assert not same_content(one, recipe(SHOP, replace(plain, calls=()), artifact="abc", argv=("run",)))
    unknown = replace(one, calls=None)  # as an older Atoll wrote it down
    assert same_content(unknown, one)
    assert unknown.may_call("anybody")
    assert one.may_call("stock-room")
    assert not one.may_call("catalog")
