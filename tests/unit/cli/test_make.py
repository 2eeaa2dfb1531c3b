from __future__ import annotations

import io
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from atoll.cli import follow
from atoll.drivers.builders.build import LocalBuilder
from atoll.model.load import load
from atoll.server import settings
from atoll.server.sources import digests
from atoll.store.store import Store


@pytest.fixture
def file(here):
    return here / "atoll.yaml"


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self):
        return True


def change(file, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def recorded(here, scene, file, monkeypatch):
    """What a control plane that has died wrote down: every service runs its first release."""
    where = settings.settings(here / ".atoll")
    artifacts = digests(LocalBuilder(where.artifacts, where.logs), load(file))
    made = scene.recipe
    monkeypatch.setattr(type(scene), "recipe", lambda _, name, n: replace(made(name, n), artifact=artifacts[name]))
    scene.store = Store(where.database)
    scene.serve_now()
    scene.store.close()
    return where


def test_plan_without_a_control_plane_shows_what_a_first_start_would_do_and_that_it_asked_nobody(atoll):
    said = atoll("plan")
    assert said.code == 1
    assert said.out.splitlines()[0].startswith("! no control plane answers here: this is against nothing")
    assert "+ web: builds it and starts 1 instance (it is new)" in said.out
    assert "plan " not in said.out.splitlines()[-1]


def test_plan_without_a_control_plane_is_against_what_was_written_down(atoll, recorded, file):
    said = atoll("plan")
    assert said.code == 0
    assert "no control plane answers here, and nobody has looked at what runs" in said.out
    assert said.out.splitlines()[-1] == "Nothing to do: what was applied last is what the file says."
    change(file, "instances: 2", "instances: 3")
    (file.parent / "web" / "main.py").write_text("print(2)\n")
    said = atoll("plan")
    assert said.code == 1
    assert [d["kind"] for d in atoll("plan", "--json").json.differences] == ["release", "scale"]
    assert "web: new release: replaces 1 instance without a gap" in said.out
    assert "plan " not in said.out.splitlines()[-1]


def test_plan_without_a_control_plane_knows_what_was_taken_back(atoll, recorded, scene):
    now = scene.recipe("web", 1)
    with closing(Store(recorded.database)) as store:
        for kind, artifact in (("deploy", "f" * 64), ("deploy", now.artifact), ("rollback", "f" * 64)):
            change = store.request(kind, ("web",), b"{}", 1.0)
            store.take_effect(change, scene.system, [replace(now, artifact=artifact)], (), 1.0)
            store.promote("web", change.number)
            store.move(change.number, "done")
    said = atoll("plan")
    assert said.code == 0
    assert "! web: what is here now was taken back as release 3 (release 4 took its place again)" in said.out
    assert said.out.splitlines()[-1] == "Nothing else to do."


def test_plan_without_a_control_plane_changes_nothing(atoll, recorded):
    before = recorded.database.read_bytes()
    atoll("plan")
    assert recorded.database.read_bytes() == before
    assert {path.name for path in recorded.state.iterdir()} <= {"state.db", "state.db-wal", "state.db-shm"}


def test_plan_without_a_control_plane_says_where_a_source_cannot_be_used_or_the_state_not_be_read(atoll, recorded):
    (recorded.state.parent / "web" / "main.py").unlink()
    assert (atoll("plan").code, "web: nothing in" in atoll("plan").err) == (255, True)
    recorded.database.write_bytes(b"this is no database" * 1000)
    assert (atoll("plan").code, "cannot be read" in atoll("plan").err) == (255, True)


def test_plan_exits_0_where_there_is_nothing_to_do(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    said = atoll("plan")
    assert said.code == 0
    assert "Nothing to do" in said.out


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_where_there_is_nothing_to_do_it_is_said_what_is_not_ready(atoll, control_plane, scene, command):
    control_plane.call(scene.serve_now)
    scene.steady()
    scene.seen["orders"].clear()
    said = atoll(command)
    assert said.code == 0
    assert said.out.splitlines()[-2:] == [
        "Nothing to do: what runs is what the file says.",
        "! not as wanted yet: orders: it vanished, and is not replaced yet",
    ]


def test_plan_exits_1_where_there_is_something_to_do(atoll, control_plane, scene, file):
    control_plane.call(scene.serve_now)
    change(file, "instances: 2", "instances: 3")
    said = atoll("plan")
    assert said.code == 1
    assert "orders: starts 1 instance" in said.out
    assert "services.orders.instances: 2 → 3" in said.out
    assert [d["subject"] for d in atoll("plan", "--json").json.differences] == ["orders"]
    assert atoll("plan", "--json").code == 1


@pytest.mark.parametrize(("command", "code"), [(["plan"], 255), (["apply", "--yes"], 2)])
def test_a_source_that_cannot_be_used_is_never_nothing_to_do(atoll, control_plane, scene, command, code):
    control_plane.call(scene.serve_now)
    scene.unusable = "orders: the link x leads out"
    said = atoll(*command)
    assert (said.code, said.out) == (code, "")
    assert said.err == "atoll: orders: the link x leads out\n  → copy the file in, or ignore it\n"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_plan_exits_255_on_an_error_and_shows_every_problem(atoll, file, more):
    change(file, "instances: 2", "instances: none\n    colour: red")
    said = atoll("plan", *more)
    assert (said.code, said.out) == (255, "")
    assert "2 problems in the system file" in said.err
    assert "atoll.yaml:" in said.err


@pytest.mark.parametrize(
    "arguments", [["plan", "--nonsense"], ["plan", "too-many"], ["plan", "--file", "nowhere.yaml"]]
)
def test_plan_exits_255_on_a_wrong_command_line_too(atoll, arguments):
    assert atoll(*arguments).code == 255


def test_apply_does_what_it_shows_and_says_how_it_ended(atoll, control_plane, scene):
    said = atoll("apply", "--yes")
    assert said.code == 0
    assert "+ orders" in said.out
    assert said.out.splitlines()[-1] == "done: apply"
    assert control_plane.call(lambda: scene.store.last_change().services) == ("web", "orders", "payments")


def test_apply_for_programs_prints_one_value(atoll, control_plane, scene):
    assert atoll("apply", "--yes", "--json").json.state == "done"
    control_plane.call(scene.serve_now)
    assert atoll("apply", "--json").json.differences == []


def test_apply_that_fails_prints_its_change_for_programs_all_the_same(atoll, control_plane, scene):
    scene.outcome = ("failed", "orders: no [such] tool")
    said = atoll("apply", "--yes", "--json")
    assert said.code == 1
    assert (said.json.state, said.json.reason) == ("failed", "orders: no [such] tool")
    assert "change 1 (apply) failed:\norders: no [such] tool" in said.err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_apply_asks_for_a_yes_where_nobody_can_say_it(atoll, control_plane, scene, more):
    said = atoll("apply", *more)
    assert said.code == 2
    assert "nothing was changed" in said.err
    assert "→ say --yes, or --index INDEX" in said.err
    assert control_plane.call(scene.store.last_change) is None


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130)])
def test_apply_in_a_terminal_asks(atoll, control_plane, scene, monkeypatch, answer, code):
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    said = atoll("apply")
    assert said.code == code
    assert ("nothing was changed" in said.err) == (code != 0)
    assert (control_plane.call(scene.store.last_change) is None) == (code != 0)


def test_ctrl_c_leaves_the_change_on_its_way_and_says_so(atoll, control_plane, scene, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "_drawn", interrupted)
    said = atoll("apply", "--yes")
    assert said.code == 130
    assert "change 1 (apply) goes on without this command: `atoll status` shows how far it is" in said.err


def test_apply_of_what_is_already_there_asks_for_nothing(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    before = control_plane.call(lambda: scene.store.last_change().number)
    said = atoll("apply")
    assert said.code == 0
    assert "Nothing to do" in said.out
    assert control_plane.call(lambda: scene.store.last_change().number) == before


def test_apply_with_the_index_of_another_plan_changes_nothing(atoll, control_plane, scene):
    said = atoll("apply", "--index", "0-0000")
    assert said.code == 3
    assert "the plan has changed since it was shown" in said.err
    assert "→ look again with `atoll plan`" in said.err
    assert control_plane.call(scene.store.last_change) is None


def test_apply_with_the_index_of_this_plan_applies_it(atoll, control_plane):
    index = atoll("plan", "--json").json.index
    assert atoll("apply", "--index", index).code == 0


def test_apply_that_fails_says_why(atoll, control_plane, scene):
    scene.outcome = ("failed", "orders: no [such] tool")
    said = atoll("apply", "--yes")
    assert said.code == 1
    assert "change 1 (apply) failed:\norders: no [such] tool" in said.err


def test_apply_that_this_host_refuses_says_why(atoll, control_plane, scene):
    scene.refusals = ("port 8080 is taken",)
    said = atoll("apply", "--yes")
    assert (said.code, "port 8080 is taken" in said.err) == (2, True)


def test_apply_without_a_control_plane_says_how_to_start_one(atoll):
    said = atoll("apply", "--yes")
    assert said.code == 4
    assert "→ start it with `atoll up`" in said.err


def test_a_warning_is_shown_with_the_plan(atoll, file):
    change(file, "calls: [orders]", "calls: [orders]\n    runtime: process")
    change(file, "    source: orders", "    source: orders\n    runtime: process")
    change(file, "    source: payments", "    source: payments\n    runtime: process")
    said = atoll("plan", "--json")
    shown = atoll("plan").out
    assert said.code == 1
    for warning in said.json.warnings:
        assert f"! {warning}" in shown
