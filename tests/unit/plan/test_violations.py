from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.plan.blueprint import Shadow, Split
from atoll.plan.violations import violations


def changed(desk, **fields):
    one = desk()
    one.design()
    workload = one.blueprint.workloads["orders"]
    first, second = workload.instances
    instances = (first, replace(second, **{n: getattr(first, n) for n in fields if fields[n] is None}))
    return replace(one.blueprint, workloads={"orders": replace(workload, instances=instances)})


def test_a_design_breaks_nothing(desk):
    one = desk(instances=5)
    assert list(violations(one.design())) == []


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("name", "instance name orders-r1-1 is given to 2 instances"),
        ("address", "address 10.201.0.6:8080 is given to 2 instances"),
        ("network", "network 1 is given to 2 instances"),
        ("outlets", "outlet /run/x/netns/orders-r1-1 127.0.0.1:80 is given to 2 instances"),
    ],
)
def test_nothing_is_given_twice(desk, field, words):
    assert words in list(violations(changed(desk, **{field: None})))


def test_an_instance_belongs_to_its_workload(desk):
    one = desk(instances=1)
    workload = one.design().workloads["orders"]
    stranger = replace(one.blueprint, workloads={"catalog": replace(workload, service="catalog")})
    assert list(violations(stranger)) == ["catalog: orders-r1-1 belongs to orders"]


def test_a_serial_was_given_out(desk):
    one = desk(instances=1)
    workload = one.design().workloads["orders"]
    early = replace(one.blueprint, workloads={"orders": replace(workload, serial=0)})
    assert list(violations(early)) == ["orders: orders-r1-1 has a serial above the 0 given out"]


@pytest.mark.parametrize("split", [None, Split(1, 2, 5), Split(1, 3, 0), Split(1, 2, 0, both=True)])
def test_what_answers_copies_only_has_no_user(desk, split):
    one = desk(instances=1)
    workload = replace(one.design().workloads["orders"], shadow=Shadow(2, 0.1, 8), split=split, guarded=(2,))
    (words,) = violations(replace(one.blueprint, workloads={"orders": workload}))
    assert words.startswith("orders: release 2 is to answer copies only, and ")
    fine = replace(workload, split=Split(1, 2, 0))
    assert list(violations(replace(one.blueprint, workloads={"orders": fine}))) == []
    free = replace(fine, guarded=(3,))
    assert list(violations(replace(one.blueprint, workloads={"orders": free}))) == [
        "orders: release 2 is to answer copies only, and may change something"
    ]
