"""Flags on real parts: declared, set, asked for from a sandbox, changed, refused; they outlive the control plane."""

import json
import re
import shutil
import urllib.request
from pathlib import Path

import pytest

import atoll.kit
from atoll import wire
from atoll.client import Client
from e2e.harness import until

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

APP = Path(__file__).parent / "apps" / "flagged"
FILE = """
  web: {source: app, health: /healthz, routes: [/web], flags: [new]}
  mail: {source: app, health: /healthz, routes: [/mail]}
"""
META = {"owner": "team-a", "kind": "release", "expires": "2099-01-31", "killVariant": "off"}
NEW = {"state": "ENABLED", "variants": {"on": "y", "off": "n"}, "defaultVariant": "off", "metadata": META}


@pytest.fixture(scope="module")
def running(shared):
    source = shared.directory / "app"
    shutil.copytree(APP, source)
    shutil.copytree(Path(atoll.kit.__file__).parent, source / "atoll" / "kit")
    main = source / "main.py"
    main.write_text(main.read_text().replace("urlsplit(self.path)", 'urlsplit("/" + self.path.split("/", 2)[-1])'))
    shared.write(FILE)
    shared.run("up", "--detach")
    document = shared.directory / "flags.json"
    document.write_text(json.dumps({"flags": {"new": NEW, "secret": NEW}}))
    shared.run("flags", "set", "flags.json", "--reason", "to begin")
    return shared


def asked(system, path, service="web"):
    status, text = system.get(f"/{service}{path}")
    return status, json.loads(text)


def kit(system):
    return asked(system, "/kit?user=u")[1]


def test_a_sandbox_asks_by_the_kit_and_by_ofrep_and_sees_a_change(running):
    until(lambda: kit(running)["variant"] == "off", what="the first document")
    status, said = asked(running, "/ofrep?flag=new&user=u")
    assert (status, said["value"], said["variant"], said["reason"]) == (200, "n", "off", "STATIC")
    with Client(running.places.socket) as control:
        control.change_flag(wire.FlagChange("new", "set", "test", "because", "on"))
        until(lambda: kit(running)["variant"] == "on", what="the change")
        assert asked(running, "/ofrep?flag=new&user=u")[1]["variant"] == "on"
        assert any("(test): because" in e.text for e in control.events(service="flag:new"))


def test_what_is_not_declared_is_refused_with_the_line_to_add_whoever_one_says_to_be(running):
    assert list(asked(running, "/raw?path=/flags")[1]["flags"]) == ["new"]
    status, said = asked(running, "/ofrep?flag=secret")
    assert (status, "add `secret` under services.web.flags" in said["refused"]) == (403, True)
    status, said = asked(running, "/raw?path=/flags", "mail")
    assert (status, "add `flags: [NAME]` under services.mail" in said["refused"]) == (403, True)
    assert asked(running, "/raw?path=/flags&as=web", "mail")[0] == 403
    assert list(asked(running, "/raw?path=/flags&as=mail")[1]["flags"]) == ["new"]
    assert asked(running, "/raw?path=/v1/status")[0] == 404


def test_a_release_says_what_each_answer_was_made_with_and_is_put_back(running):
    with Client(running.places.socket) as control:
        control.change_flag(wire.FlagChange("new", "set", "test", "", "off"))
        until(lambda: header(running, "u") == (None, "off"), what="nothing in release")
        half = (wire.FlagStep(50, 60.0),)
        control.release_flag(wire.FlagReleaseRequest("new", "on", "test", "it is time", steps=half))
        until(lambda: got(running) == {"new=on", "new=off"}, what="both variants")
        for user in range(5):
            said, variant = header(running, str(user))
            assert said == f"new={variant}"
        assert [(p.service, p.state, p.weight) for p in control.progress()] == [("flag:new", "canary", 50)]
        until(lambda: counted(running, control), what="answers of both kinds in the proxies' counts")
    running.run("abort", "flag:new", "--reason", "enough")
    until(lambda: got(running) == {None}, what="the flag as it was")
    assert {header(running, str(user))[1] for user in range(20)} == {"off"}


def counted(system, control):
    """Whether the judge has seen answers with either variant."""
    got(system)
    (view,) = control.progress()
    found = re.match(r"canary 0 of (\d+) bad, stable 0 of (\d+);", view.evidence)
    return found is not None and all(map(int, found.groups()))


def header(system, user):
    """What an answer says of itself, and what it was made with."""
    with urllib.request.urlopen(f"{system.url}/web/kit?user={user}", timeout=20) as response:
        return response.headers["x-atoll-flag"], json.loads(response.read())["variant"]


def got(system):
    return {header(system, str(user))[0] for user in range(20)}


def test_a_kill_is_there_at_once_and_flags_go_on_without_a_control_plane(running):
    with Client(running.places.socket) as control:
        assert "it hits web" in control.change_flag(wire.FlagChange("new", "kill", "test", "it hurts")).words
    until(lambda: kit(running)["variant"] == "off", what="the kill")
    running.kill_control_plane()
    until(lambda: kit(running)["problem"], what="a client that knows")
    assert kit(running)["variant"] == "off"
    assert asked(running, "/ofrep?flag=new")[0] == 503
    running.run("up", "--detach")
    assert asked(running, "/ofrep?flag=new")[1]["variant"] == "off"
    with Client(running.places.socket) as control:
        control.change_flag(wire.FlagChange("new", "revive", "test", ""))
        control.change_flag(wire.FlagChange("new", "set", "test", "", "on"))
    until(lambda: kit(running)["variant"] == "on", what="a control plane that goes on")
