"""The order of what is sent, and what is made of every answer a proxy can give: a proxy that is not there."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from envoy.service.discovery.v3.discovery_pb2 import Resource as Sent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.mesh.ads import stream as module
from atoll.mesh.ads.stream import Ledger, Stream
from atoll.mesh.snapshot import Kind, Resource, Snapshot

C, E, L, R = Kind.CLUSTER, Kind.ENDPOINTS, Kind.LISTENER, Kind.ROUTES


def made(kind: Kind, name: str, version: str, refers: str = "") -> Resource:
    return Resource(kind, name, version, Sent(name=name, version=version).SerializeToString(), refers)


def snapshot(generation: int, *resources: Resource, last: Snapshot | None = None) -> Snapshot:
    found = {(r.kind, r.name): r for r in resources}
    before = dict(last.resources) if last is not None else {}
    touched = frozenset(k for k in {*found, *before} if found.get(k) != before.get(k))
    return Snapshot(generation, found, touched)


@dataclass
class Proxy:
    """Plays Envoy: asks, acknowledges, refuses versions it was told to refuse. Keeps a transcript."""

    stream: Stream
    bad: set[str] = field(default_factory=set)
    silent: bool = False
    busy: bool = False  # hears everything, and does and answers it only when it has time (see `catch_up`)
    unheard: list[bytes] = field(default_factory=list)
    has: dict[tuple[Kind, str], str] = field(default_factory=dict)
    told: list[tuple[Kind, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    now: float = 0.0

    def ask(self, kind: Kind, *names: str, **versions: str) -> None:
        self._take(
            self.stream.hear(
                DeltaDiscoveryRequest(
                    type_url=kind, resource_names_subscribe=names, initial_resource_versions=versions
                ),
                self.now,
            )
        )

    def offer(self, new: Snapshot, again=()) -> None:
        self._take(self.stream.offer(new, self.now, again))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            self._take(self.stream.tick(self.now))

    def catch_up(self) -> None:
        """Do all that was not done, in order; what an answer leads to comes after the rest."""
        self.busy = True
        while self.unheard:
            self._take(self._do(DeltaDiscoveryResponse.FromString(self.unheard.pop(0))))
        self.busy = False

    def _take(self, responses: list[bytes]) -> None:
        while responses:
            response = DeltaDiscoveryResponse.FromString(responses.pop(0))
            assert len(response.resources) == 1 or sum(r.ByteSize() for r in response.resources) <= module.LARGE
            kind = Kind(response.type_url)
            names = tuple(sorted(r.name for r in response.resources))
            self.told.append((kind, names, tuple(response.removed_resources)))
            if self.busy:
                self.unheard.append(response.SerializeToString())
            if self.silent or self.busy:
                continue
            responses += self._do(response)

    def _do(self, response: DeltaDiscoveryResponse) -> list[bytes]:
        """What it makes of a response, and what its answer leads to."""
        kind = Kind(response.type_url)
        reply = DeltaDiscoveryRequest(type_url=kind, response_nonce=response.nonce)
        if any(r.version in self.bad for r in response.resources):
            reply.error_detail.message = "something in it is bad"
        else:
            self.has |= {(kind, r.name): r.version for r in response.resources}
            for name in response.removed_resources:
                self.has.pop((kind, name), None)
        return self.stream.hear(reply, self.now)


def started(first: Snapshot | None = None, ledger: Ledger | None = None) -> Proxy:
    proxy = Proxy(Stream(ledger or Ledger(), first))
    proxy.ask(C)
    proxy.ask(E, "b")
    proxy.ask(L)
    proxy.ask(R, "a")
    return proxy


FULL = (made(C, "a->b", "1", "b"), made(E, "b", "1"), made(L, "a1", "1", "a"), made(R, "a", "1"))


def test_nothing_is_said_before_the_first_snapshot():
    proxy = started()
    assert proxy.told == []
    proxy.offer(snapshot(1, *FULL))
    assert [kind for kind, _, _ in proxy.told] == [C, E, L, R]
    assert (proxy.stream.generation, proxy.stream.settled()) == (1, True)


def test_an_empty_first_answer_is_an_answer():
    proxy = Proxy(Stream(Ledger(), snapshot(1)))
    proxy.ask(C)
    proxy.ask(L)
    assert proxy.told == [(C, (), ()), (L, (), ())]


def test_a_proxy_that_is_up_to_date_is_told_nothing():
    proxy = Proxy(Stream(Ledger(), None))
    proxy.ask(C, **{"a->b": "1"})
    proxy.ask(E, "b", b="1")
    proxy.ask(L, a1="1")
    proxy.ask(R, "a", a="1")
    proxy.offer(snapshot(7, *FULL))
    assert all(names == removed == () for _, names, removed in proxy.told)
    assert proxy.stream.generation == 7


def test_what_a_returning_proxy_has_too_much_is_removed():
    proxy = Proxy(Stream(Ledger(), snapshot(1)))
    proxy.ask(L, old="1")
    assert proxy.told == [(L, (), ("old",))]


def test_a_cluster_is_always_followed_by_its_endpoints():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.told.clear()
    proxy.offer(snapshot(2, made(C, "a->b", "2", "b"), *FULL[1:], last=first))
    assert proxy.told == [(C, ("a->b",), ()), (E, ("b",), ())]


def test_endpoints_that_are_under_way_go_once_more_for_a_cluster_that_is_sent_meanwhile():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.told.clear()
    proxy.busy = True
    second = snapshot(2, FULL[0], made(E, "b", "2"), *FULL[2:], last=first)
    proxy.offer(second)
    proxy.offer(snapshot(3, made(C, "a->b", "2", "b"), made(E, "b", "2"), *FULL[2:], last=second))
    proxy.catch_up()
    assert proxy.told == [(E, ("b",), ()), (C, ("a->b",), ()), (E, ("b",), ())]
    assert (proxy.stream.known(E)["b"], proxy.stream.generation) == ("2", 3)


def test_what_is_asked_for_again_while_it_is_under_way_goes_once_more():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.told.clear()
    proxy.busy = True
    proxy.offer(snapshot(2, *FULL[:3], made(R, "a", "2"), last=first))
    proxy.stream.hear(DeltaDiscoveryRequest(type_url=R, resource_names_unsubscribe=["a"]), 0.0)
    proxy.ask(R, "a")
    proxy.catch_up()
    assert proxy.told == [(R, ("a",), ()), (R, ("a",), ())]
    assert (proxy.stream.known(R), proxy.stream.generation) == ({"a": "2"}, 2)


def test_routes_wait_for_clusters_and_clusters_go_last():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.told.clear()
    proxy.silent = True
    new = snapshot(2, made(C, "a->c", "1"), made(E, "b", "1"), FULL[2], made(R, "a", "2"), last=first)
    proxy.offer(new)
    assert proxy.told == [(C, ("a->c",), ())]
    proxy.silent = False
    proxy._take(proxy.stream.hear(DeltaDiscoveryRequest(type_url=C, response_nonce=nonce_of(proxy, C)), 0.0))
    assert proxy.told[1:] == [(R, ("a",), ()), (C, (), ("a->b",))]
    assert proxy.stream.generation == 2


def nonce_of(proxy: Proxy, kind: Kind) -> str:
    return proxy.stream._lanes[kind].flight.nonce


def test_one_bad_resource_is_found_among_many_and_holds_up_none():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.bad = {"bad"}
    many = [made(C, f"a->{n}", "bad" if n == 13 else "1") for n in range(40)]
    proxy.offer(snapshot(2, *FULL[:3], *many, made(R, "a", "2"), last=first))
    assert sum(kind is C for kind, _ in proxy.has) == 40
    assert proxy.has[R, "a"] == "2"
    assert (C, "a->13") not in proxy.has
    refusals = proxy.stream._ledger.refused
    assert [(key, r.words) for key, r in refusals.items()] == [((C, "a->13"), "something in it is bad")]
    assert proxy.stream.generation == 2


def refusing(ledger: Ledger) -> tuple[Proxy, Snapshot]:
    """A proxy that was offered a route table which it refuses, and what it was offered."""
    first = snapshot(1, *FULL)
    proxy = started(first, ledger)
    proxy.bad = {"bad"}
    second = snapshot(2, *FULL[:3], made(R, "a", "bad"), last=first)
    proxy.offer(second)
    return proxy, second


def test_a_new_process_gets_the_last_good_version_of_what_is_bad():
    ledger = Ledger()
    proxy, second = refusing(ledger)
    assert proxy.has[R, "a"] == "1"
    fresh = started(second, ledger)
    fresh.bad = {"bad"}
    assert fresh.has[R, "a"] == "1"
    assert fresh.stream.settled()


def test_that_the_last_good_version_was_taken_does_not_end_the_refusal():
    ledger = Ledger()
    _, second = refusing(ledger)
    fresh = started(second, ledger)
    assert fresh.has[R, "a"] == "1"
    assert ledger.refused[R, "a"].words
    fresh.offer(Snapshot(2, second.resources, frozenset()), ledger.reopen(module.RETRY))
    assert fresh.has[R, "a"] == "bad"
    assert ledger.refused == {}


def test_while_a_route_table_is_refused_no_cluster_goes():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.bad = {"bad"}
    proxy.offer(snapshot(2, *FULL[1:3], made(R, "a", "bad"), last=first))
    assert (C, "a->b") in proxy.has
    second = snapshot(3, *FULL[1:3], made(R, "a", "3"), last=snapshot(2, *FULL[1:3], made(R, "a", "bad")))
    proxy.offer(second)
    assert (C, "a->b") not in proxy.has
    assert proxy.stream._ledger.refused == {}


def test_what_was_refused_is_tried_again_later_and_said_until_it_is_taken():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.bad = {"bad"}
    second = snapshot(2, *FULL[:2], made(L, "a1", "bad", "a"), FULL[3], last=first)
    proxy.offer(second)
    ledger = proxy.stream._ledger
    assert ledger.reopen(module.RETRY - 1) == []
    proxy.bad = set()
    again = ledger.reopen(module.RETRY)
    assert ledger.refused[L, "a1"].words
    proxy.offer(Snapshot(2, second.resources, frozenset()), again)
    assert proxy.has[L, "a1"] == "bad"
    assert ledger.refused == {}


def test_silence_is_refusal_in_the_end_and_routes_do_not_wait_that_long():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.silent = True
    proxy.offer(snapshot(2, made(C, "a->c", "1"), *FULL, last=first))
    proxy.wait(module.PATIENCE + 1)
    assert proxy.stream._ledger.refused[C, "a->c"].words == ""
    proxy.wait(module.SILENCE + module.PATIENCE)
    assert "no answer within" in proxy.stream._ledger.refused[C, "a->c"].words


def test_what_is_too_much_for_one_response_goes_on_once_it_is_answered_and_in_order(monkeypatch):
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.ask(R, "b", "c", "d")
    proxy.told.clear()
    clusters, listeners = [made(C, f"a->{n}", "1") for n in range(5)], [made(L, f"b{n}", "1") for n in range(3)]
    tables = [made(R, name, "2") for name in "abcd"]
    monkeypatch.setattr(module, "LARGE", 2 * len(clusters[0].wire))
    proxy.busy = True
    proxy.offer(snapshot(2, *clusters, *listeners, *tables, last=first))
    assert [(kind, len(names)) for kind, names, _ in proxy.told] == [(C, 2), (L, 0)]
    assert not proxy.stream.settled()
    proxy.catch_up()
    told = [(kind, len(names), removed) for kind, names, removed in proxy.told]
    assert told[0] == (C, 2, ())
    assert told[1] == (L, 0, ("a1",))
    assert told[2:4] == [(C, 2, ()), (C, 1, ())]
    assert [kind for kind, _, _ in told[4:]] == [L, L, R, R, C]
    assert told[-1] == (C, 0, ("a->b",))
    assert (proxy.stream.generation, proxy.stream.settled()) == (2, True)


def test_routes_wait_for_the_listeners_that_were_too_much_for_one_response(monkeypatch):
    listeners = [made(L, f"a{n}", "1", "a") for n in range(3)]
    monkeypatch.setattr(module, "LARGE", 2 * len(listeners[0].wire))
    proxy = Proxy(Stream(Ledger(), snapshot(1, *listeners, made(R, "a", "1"))), busy=True)
    proxy.ask(C)
    proxy.ask(L)
    proxy.ask(R, "a")
    proxy.catch_up()
    assert [(kind, len(names)) for kind, names, _ in proxy.told] == [(C, 0), (L, 2), (L, 1), (R, 1)]


def test_what_is_too_large_goes_alone(monkeypatch):
    large = made(L, "a" * 1000, "1")
    monkeypatch.setattr(module, "LARGE", 100)
    proxy = started(snapshot(1, made(L, "a1", "1"), large, made(L, "a2", "1")))
    assert (L, (large.name,), ()) in proxy.told
    assert len(proxy.has) == 3
    assert proxy.stream.settled()


def test_of_what_is_not_wanted_any_more_no_good_version_is_kept():
    ledger = Ledger()
    last = snapshot(1, *FULL)
    proxy = started(last, ledger)
    for release in range(2, 6):  # each has a route table of its own, and the one before is asked for no more
        table = f"a@{release}"
        last = snapshot(release, *FULL[:2], made(L, "a1", str(release), table), made(R, table, "1"), last=last)
        proxy.offer(last)
        proxy.ask(R, table)
        proxy.stream.hear(DeltaDiscoveryRequest(type_url=R, resource_names_unsubscribe=["a", f"a@{release - 1}"]), 0.0)
        assert {name for kind, name in ledger.good if kind is R} <= {table, f"a@{release - 1}"}
    proxy.offer(snapshot(6, *FULL, last=last))
    proxy.ask(R, "a")
    assert set(ledger.good) == {(r.kind, r.name) for r in FULL}


def test_an_answer_to_something_older_is_ignored():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.silent = True
    proxy.offer(snapshot(2, made(C, "a->b", "2", "b"), *FULL[1:], last=first))
    proxy._take(proxy.stream.hear(DeltaDiscoveryRequest(type_url=C, response_nonce="0"), 0.0))
    assert proxy.stream.known(C) == {"a->b": "1"}
    assert not proxy.stream.settled()


@pytest.mark.parametrize(("kind", "name"), [(C, "a->b"), (L, "a1")])
def test_a_removal_that_is_answered_late_stays_wanted_until_it_is_answered(kind, name):
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.busy = True
    proxy.offer(snapshot(2, *(r for r in FULL if r.name != name), last=first))
    proxy.wait(module.PATIENCE * 3)
    assert not proxy.stream.settled()
    assert name in proxy.stream.known(kind)
    proxy.catch_up()
    assert (kind, name) not in proxy.has
    assert name not in proxy.stream.known(kind)
    assert (proxy.stream.generation, proxy.stream.settled()) == (2, True)


@pytest.mark.parametrize(("kind", "name"), [(C, "a->b"), (L, "a1")])
def test_what_is_wanted_again_before_its_removal_was_answered_is_sent_again(kind, name):
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.busy = True
    second = snapshot(2, *(r for r in FULL if r.name != name), last=first)
    proxy.offer(second)
    proxy.wait(module.PATIENCE + 1)
    proxy.offer(snapshot(3, *FULL, last=second))
    proxy.wait(module.PATIENCE + 1)
    proxy.catch_up()
    assert proxy.has[kind, name] == proxy.stream.known(kind)[name] == "1"
    assert proxy.stream.generation == 3


def test_a_version_that_was_taken_back_before_it_was_answered_is_replaced():
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.busy = True
    second = snapshot(2, *FULL[:2], made(L, "a1", "2", "a"), FULL[3], last=first)
    proxy.offer(second)
    proxy.wait(module.PATIENCE + 1)
    proxy.offer(snapshot(3, *FULL, last=second))
    proxy.wait(module.PATIENCE + 1)
    proxy.catch_up()
    assert proxy.has[L, "a1"] == "1"


@pytest.mark.parametrize("late", [module.PATIENCE + 1, module.SILENCE + 2 * module.PATIENCE])
def test_an_addition_that_is_not_wanted_any_more_before_it_was_answered_is_removed(late):
    first = snapshot(1, *FULL)
    proxy = started(first)
    proxy.busy = True
    second = snapshot(2, *FULL, made(L, "a2", "1", "a"), last=first)
    proxy.offer(second)
    proxy.wait(late)
    proxy.offer(snapshot(3, *FULL, last=second))
    proxy.wait(module.PATIENCE + 1)
    assert proxy.stream.generation < 3
    proxy.catch_up()
    assert (L, "a2") not in proxy.has
    assert proxy.stream.generation == 3
    assert proxy.stream._ledger.refused == {}


def test_what_is_refused_after_a_restart_of_ours_does_not_take_away_what_works():
    ledger = Ledger()
    for _ in range(2):  # with the second stream it is known to be bad, and there is no good one to send
        proxy = Proxy(Stream(ledger, snapshot(1, made(L, "a1", "bad"))), bad={"bad"}, has={(L, "a1"): "1"})
        proxy.ask(L, a1="1")
        assert proxy.has == {(L, "a1"): "1"}
        assert proxy.stream.settled()


CHANGES = st.lists(
    st.dictionaries(
        st.sampled_from([(C, "a->b"), (C, "a->c"), (E, "b"), (E, "c"), (L, "a1"), (L, "a2"), (R, "a")]),
        st.sampled_from(["1", "2", "3", "bad"]),
    ),
    min_size=1,
    max_size=6,
)


SIZES = st.sampled_from([1, 30, module.LARGE])  # one resource a response, two or three, all


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, SIZES)
def test_whatever_is_offered_the_proxy_ends_with_all_that_is_good(monkeypatch, changes, size):
    monkeypatch.setattr(module, "LARGE", size)
    proxy = started()
    proxy.ask(E, "c")
    proxy.bad = {"bad"}
    last = None
    wanted: dict[tuple[Kind, str], str] = {}
    for generation, wanted in enumerate(changes, start=1):
        new = snapshot(generation, *(made(k, n, v, n[-1] if k is C else "") for (k, n), v in wanted.items()), last=last)
        proxy.offer(new)
        last = new
    proxy.wait(60)
    for key, version in wanted.items():
        if version == "bad":
            assert proxy.has.get(key) != "bad"
        else:
            assert proxy.has[key] == version
    if not any(k is R and v == "bad" for (k, _), v in wanted.items()):
        assert {key for key in proxy.has if key[0] in {C, L}} <= set(wanted)
    assert proxy.stream.settled()


PACES = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 1.0, 4.0, 8.0, 40.0])), min_size=6, max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, PACES, SIZES)
def test_however_late_a_proxy_answers_it_ends_with_what_is_wanted_and_nothing_else(monkeypatch, changes, pace, size):
    monkeypatch.setattr(module, "LARGE", size)
    proxy = started()
    proxy.ask(E, "c")
    last = None
    for generation, ((busy, wait), wanted) in enumerate(zip(pace, changes, strict=False), start=1):
        if not busy:
            proxy.catch_up()
        proxy.busy = busy
        good = (made(k, n, v, n[-1] if k is C else "") for (k, n), v in wanted.items() if v != "bad")
        last = snapshot(generation, *good, last=last)
        proxy.offer(last)
        proxy.wait(wait)
    proxy.catch_up()
    proxy.offer(Snapshot(last.generation, last.resources, frozenset()), proxy.stream._ledger.reopen(proxy.now + 10))
    proxy.wait(60)
    lacks = {key for key, resource in last.resources.items() if proxy.has.get(key) != resource.version}
    assert lacks == set()
    assert {key for key in proxy.has if key[0] in {C, L}} == {key for key in last.resources if key[0] in {C, L}}
    for kind in (C, L):
        assert proxy.stream.known(kind) == {name: version for (k, name), version in proxy.has.items() if k is kind}
    assert (proxy.stream.generation, proxy.stream.settled()) == (last.generation, True)
