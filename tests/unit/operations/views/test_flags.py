"""What people see of flags, and what a service is shown."""

from __future__ import annotations

from datetime import date

import pytest

from atoll import wire
from atoll.kit.flags import Facts
from atoll.model.load import loads
from atoll.model.system import Rollout
from atoll.operations.views.flags import cut, flags_view, whom
from atoll.plan.flag_release import FlagRelease, dark

SYSTEM = loads(
    """
system: shop
services:
  web: {run: serve, flags: [new, size]}
  orders: {run: serve, flags: all}
  mail: {run: serve}
""",
    file="atoll.yaml",
    directory="/srv",
)
META = {"owner": "team-a", "kind": "release", "expires": "2026-11-01"}
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": META}
STAFF = {"if": [{"$ref": "staff"}, "on", {"fractional": [["on", 5], ["off", 95]]}]}
DOCUMENT = {
    "metadata": {"flagSetId": "shop"},
    "$evaluators": {
        "staff": {"or": [{"$ref": "ours"}, {"in": [{"var": "id"}, ["secret-customer"]]}]},
        "ours": {"ends_with": [{"var": "email"}, "@corp.com"]},
        "theirs": {"ends_with": [{"var": "email"}, "@other.com"]},
    },
    "flags": {
        "new": FLAG | {"targeting": STAFF},
        "size": FLAG,
        "secret": FLAG | {"targeting": {"if": [{"$ref": "theirs"}, "on"]}},
    },
}
RELEASE = FlagRelease("new", "on", "off", Rollout(), "{}", dark(1, 0.0))


def test_who_may_ask_for_what():
    assert whom(SYSTEM, "new") == ("web", "orders")
    assert whom(SYSTEM, "secret") == ("orders",)
    assert whom(None, "new") == ()


def test_a_service_sees_its_flags_and_of_the_shared_targeting_what_they_need():
    seen = cut(DOCUMENT, SYSTEM.services["web"], ())
    assert list(seen["flags"]) == ["new", "size"]
    assert list(seen["$evaluators"]) == ["staff", "ours"]
    assert seen["metadata"] == {"flagSetId": "shop"}
    assert cut(DOCUMENT, SYSTEM.services["mail"], ()) == {"metadata": {"flagSetId": "shop"}, "flags": {}}
    assert cut(DOCUMENT, SYSTEM.services["orders"], ()) == DOCUMENT


def test_a_flag_that_is_being_released_says_so_and_only_where_it_is_shown():
    seen = cut(DOCUMENT, SYSTEM.services["web"], (RELEASE,))
    assert seen["flags"]["new"]["metadata"] == {**META, "releasing": "on"}
    assert seen["flags"]["size"] == FLAG
    assert "releasing" not in DOCUMENT["flags"]["new"]["metadata"]


@pytest.fixture
def views():
    facts = {
        "size": Facts(date(2026, 1, 1), date(2026, 11, 25), "off", date(2026, 10, 1)),
        "secret": Facts(date(2026, 10, 1)),
    }
    version = wire.FlagVersion(3, "3-abc", 0.0, "ada", "sets new", "")
    found = flags_view(version, DOCUMENT, SYSTEM, (RELEASE,), facts, date(2026, 11, 25))
    assert found.version == version
    return {one.name: one for one in found.flags}


def test_each_flag_is_told_with_who_gets_what_and_whom_to_ask(views):
    new = views["new"]
    assert (new.state, new.default, new.shares) == ("ENABLED", "off", {"on": 5.0, "off": 95.0})
    assert (new.owner, new.kind, new.expires, new.killed) == ("team-a", "release", "2026-11-01", False)
    assert (new.releasing, new.services) == ("on", ("web", "orders"))
    assert (views["size"].shares, views["secret"].shares) == ({"off": 100.0}, None)


def test_what_has_had_its_time_says_since_when_and_what_to_do(views):
    assert views["new"].due == ("overdue for 24 days: remove it from the code, or give it a later date",)
    assert "settled for 55 days: write off into the code and remove the flag" in views["size"].due
    assert "unused for 55 days: remove it: no running code asks for it" in views["secret"].due
