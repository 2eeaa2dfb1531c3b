"""A release is followed to its end, told once for each change, and the exit code knows how it ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll import wire
from atoll.cli import watch as module
from atoll.cli.watch import watch
from atoll.errors import Failed, Refused

DARK = wire.ProgressView("orders", 7, 6, "dark", 0, 0, 3, 0.0, "ready", ("release", "abort"))
CANARY = replace(DARK, state="canary", weight=5, step=1, reason="capacity is there", evidence="canary 0 of 12 bad")
OTHER = replace(CANARY, service="web", release=2, stable=1)


class Caller:
    """Shows one set of views after the other, and then how the releases ended."""

    def __init__(self, looks, **ends):
        self.looks = list(looks)
        self.ends = ends

    def progress(self):
        return self.looks.pop(0) if self.looks else ()

    def releases(self, service):
        state, note = self.ends[service]
        number = 7 if service == "orders" else 2
        older = wire.ReleaseView(service, number - 1, 0.0, "a" * 64, "retired", "")
        return [wire.ReleaseView(service, number, 0.0, "a" * 64, state, note), older]


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(module, "LOOK", 0.0)


def test_each_change_is_told_once_and_then_the_end(capsys):
    looks = [(DARK,), (DARK,), (DARK,), (CANARY,), (replace(CANARY, evidence="canary 0 of 99 bad"),)]
    looks.append((replace(CANARY, weight=0, evidence="canary 3 of 40 bad"),))
    watch(Caller(looks, orders=("serving", "all is well")), "orders", json_=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "orders release 7 beside 6 is dark at 0%: ready",
        "orders release 7 beside 6 is canary at 5%, step 1 of 3: canary 0 of 12 bad",
        "orders release 7 beside 6 is canary out of traffic for a moment, step 1 of 3: canary 3 of 40 bad",
        "orders release 7 is serving: all is well",
    ]


def test_one_that_is_taken_back_fails(capsys):
    caller = Caller([(CANARY,), (CANARY,)], orders=("rolled-back", "canary 14 of 2,310 bad"))
    with pytest.raises(Failed, match="orders release 7 is rolled-back"):
        watch(caller, "orders", json_=False)
    assert "canary 14 of 2,310 bad" in capsys.readouterr().out


def test_a_flag_that_everybody_got_is_good(capsys):
    flag = replace(CANARY, service="flag:new", release=2, stable=None)
    watch(Caller([(flag,)] * 2, **{"flag:new": ("released", "nothing went wrong")}), "flag:new", json_=False)
    assert "flag:new release 2 is released: nothing went wrong" in capsys.readouterr().out


def test_others_are_not_looked_at_and_all_are_where_none_is_named(capsys):
    watch(Caller([(CANARY, OTHER)] * 2, orders=("serving", "")), "orders", json_=False)
    assert "web" not in capsys.readouterr().out
    watch(Caller([(CANARY, OTHER), (CANARY, OTHER)], orders=("serving", ""), web=("serving", "")), None, json_=False)
    assert "web release 2 is serving" in capsys.readouterr().out


def test_for_programs_it_is_a_view_for_each_change(capsys):
    watch(Caller([(CANARY,)] * 3, orders=("serving", "")), None, json_=True)
    first, last = capsys.readouterr().out.splitlines()
    assert wire.decode(first, wire.ProgressView) == CANARY
    assert wire.decode(last, wire.ReleaseView).state == "serving"


def test_where_none_is_on_its_way_it_says_how_to_begin():
    with pytest.raises(Refused, match="no release of orders is on its way") as error:
        watch(Caller([]), "orders", json_=False)
    assert error.value.hint == "begin one with `atoll deploy`, then `atoll release`"
    with pytest.raises(Refused, match="no release of flag:new is on its way") as error:
        watch(Caller([]), "flag:new", json_=False)
    assert error.value.hint == "begin one with `atoll flags release new --to VARIANT`"


def test_in_a_terminal_it_is_drawn_with_what_the_judge_says(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(module.out, "_force_terminal", True)
    monkeypatch.setattr(module.Live, "update", lambda _self, group: drawn.append(group))
    watch(Caller([(CANARY,)] * 3, orders=("serving", "")), "orders", json_=False)
    words = [str(line) for line in drawn[-1].renderables]
    assert words[1].startswith("  ██░░")
    assert "  judge: canary 0 of 12 bad" in words
    assert any("atoll release, atoll abort" in word for word in words)
    capsys.readouterr()
