"""Flags from the command line."""

from __future__ import annotations

import io
import json
import re
import shlex
from datetime import date
from pathlib import Path

import click
import pytest

from atoll.cli import main
from atoll.kit.flags import lint
from atoll.model.load import loads

META = {"owner": "team-a", "kind": "release", "expires": "2020-01-31"}
NEW = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"fractional": [["on", 5], ["off", 95]]},
    "metadata": META,
}
OPS = {
    "state": "ENABLED",
    "variants": {"a": 1, "b": 2},
    "defaultVariant": "a",
    "metadata": {"owner": "b", "kind": "ops"},
}
DOCUMENT = {"flags": {"new": NEW, "size": OPS, "odd": OPS | {"targeting": {"if": [{"var": "x"}, "b"]}}}}


@pytest.fixture
def document(here):
    def write(text):
        path = here / "flags.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return str(path)

    return write


@pytest.fixture
def shop(atoll, control_plane, scene, document, monkeypatch):
    """Some flags, that were set."""
    control_plane.scene = scene
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert atoll("flags", "set", document(DOCUMENT), "--reason", "to begin").code == 0
    return control_plane


def test_without_flags_it_is_said_how_to_begin(atoll, control_plane):
    assert "atoll flags set FILE" in atoll("flags", "list").out


def test_a_file_is_set_with_its_warnings_and_goes_into_history(atoll, control_plane, document, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    said = atoll("flags", "set", document(DOCUMENT), "--reason", "to begin")
    assert (said.code, said.out) == (0, "version 1 sets new, odd, size\n")
    assert "/flags/new/metadata/expires: it expired" in said.err
    (entry,) = atoll("flags", "history", "--json").items
    assert (entry.number, entry.actor, entry.reason) == (1, "ada", "to begin")
    assert "to begin" in atoll("flags", "history").out


def test_each_flag_is_listed_with_who_gets_what(atoll, shop):
    lines = [line.split("  ") for line in atoll("flags", "list").out.splitlines()]
    rows = {row[0]: [cell.strip() for cell in row if cell.strip()] for row in lines}
    assert rows["new"] == ["new", "5% on, 95% off", "team-a", "release", "2020-01-31", "nobody"]
    assert rows["size"][1] == "100% a"
    assert rows["odd"][1] == "targeting, else a"
    assert "new: overdue for" in atoll("flags", "list").out
    assert [one["name"] for one in atoll("flags", "list", "--json").json.flags] == ["new", "size", "odd"]


def test_one_flag_is_set_killed_revived_and_disabled(atoll, shop):
    assert atoll("flags", "set", "size", "b").out == "size: whom targeting leaves alone gets b (it was 100% a)\n"
    assert atoll("flags", "set", "new", "on", "--percent", "25").out == "new: 25% get on (it was 5% on, 95% off)\n"
    assert atoll("flags", "set", "new", "--owner", "team-b", "--kill-variant", "on").code == 0
    killed = atoll("flags", "kill", "new", "--reason", "it hurts").out
    assert "new is killed: everybody gets on (it was 25% on, 75% off)" in killed
    assert "no service may ask for it" in killed
    assert "atoll flags revive new" in killed
    assert "killed: 100% on" in atoll("flags", "list").out
    assert "25% on, 75% off" in atoll("flags", "revive", "new").out
    assert atoll("flags", "set", "new", "--state", "DISABLED").code == 0
    assert "disabled" in atoll("flags", "list").out


def test_what_was_shown_can_be_changed_and_set_again_unless_somebody_was_faster(atoll, shop, document):
    shown = atoll("flags", "show")
    etag = shown.err.split()[-1]
    assert json.loads(shown.out) == DOCUMENT
    path = document(json.loads(shown.out) | {"$schema": "https://flagd.dev/schema/v0/flags.json"})
    done = atoll("flags", "set", path, "--based-on", etag)
    assert done.out == "version 2 sets nothing but what is around the flags\n"
    late = atoll("flags", "set", document(DOCUMENT), "--based-on", etag)
    assert (late.code, "ada wrote version 2" in late.err) == (3, True)
    assert atoll("flags", "rollback").out == "version 3 goes back to version 1: nothing but what is around the flags\n"
    assert "$schema" in json.loads(atoll("flags", "show", "--version", "2").out)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("set", "nwe", "on"), "did you mean new?"),
        (("set", "no-such.json"), "no-such.json cannot be read: No such file or directory"),
        (("set", "new", "on", "--based-on", "1-abc"), "--based-on is for a whole document"),
        (("set", "new"), "it is not said what of new to set"),
        (("kill", "size", "x"), "unexpected extra argument"),
        (("kill", "nwe"), "there is no flag 'nwe'"),
        (("rollback", "7"), "there is no version 7"),
    ],
)
def test_nonsense_is_refused(atoll, shop, command, problem):
    said = atoll("flags", *command)
    assert (said.code, problem in said.err) == (2, True)


def test_a_file_is_checked_without_a_control_plane(atoll, here, document):
    good = atoll("flags", "lint", document({"flags": {"size": OPS}}))
    assert (good.code, good.out) == (0, "no errors\n")
    doubtful = atoll("flags", "lint", document(DOCUMENT))
    assert (doubtful.code, "it expired" in doubtful.out) == (0, True)
    bad = document({"flags": {"size": OPS | {"state": "on", "targeting": {"iff": []}}}})
    said = atoll("flags", "lint", bad)
    assert said.code == 2
    assert "/flags/size/state: the state is 'on': write ENABLED or DISABLED" in said.err
    assert "there is no operator iff" in said.err
    machine = atoll("flags", "lint", bad, "--json")
    assert (machine.code, [f.path for f in machine.items]) == (2, ["/flags/size/state", "/flags/size/targeting/iff"])
    assert "this is not JSON" in atoll("flags", "lint", document("{")).err
    assert "it is not UTF-8" in atoll("flags", "lint", binary(here)).err


@pytest.mark.parametrize("command", ["lint", "set"])
def test_a_dash_is_standard_input(atoll, control_plane, monkeypatch, command):
    for text, problem in ((json.dumps(DOCUMENT).encode(), ""), (b"{", "this is not JSON"), (b"\xff", "not UTF-8")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        said = atoll("flags", command, "-")
        assert (said.code, problem in said.err) == (2 if problem else 0, True)


def test_a_state_is_said_in_any_case_and_no_other_word_is_taken(atoll, shop):
    assert atoll("flags", "set", "size", "--state", "disabled").out == "size: state is DISABLED\n"
    said = atoll("flags", "set", "size", "--state", "off")
    assert (said.code, "'off' is not one of" in said.err) == (2, True)


def binary(here):
    path = here / "binary.json"
    path.write_bytes(b"\xff\xfe")
    return str(path)


def test_a_release_is_begun_listed_and_steered(atoll, shop):
    said = atoll("flags", "release", "new", "--to", "on", "--steps", "10%, 50%:5m", "--for", "30s", "--bake", "1m")
    assert "release 1 of new: on goes to 10%, 50% of all people, then to everybody" in said.out
    assert "no service may ask for new" in said.err
    assert "release of on: dark at 0%" in atoll("flags", "list").out
    (release,) = shop.call(lambda: list(shop.scene.store.flags.releases.on_their_way()))
    assert [(s.weight, s.least) for s in release.rollout.steps] == [(10, 30.0), (50, 300.0)]
    assert (release.rollout.most, release.rollout.bake) == (600.0, 60.0)
    twice = atoll("flags", "release", "new", "--to", "on")
    assert (twice.code, "new is being released" in twice.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--steps", "ten"), "--steps: 'ten' is not a whole percentage"),
        (("--steps", "10%:soon"), "--steps: 'soon' is not a duration"),
        (("--most", "5"), "--most: '5' is not a duration"),
        (("--steps", "50%,10%"), "10% after 50% cannot be"),
    ],
)
def test_a_release_that_makes_no_sense_is_refused(atoll, shop, options, problem):
    said = atoll("flags", "release", "new", "--to", "on", *options)
    assert (said.code, problem in said.err) == (2, True)


def test_a_flag_is_aborted_by_its_name_among_services(atoll, shop, monkeypatch):
    monkeypatch.setattr("atoll.cli.steer.PATIENCE", 0.0)
    atoll("flags", "release", "new", "--to", "on")
    said = atoll("abort", "flag:new", "--reason", "I do not like it")
    assert said.out == "flag:new release 1: dark -> dark at 0%; everybody gets what they got before\n"
    (asked,) = shop.call(lambda: list(shop.scene.store.asked()))
    assert (asked.service, asked.signal, asked.actor, asked.reason) == ("flag:new", "abort", "ada", "I do not like it")


PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "flags.md").read_text()


def test_the_how_to_names_commands_that_exist_and_files_that_are_right():
    (file,), (text,) = (re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) for language in ("yaml", "json"))
    declared = loads(file, file="atoll.yaml", directory="/srv").services["storefront"].flags
    assert (declared, lint(json.loads(text), today=date(2026, 11, 25))) == (("new-checkout",), [])
    said = [shlex.split(line, comments=True) for line in re.findall(r"^\$ atoll (.*)$", PAGE, re.MULTILINE)]
    assert len(said) > 10
    above = click.Context(main.atoll, info_name="atoll", help_option_names=["-h", "--help"])
    for words in said:
        command, rest = main.atoll.commands[words[0]], words[1:]
        if isinstance(command, click.Group):
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context(command.name, rest, parent=above)  # or it is refused
