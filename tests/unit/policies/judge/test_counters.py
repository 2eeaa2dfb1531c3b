from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.judge.counters import Baseline, Reading, Snapshot, difference, merged
from atoll.policies.judge.evidence import Arm, Latency, Unit

CANARY, STABLE = Arm.CANARY, Arm.STABLE


def reading(name, success, error=0, proxy="mesh", arm=STABLE, **more):
    return Reading(proxy, name, arm, success, error, **more)


def after(*looks):
    baseline, buckets = None, []
    for at, readings in enumerate(looks):
        baseline, bucket = difference(baseline, Snapshot(float(at), tuple(readings)))
        buckets.append(bucket)
    return buckets


def test_the_first_look_says_from_where_to_count():
    assert after([reading("a", 100, 3)]) == [None]


def test_what_was_added_since_the_last_look_is_evidence():
    _, bucket = after([reading("a", 100, 3)], [reading("a", 110, 5)])
    assert (bucket.start, bucket.end, bucket.units) == (0.0, 1.0, (Unit("a", STABLE, 12, 2),))


def test_a_counter_that_went_back_is_all_new():
    _, bucket = after([reading("a", 100, 3)], [reading("a", 7, 0)])
    assert bucket.units == (Unit("a", STABLE, 7, 0),)


def test_an_instance_that_comes_counts_from_nothing_and_one_that_goes_is_forgotten():
    _, second, third = after([reading("a", 5)], [reading("a", 5), reading("b", 4, 1)], [reading("a", 6)])
    assert second.units[1] == Unit("b", STABLE, 5, 1)
    assert third.units == (Unit("a", STABLE, 1),)


def test_the_history_of_a_proxy_that_was_not_seen_before_is_not_evidence():
    _, second, third = after(
        [reading("a", 5)],
        [reading("a", 6), reading("a", 9000, 90, proxy="gateway")],
        [reading("a", 6), reading("a", 9001, 90, proxy="gateway")],
    )
    assert second.units == (Unit("a", STABLE, 1),)
    assert third.units == (Unit("a", STABLE, 1),)


def test_a_proxy_that_did_not_answer_goes_on_where_it_was():
    _, second, third = after([reading("a", 5), reading("a", 50, proxy="gateway")], [reading("a", 6)],
                             [reading("a", 6), reading("a", 52, proxy="gateway")])  # fmt: skip
    assert second.units == (Unit("a", STABLE, 1),)
    assert third.units == (Unit("a", STABLE, 2),)


def test_one_instance_in_several_proxies_is_one_unit():
    _, bucket = after(
        [reading("a", 5), reading("a", 1, proxy="gateway")], [reading("a", 6), reading("a", 3, 1, proxy="gateway")]
    )
    assert bucket.units == (Unit("a", STABLE, 4, 1),)


def test_a_look_that_is_not_later_changes_nothing():
    baseline, _ = difference(None, Snapshot(5.0, (reading("a", 5),)))
    assert difference(baseline, Snapshot(5.0, (reading("a", 9),))) == (baseline, None)


def test_counts_grow_like_requests():
    _, bucket, restarted = after(
        [reading("a", 5, counts=(("orders", "200", 3),))],
        [reading("a", 9, counts=(("orders", "200", 5),))],
        [reading("a", 10, counts=(("orders", "200", 1),))],
    )
    assert bucket.units[0].counts == (("orders", 2),)
    assert restarted.units[0].counts == (("orders", 1),)


def test_each_kind_of_answer_is_compared_with_its_own_past():
    """A proxy forgets a kind that nobody got for long, and counts it anew when it comes again."""
    looks = (
        [reading("a", 50, 1, failed=(("UT", 40), ("-", 3)), counts=(("orders", "200", 3), ("orders", "201", 90)))],
        [reading("a", 50, 1, failed=(("-", 4),), counts=(("orders", "200", 5),))],
        [reading("a", 50, 2, failed=(("UT", 2), ("-", 4)), counts=(("orders", "200", 5), ("orders", "201", 1)))],
    )
    _, forgotten, again = after(*looks)
    assert forgotten.units == (Unit("a", STABLE, 1, 1, None, (("orders", 2),)),)
    assert again.units == (Unit("a", STABLE, 3, 3, None, (("orders", 1),)),)
    assert [look[0].bad for look in looks] == [44, 5, 8]


def test_users_are_counted_from_the_second_look_on():
    baseline, _ = difference(None, Snapshot(0.0, users=7))
    baseline, bucket = difference(baseline, Snapshot(1.0, users=9))
    assert bucket.users == 2
    baseline, bucket = difference(baseline, Snapshot(2.0))
    assert bucket.users is None
    assert difference(baseline, Snapshot(3.0, users=10))[1].users == 1
    assert difference(Baseline(0.0), Snapshot(1.0, users=10))[1].users is None


def test_latencies_are_weighted_by_their_calls():
    one = Unit("a", STABLE, 1, latency=Latency(10, 1.0, 2.0))
    two = Unit("a", STABLE, 1, latency=Latency(30, 5.0, 6.0))
    assert merged([one, two])[0].latency == Latency(40, 4.0, 5.0)
    assert merged([Unit("a", STABLE, 1), one])[0].latency == one.latency


growth = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=2, max_size=12)


@given(growth, st.data())
def test_how_often_one_looks_does_not_change_what_is_counted(steps, data):
    totals, success, error = [], 0, 0
    for good, bad in steps:
        success, error = success + good, error + bad
        totals.append((reading("a", success, error, arm=CANARY),))
    some = sorted(data.draw(st.sets(st.integers(0, len(totals) - 1))) | {0, len(totals) - 1})
    seen = [b for b in after(*(totals[i] for i in some)) if b is not None]
    all_seen = [b for b in after(*totals) if b is not None]
    for buckets in (seen, all_seen):
        units = [u for b in buckets for u in b.units]
        assert sum(u.requests for u in units) == success + error - totals[0][0].success - totals[0][0].error
        assert sum(u.bad for u in units) == error - totals[0][0].error


def test_a_counter_that_goes_on_is_not_all_new_because_another_went_back():
    """A proxy's new process takes over the failures and begins the successes anew."""
    _, bucket = after([reading("a", 100, 3)], [reading("a", 7, 4)])
    assert bucket.units == (Unit("a", STABLE, 8, 1),)
