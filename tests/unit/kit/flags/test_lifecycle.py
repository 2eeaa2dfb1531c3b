from datetime import date

import pytest

from atoll.kit.flags import Due, Facts, due

TODAY = date(2026, 11, 25)
LONG, LATELY = date(2026, 10, 1), date(2026, 11, 1)


def report(facts=None, **metadata):
    flag = {"state": "ENABLED", "variants": {"on": True}, "metadata": {"owner": "team-a", **metadata}}
    return due({"flags": {"f": flag}}, {"f": facts} if facts else {}, today=TODAY)


def test_overdue():
    assert report(kind="release", expires="2026-11-20") == [
        Due("f", "team-a", "overdue", 5, "remove it from the code, or give it a later date")
    ]
    assert report(expires="2026-11-25") == []  # the whole day


@pytest.mark.parametrize("said", [None, "soon", 7])
def test_without_a_date_nothing_is_overdue(said):
    assert report(expires=said) == []


@pytest.mark.parametrize(
    ("facts", "days"),
    [
        (Facts(since=LONG), 55),
        (Facts(since=LATELY), None),
        (Facts(since=LONG, evaluated=date(2026, 10, 26)), 30),
        (Facts(since=LONG, evaluated=date(2026, 10, 27)), None),
    ],
)
def test_nobody_asks(facts, days):
    found = report(facts, kind="ops")
    assert [(each.why, each.days) for each in found] == ([] if days is None else [("unused", days)])


@pytest.mark.parametrize(
    ("kind", "only_since", "found"),
    [("release", LONG, [("settled", 55)]), ("release", LATELY, []), ("ops", LONG, []), ("permission", LONG, [])],
)
def test_everybody_gets_the_same(kind, only_since, found):
    facts = Facts(since=LONG, evaluated=TODAY, only="on", only_since=only_since)
    assert [(each.why, each.days) for each in report(facts, kind=kind)] == found
    assert all(each.mend == "write on into the code and remove the flag" for each in report(facts, kind=kind))


def test_another_patience():
    flags = {"f": {"state": "ENABLED", "variants": {"a": 1}}}
    for quiet, found in ((24, 1), (25, 0)):
        assert len(due({"flags": flags}, {"f": Facts(since=LATELY)}, today=TODAY, quiet=quiet)) == found


def test_several_variants_are_no_reason():
    assert report(Facts(since=LONG, evaluated=TODAY, only_since=LONG)) == []


def test_the_longest_waiting_first():
    flags = {
        key: {"state": "ENABLED", "variants": {"a": 1}, "metadata": {"expires": day}}
        for key, day in (("b", "2026-11-01"), ("a", "2026-11-01"), ("c", "2026-01-01"), ("d", "2027-01-01"))
    }
    facts = {"d": Facts(since=date(2026, 1, 2))}
    found = due({"flags": flags | {"e": {"state": "ENABLED", "variants": {"a": 1}}}}, facts, today=TODAY)
    assert [(each.key, each.why, each.owner) for each in found] == [
        ("c", "overdue", ""), ("d", "unused", ""), ("a", "overdue", ""), ("b", "overdue", "")
    ]  # fmt: skip
