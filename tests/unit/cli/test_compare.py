from __future__ import annotations

import pytest

from atoll.engine.account import account
from atoll.model.system import Intended
from atoll.policies.comparing.canonical import Contract
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.messages import Findings
from atoll.policies.comparing.oddone import Profile
from atoll.policies.comparing.run import Run, heard
from atoll.policies.comparing.samples import Example, Sample

AT = 1_700_000_000.0
RULES = (
    Intended("at", "ann", "another clock", "2099-12-31"),
    Intended("rate", "bob", "was rounded", "2020-01-31", "GET /orders/{id}"),
)


@pytest.fixture
def view():
    odd = {"total[*]": Odd.CANDIDATE, "id": Odd.ALL, "at": Odd.CANDIDATE}
    example = Example("total[*]", "float of length 1, hash aa", "float of length 1, hash aa", "NoneType")
    sample = Sample("GET /orders/{id}", odd, (0.01, 0.02, 0.03), (example,))
    found = Findings("orders", 0.0, (sample,) * 30, {"a body was too large": 7})
    contract = Contract(masked=("id", "items[*].at"))
    run = heard(Run("orders", 2, 1, AT, AT, contract), found, AT, Profile())
    run = Run(**{f: getattr(run, f) for f in run.__slots__} | {"kind": "fail", "words": "its answers differ: total[*]"})
    run = Run(**{f: getattr(run, f) for f in run.__slots__} | {"refused": {"a": 9}, "before": {"a": 4}})
    return account(run, RULES, AT, running=True)


def test_compare_says_what_differs_by_how_much_and_what_was_left_out(atoll, control_plane, scene, view):
    control_plane.call(scene.serve_now)
    scene.comparisons["orders"] = view
    lines = atoll("compare", "orders").out.splitlines()
    assert lines[0].startswith("orders release 2 beside 1: the comparison goes on; ")
    assert lines[1:4] == [
        "fail: its answers differ: total[*]",
        "30 calls were compared: GET /orders/{id} 30",
        "answers took p50 9.8 ms and p95 19.6 ms of the old release, 30.2 ms and 30.2 ms of the new one",
    ]
    rows = {line.split()[0]: " ".join(line.split()[3:]) for line in lines[5:8]}
    assert rows["total[*]"].startswith("different above 9,000,000:1 30 0 0 30")
    assert rows["at"].startswith("intended above 9,000,000:1 30 0 0 30")
    assert rows["id"].startswith("masked 1:1 0 0 30 30")
    assert lines[8:] == [
        "total[*]: float of length 1, hash aa | float of length 1, hash aa | new: NoneType",
        "masked by the contract: id, items[*].at",
        "at is intended until 2099-12-31 (ann: another clock)",
        "rate in GET /orders/{id} was intended until 2020-01-31 (bob: was rounded)",
        "5 calls that the new release wanted to make were blocked: what they do is not tested",
        "copies left out: 7 because a body was too large",
    ]


def test_compare_for_programs(atoll, control_plane, scene, view):
    control_plane.call(scene.serve_now)
    scene.comparisons["orders"] = view
    found = atoll("compare", "orders", "--json").json
    assert (found.verdict, found.samples, found.blocked) == ("fail", 30, 5)
    assert [(f["path"], f["kind"]) for f in found.fields] == [
        ("at", "intended"),
        ("total[*]", "different"),
        ("id", "masked"),
    ]
    assert found.fields[1]["examples"][0]["candidate"] == "NoneType"


def test_compare_of_what_was_not_compared_says_how_to(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    said = atoll("compare", "orders")
    assert said.code == 2
    assert "no release of orders was compared in the last seven days" in said.err
    assert "→ write `compare: {}` under services.orders, then deploy and release it" in said.err
    assert "did you mean orders?" in atoll("compare", "ordres").err
