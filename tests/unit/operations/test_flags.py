"""What may be asked of flags: done at once and whole, or refused with every problem and its mend."""

from __future__ import annotations

import asyncio
import json
from asyncio import run
from dataclasses import replace

import pytest

from atoll import wire
from atoll.errors import Conflict, Refused
from atoll.kit.flags import lint
from atoll.operations import flag_drafts
from atoll.operations import flags as operations
from atoll.operations.flag_edits import to_release
from atoll.store.flags import Author, content

SHOP = """
system: shop
services:
  web: {source: web, flags: [new, size]}
  orders: {source: orders, flags: all}
"""
META = {"owner": "team-a", "kind": "release", "expires": "2099-01-31"}
NEW = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"fractional": [["on", 5], ["off", 95]]},
    "metadata": META,
}
SIZE = {"state": "ENABLED", "variants": {"small": 20, "large": 100}, "defaultVariant": "small", "metadata": META}


@pytest.fixture
def shop(scene_of):
    scene = scene_of(SHOP)
    scene.desk()
    scene.serve_now()
    return scene


@pytest.fixture
def desk(shop):
    return shop.flag_desk()


def write(desk, before=None, **flags):
    return run(desk.write(wire.FlagWrite(json.dumps({"flags": flags}), "ada", "because", before)))


def change(desk, flag, verb="set", **more):
    return run(desk.change(wire.FlagChange(flag, verb, "bob", "it is time", **more)))


def served(desk):
    return json.loads(desk.document().text)["flags"]


def told(shop):
    return [(h.level, h.subject, h.text) for h in shop.happenings]


def test_a_document_is_written_with_who_and_why_in_history_and_journal(shop, desk):
    receipt = write(desk, new=NEW, size=SIZE)
    assert receipt.words == ("version 1 sets new, size",)
    assert served(desk) == {"new": NEW, "size": SIZE}
    (version,) = desk.history(10)
    assert (version, version.actor, version.reason, version.at) == (receipt.version, "ada", "because", shop.at)
    assert told(shop) == [("info", "flags", "sets new, size (ada): because")]
    assert write(desk, new=NEW, size=SIZE | {"defaultVariant": "large"}).words == ("version 2 sets size",)
    assert told(shop)[-1] == ("info", "flag:size", "sets size (ada): because")


def test_the_same_again_is_no_new_version(shop, desk):
    write(desk, new=NEW)
    receipt = write(desk, new=NEW)
    assert (receipt.version.number, receipt.words) == (1, ("nothing differs from what is served",))
    assert len(shop.happenings) == 1


def test_a_document_with_errors_is_refused_with_all_of_them_and_nothing_changes(shop, desk):
    write(desk, new=NEW)
    with pytest.raises(Refused) as error:
        write(desk, new=NEW | {"defaultVariant": "maybe", "metadata": {}}, size=SIZE | {"targeting": {"iff": []}})
    for problem in (
        "/flags/new/defaultVariant: 'maybe' is not among the variants",
        "/flags/new/metadata/owner: nobody owns this flag",
        "/flags/size/targeting/iff: there is no operator iff: write if",
    ):
        assert problem in error.value.message
    assert (served(desk), len(desk.history(10)), len(shop.happenings)) == ({"new": NEW}, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"flags": {}, "flags": {}}',
        '{"flags": 3}',
        '{"flags": {}, "metadata": {"a": NaN}}',
        '{"flags": {}, "metadata": {"a": 1e999}}',
        '{"flags": {}, "metadata": {"a": "\\ud800"}}',
    ],
)
def test_what_is_no_document_is_refused(desk, text):
    with pytest.raises(Refused):
        run(desk.write(wire.FlagWrite(text, "ada", "")))
    assert desk.history(10) == ()


def test_a_document_made_from_another_version_is_a_conflict(desk):
    seen = write(desk, new=NEW).version.etag
    write(desk, before=seen, new=NEW, size=SIZE)
    with pytest.raises(Conflict, match="ada wrote version 2"):
        write(desk, before=seen, new=NEW | {"state": "DISABLED"})
    assert served(desk) == {"new": NEW, "size": SIZE}


def test_warnings_are_told_and_not_refused(desk):
    receipt = write(desk, new=NEW | {"metadata": META | {"expires": "2001-01-31"}})
    assert receipt.version.number == 1
    assert any("it expired" in warning for warning in receipt.warnings)


def test_a_default_a_percentage_and_attributes_are_set(shop, desk):
    write(desk, new=NEW, size=SIZE)
    assert change(desk, "size", variant="large").words == (
        "size: whom targeting leaves alone gets large (it was 100% small)",
    )
    assert change(desk, "new", variant="on", percent=25.0).words == ("new: 25% get on (it was 5% on, 95% off)",)
    said = change(desk, "new", attributes={"owner": "team-b", "state": "DISABLED"})
    assert said.words == ("new: owner is team-b", "new: state is DISABLED")
    after = served(desk)
    assert after["size"]["defaultVariant"] == "large"
    assert after["new"]["targeting"] == {"fractional": [["on", 25], ["off", 75]]}
    assert (after["new"]["metadata"]["owner"], after["new"]["state"]) == ("team-b", "DISABLED")
    assert [v.deed for v in desk.history(2)] == [
        "new: owner is team-b; new: state is DISABLED",
        "new: 25% get on (it was 5% on, 95% off)",
    ]
    assert told(shop)[-1] == (
        "info",
        "flag:new",
        "new: owner is team-b; new: state is DISABLED (bob): it is time",
    )


@pytest.mark.parametrize(
    ("flag", "more", "problems", "hint"),
    [
        ("nwe", {"variant": "on"}, ["there is no flag 'nwe'"], "did you mean new?"),
        ("other-thing", {"variant": "on"}, ["there is no flag"], "flags: new, size"),
        ("new", {}, ["it is not said what of new to set"], "--percent"),
        ("new", {"percent": 5.0}, ["it is not said which variant"], "name the variant"),
        ("new", {"attributes": {"colour": "red"}}, ["there is no attribute colour"], "set state, owner"),
        ("new", {"variant": "maybe", "percent": 10.0}, ["targeting has 0 rollouts between maybe and off"], ""),
        (
            "size",
            {"variant": "huge", "attributes": {"kind": "toy", "expires": "soon"}},
            ["there is no kind of flag toy", "'soon' is not a date", "'huge' is not among the variants"],
            "correct all of it",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_every_problem(desk, flag, more, problems, hint):
    write(desk, new=NEW, size=SIZE)
    with pytest.raises(Refused) as error:
        change(desk, flag, **more)
    assert [p for p in problems if p not in error.value.message] == []
    assert hint in error.value.hint
    assert served(desk) == {"new": NEW, "size": SIZE}


def test_a_default_that_nobody_would_get_is_refused_with_what_to_write_instead(desk):
    write(desk, new=NEW | {"targeting": {"fractional": [["on", 100], ["off", 0]]}})
    with pytest.raises(Refused, match="new: targeting leaves nobody alone, everybody gets on") as error:
        change(desk, "new", variant="off")
    assert error.value.hint.endswith("atoll flags set new off --percent 100")
    assert change(desk, "new", variant="off", percent=100.0).words == ("new: 100% get off (it was 100% on)",)
    change(desk, "new", "kill")
    with pytest.raises(Refused, match="is killed"):
        change(desk, "new", variant="on")


def test_a_kill_acts_at_once_says_whom_it_hits_and_can_be_taken_back(shop, desk):
    write(desk, new=NEW, other=SIZE)
    receipt = change(desk, "new", "kill")
    assert receipt.words == (
        "new is killed: everybody gets off (it was 5% on, 95% off)",
        "it hits web, orders",
    )
    assert change(desk, "other", "kill").words[1] == "it hits orders"
    assert desk.view().flags[0].killed
    said = "new is killed: everybody gets off (it was 5% on, 95% off) (bob): it is time"
    assert told(shop)[1] == ("warning", "flag:new", said)
    assert change(desk, "new", "kill").words == ("new is killed already",)
    assert desk.history(1)[0].deed.startswith("other is killed")
    assert change(desk, "new", "revive").words == ("new is as it was before it was killed: 5% on, 95% off",)
    assert served(desk)["new"] == NEW


def test_a_kill_does_not_wait_for_the_mend_of_something_else(shop, desk):
    write(desk, new=NEW, size=SIZE)
    document = {"flags": {"new": NEW, "size": SIZE | {"targeting": {"iff": []}}}}
    author = shop.store.flags.current().author  # an older version had let it through
    shop.store.flags.write(content(document), author, before=shop.store.flags.current().etag)
    assert change(desk, "new", "kill").version.number == 3
    with pytest.raises(Refused, match="there is no operator iff"):
        change(desk, "new", "revive")


@pytest.mark.parametrize(
    ("flag", "verb", "problem"),
    [
        ("nwe", "kill", "there is no flag 'nwe'"),
        ("bare", "kill", "neither a killVariant nor a defaultVariant"),
        ("new", "revive", "new is not killed"),
        ("new", "explode", "a flag knows no 'explode'"),
    ],
)
def test_a_kill_that_makes_no_sense_is_refused(desk, flag, verb, problem):
    write(desk, new=NEW, bare={k: v for k, v in SIZE.items() if k != "defaultVariant"})
    with pytest.raises(Refused, match=problem):
        change(desk, flag, verb)


def test_a_document_older_than_a_kill_does_not_revive_the_flag(shop, desk):
    write(desk, new=NEW, size=SIZE)
    change(desk, "new", "kill")
    for stale in (
        lambda: write(desk, new=NEW, size=SIZE | {"defaultVariant": "large"}),
        lambda: write(desk, before=desk.document().version.etag, new=NEW, size=SIZE),
        lambda: run(desk.rollback(wire.FlagRollback(None, "ci", ""))),
    ):
        with pytest.raises(Refused, match="new is killed, and this would revive it: 5% on, 95% off") as error:
            stale()
        assert "first: atoll flags revive new" in error.value.hint
    assert len(desk.history(10)) == 2
    dead = served(desk)["new"]
    write(desk, new=dead, size=SIZE | {"defaultVariant": "large"})
    assert desk.view().flags[0].killed
    write(desk, size=SIZE)  # gone is not alive
    write(desk, new=NEW, size=SIZE)
    assert served(desk)["new"] == NEW


def test_a_flag_that_only_says_that_it_is_killed_is_refused_and_can_be_killed(shop, desk):
    write(desk, new=NEW)
    change(desk, "new", "kill")
    marked = served(desk)["new"] | {"targeting": NEW["targeting"]}
    with pytest.raises(Refused, match="/flags/new/metadata/killed: this says that the flag is killed, and"):
        write(desk, new=marked)
    current = shop.store.flags.current()  # an older version had let it through
    shop.store.flags.write(content({"flags": {"new": marked}}), current.author, before=current.etag)
    assert not desk.view().flags[0].killed
    with pytest.raises(Refused, match="new is not killed"):
        change(desk, "new", "revive")
    assert change(desk, "new", "kill").words[0] == "new is killed: everybody gets off (it was 5% on, 95% off)"
    assert change(desk, "new", "revive").words == ("new is as it was before it was killed: 5% on, 95% off",)


def test_killing_what_is_disabled_says_who_gets_what(desk):
    write(desk, new=NEW | {"state": "DISABLED"})
    said = "new is killed: it stays disabled, so the code's own default counts; once enabled, everybody gets off"
    assert change(desk, "new", "kill").words[0] == said
    assert change(desk, "new", "kill").words == ("new is killed already",)


def test_an_earlier_version_comes_back_as_a_new_one(shop, desk):
    write(desk, new=NEW)
    write(desk, new=NEW, size=SIZE)
    write(desk, size=SIZE)
    receipt = run(desk.rollback(wire.FlagRollback(None, "bob", "it was better")))
    assert (receipt.version.number, receipt.words) == (4, ("version 4 goes back to version 2: new",))
    assert served(desk) == {"new": NEW, "size": SIZE}
    run(desk.rollback(wire.FlagRollback(1, "bob", "")))
    assert served(desk) == {"new": NEW}
    assert desk.document(3).version.deed == "sets new"
    with pytest.raises(Refused, match="there is no version 99"):
        run(desk.rollback(wire.FlagRollback(99, "bob", "")))


def test_without_a_version_before_there_is_nothing_to_go_back_to(desk):
    with pytest.raises(Refused, match="there is no version 0"):
        run(desk.rollback(wire.FlagRollback(None, "bob", "")))


def test_what_nobody_asks_for_and_what_is_the_same_for_everybody_is_dead_after_a_month(shop, desk):
    write(desk, new=NEW, size=SIZE)
    shop.at += 29 * 86400
    assert [f.due for f in desk.view().flags] == [(), ()]
    shop.at += 86400
    assert [f.due for f in desk.view().flags] == [
        (),
        ("settled for 30 days: write small into the code and remove the flag",),
    ]


# --- what happens while a document is checked, in a thread ----------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch):
    """Has something done in the loop while a document is checked: where that blocks the loop, it is never done."""

    def arrange(*acts):
        left, loop = list(acts), asyncio.get_running_loop()

        def checking(document, *, today):
            if left:
                asyncio.run_coroutine_threadsafe(left.pop(0)(), loop).result(10)
            return lint(document, today=today)

        monkeypatch.setattr(flag_drafts, "lint", checking)

    return arrange


def changing(desk, flag, verb="set", **more):
    return lambda: desk.change(wire.FlagChange(flag, verb, "bob", "it is time", **more))


def stepped(desk, **flags):
    """As a release writes the document when it goes one step on."""
    store, author = desk.store.flags, Author(0.0, "atoll", "steps", "")

    async def act():
        store.write(content({"flags": flags}), author, before=store.current().etag)

    return act


def test_a_kill_does_not_wait_until_a_document_is_checked_which_then_does_not_revive_it(desk, meanwhile):
    async def story():
        meanwhile(changing(desk, "new", "kill"))
        with pytest.raises(Refused, match="new is killed, and this would revive it"):
            await desk.write(wire.FlagWrite(json.dumps({"flags": {"new": NEW}}), "ada", ""))

    write(desk, new=NEW, size=SIZE)
    run(story())
    assert [v.actor for v in desk.history(9)] == ["bob", "ada"]


def test_a_change_of_one_flag_is_made_of_what_came_meanwhile(desk, meanwhile):
    async def story():
        meanwhile(changing(desk, "new", "kill"), stepped(desk, size=SIZE))
        await changing(desk, "size", variant="large")()

    write(desk, new=NEW, size=SIZE)
    run(story())
    assert served(desk) == {"size": SIZE | {"defaultVariant": "large"}}


def test_who_says_what_it_is_made_of_is_told_of_what_came_meanwhile(desk, meanwhile):
    async def story():
        meanwhile(stepped(desk, size=SIZE))
        with pytest.raises(Conflict, match="atoll wrote version 2"):
            await desk.write(wire.FlagWrite(json.dumps({"flags": {}}), "ada", "", seen))

    seen = write(desk, new=NEW).version.etag
    run(story())
    assert served(desk) == {"size": SIZE}


def test_the_version_before_is_not_one_that_came_meanwhile(desk, meanwhile):
    async def story():
        meanwhile(stepped(desk))
        with pytest.raises(Conflict, match="atoll wrote version 3"):
            await desk.rollback(wire.FlagRollback(None, "ada", ""))
        meanwhile(stepped(desk, size=SIZE))
        await desk.rollback(wire.FlagRollback(1, "ada", ""))

    write(desk, new=NEW)
    write(desk, new=NEW, size=SIZE)
    run(story())
    assert served(desk) == {"new": NEW}


def test_where_others_write_without_end_nothing_is_changed_and_that_is_said(desk, meanwhile):
    async def story():
        meanwhile(*(stepped(desk, size=SIZE, new=NEW | {"metadata": META | {"step": n}}) for n in range(9)))
        with pytest.raises(Conflict, match="change faster than they can be checked"):
            await changing(desk, "size", variant="large")()

    write(desk, new=NEW, size=SIZE)
    run(story())
    assert served(desk)["size"] == SIZE


def test_what_is_asked_for_at_once_is_done_one_after_the_other(desk):
    async def story():
        await asyncio.gather(*(changing(desk, flag, attributes={"owner": f"team-{flag}"})() for flag in "abcdefgh"))

    write(desk, **dict.fromkeys("abcdefgh", SIZE))
    run(story())
    assert {flag: made["metadata"]["owner"] for flag, made in served(desk).items()} == {
        f: f"team-{f}" for f in "abcdefgh"
    }


def test_a_release_begins_from_what_came_meanwhile(shop, desk, monkeypatch):
    later = NEW | {"targeting": {"fractional": [["on", 20], ["off", 80]]}}
    steps = [stepped(desk, new=later)]

    def starting(document, request):
        if steps:
            asyncio.run_coroutine_threadsafe(steps.pop()(), loop).result(10)
        return to_release(document, request)

    async def story():
        nonlocal loop
        loop = asyncio.get_running_loop()
        await desk.release(wire.FlagReleaseRequest("new", "on", "ada", ""))

    loop = None
    monkeypatch.setattr(operations, "to_release", starting)
    write(desk, new=NEW)
    run(story())
    assert json.loads(moving(shop).before) == later


# --- releases -------------------------------------------------------------------------------------------------------


def release(desk, flag="new", variant="on", **more):
    return run(desk.release(wire.FlagReleaseRequest(flag, variant, "ada", "it is time", **more)))


def moving(shop, flag="new"):
    return shop.store.flags.releases.find(flag)


def test_a_release_begins_dark_with_what_an_abort_puts_back_and_says_what_comes(shop, desk):
    write(desk, new=NEW)
    steps = (wire.FlagStep(10, 30.0), wire.FlagStep(50, 60.0))
    receipt = release(desk, steps=steps, most=120.0, bake=5.0)
    assert receipt.words[0] == "release 1 of new: on goes to 10%, 50% of all people, then to everybody"
    assert "atoll promote, hold, resume or abort flag:new" in receipt.words[1]
    found = moving(shop)
    assert (found.progress.state, found.progress.asked, found.progress.reason) == ("dark", True, "it is time")
    assert [(s.weight, s.least) for s in found.rollout.steps] == [(10, 30.0), (50, 60.0)]
    assert (found.rollout.most, found.rollout.bake, json.loads(found.before)) == (120.0, 5.0, NEW)
    (view,) = desk.view().flags
    assert (view.releasing, view.progress.service, view.progress.state) == ("on", "flag:new", "dark")
    assert told(shop)[-1][:2] == ("info", "flag:new")
    assert served(desk) == {"new": NEW}


def test_the_usual_steps_are_those_that_are_more_than_there_is(shop, desk):
    write(desk, new=NEW | {"targeting": {"fractional": [["on", 30], ["off", 70]]}}, size=SIZE)
    release(desk)
    release(desk, "size", "large")
    assert [s.weight for s in moving(shop).rollout.steps] == [50]
    assert [s.weight for s in moving(shop, "size").rollout.steps] == [5, 25, 50]


def test_two_of_one_flag_are_refused(shop, desk):
    write(desk, new=NEW)
    release(desk)
    with pytest.raises(Refused, match=r"new is being released \(dark at 0%\)") as error:
        release(desk)
    assert "atoll abort flag:new" in error.value.hint
    assert len(shop.store.flags.releases.on_their_way()) == 1


THREE = SIZE | {"variants": {"small": 20, "large": 100, "huge": 500}}
STAFF = NEW | {"targeting": {"if": [{"var": "staff"}, "on"]}}
DEAD = NEW | {"metadata": META | {"killed": True}, "targeting": {"if": [True, "off"]}}


@pytest.mark.parametrize(
    ("flag", "more", "problems"),
    [
        (NEW, {"variant": "maybe"}, ["there is no variant 'maybe': write on or off"]),
        (NEW | {"state": "DISABLED"}, {}, ["it is disabled: set --state ENABLED first"]),
        (DEAD, {}, ["it is killed: revive it first"]),
        (SIZE, {"variant": "small"}, ["everybody gets small already"]),
        (THREE, {"variant": "small"}, ["everybody gets small already"]),
        (STAFF, {}, ["targeting has 0 rollouts between on and off"]),
        (THREE | {"defaultVariant": None}, {"variant": "large"}, ["it is not clear who gets what is not large"]),
        (NEW, {"rest": "maybe"}, ["targeting has 0 rollouts between on and maybe"]),
        (
            NEW,
            {"steps": ((5, 1.0), (50, 0.0), (20, 60.0), (100, 1e9)), "most": 0.5, "bake": 1e9},
            [
                "5% after 5% cannot be",
                "a step of 0 s cannot be",
                "20% after 50% cannot be",
                "100% after 50% cannot be",
                "a step of 1e+09 s",
                "most is 0.5 s",
                "bake is 1e+09 s",
            ],
        ),
    ],
)
def test_a_release_that_makes_no_sense_is_refused_with_every_problem(shop, desk, flag, more, problems):
    write(desk, new=flag)
    more = more | {"steps": tuple(wire.FlagStep(*s) for s in more.get("steps", ()))}
    with pytest.raises(Refused) as error:
        release(desk, **more)
    assert [p for p in problems if p not in error.value.message] == []
    assert moving(shop) is None


def test_whom_the_rest_gets_can_be_said(shop, desk):
    write(desk, new=THREE | {"defaultVariant": None})
    release(desk, variant="large", rest="small")
    assert moving(shop).rest == "small"


def test_a_flag_that_nobody_may_ask_for_will_hold_and_that_is_said(shop, desk):
    write(desk, new=NEW, other=SIZE)
    assert release(desk).warnings == ()
    shop.store.request("down", (), b"{}", shop.at)
    change_ = shop.store.last_change()
    shop.store.take_effect(change_, replace(shop.system, services={}), (), (), shop.at)
    assert "no service may ask for other" in release(desk, "other", "large").warnings[0]


def test_what_a_release_changes_nobody_else_may_but_other_flags_go_on(shop, desk):
    write(desk, new=NEW, size=SIZE)
    release(desk)
    for act in (
        lambda: write(desk, size=SIZE),
        lambda: write(desk, new=NEW | {"defaultVariant": "on"}, size=SIZE),
        lambda: change(desk, "new", variant="on"),
    ):
        with pytest.raises(Refused, match="new is being released"):
            act()
    change(desk, "size", variant="large")
    assert served(desk)["new"] == NEW


def test_a_kill_ends_the_release_and_keeps_what_there_was_before(shop, desk):
    write(desk, new=NEW)
    release(desk)
    assert change(desk, "new", "kill").words[-1] == "its release of on is over"
    (asked,) = shop.store.asked()
    assert (asked.service, asked.signal, asked.actor, asked.reason) == ("flag:new", "abort", "bob", "it is time")
