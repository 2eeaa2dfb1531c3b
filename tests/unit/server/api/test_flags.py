"""The routes about flags, as the client uses them."""

from __future__ import annotations

import json

import pytest

from atoll import wire
from atoll.client import Client
from atoll.errors import Conflict, Refused
from atoll.server.api.app import app

META = {"owner": "team-a", "kind": "ops"}
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": META}
TEXT = json.dumps({"flags": {"new": FLAG}})


@pytest.fixture
def client(scene, served, tmp_path):
    socket = tmp_path / "api.sock"
    served(lambda: app(scene.open()), uds=socket)
    with Client(socket) as one:
        yield one


def test_flags_are_written_looked_at_changed_and_taken_back(client):
    assert client.flags().flags == ()
    first = client.write_flags(wire.FlagWrite(TEXT, "ada", "to begin")).version
    (flag,) = client.flags().flags
    assert (flag.name, flag.shares, flag.owner) == ("new", {"off": 100.0}, "team-a")
    receipt = client.change_flag(wire.FlagChange("new", "set", "bob", "", "on", 25.0, {"owner": "team-b"}))
    assert receipt.words == ("new: owner is team-b", "new: 25% get on (it was 100% off)")
    assert [v.number for v in client.flag_history()] == [2, 1]
    assert [v.number for v in client.flag_history(limit=1)] == [2]
    back = client.roll_back_flags(wire.FlagRollback(first.number, "bob", "no"))
    assert back.version.number == 3
    assert json.loads(client.flag_document().text) == json.loads(client.flag_document(1).text) == json.loads(TEXT)


def test_what_is_refused_says_so_in_the_client(client):
    with pytest.raises(Refused, match="no operator"):
        client.write_flags(
            wire.FlagWrite(TEXT.replace('"metadata"', '"targeting": {"iff": []}, "metadata"'), "ada", "")
        )
    with pytest.raises(Conflict, match="have changed since"):
        client.write_flags(wire.FlagWrite(TEXT, "ada", "", before="7-abc"))
    with pytest.raises(Refused, match="there is no version 9"):
        client.flag_document(9)
    assert client.flags().flags == ()


def test_a_release_of_a_flag_is_begun_seen_and_steered(client):
    client.write_flags(wire.FlagWrite(TEXT, "ada", ""))
    receipt = client.release_flag(wire.FlagReleaseRequest("new", "on", "ada", "it is time"))
    assert "release 1 of new" in receipt.words[0]
    (view,) = client.progress()
    assert (view.service, view.state, view.weight) == ("flag:new", "dark", 0)
    assert client.steer(wire.SteerRequest("flag:new", "abort", "ada")).service == "flag:new"
    assert client.flags().flags[0].progress == view
    assert [(r.service, r.number, r.state) for r in client.releases("flag:new")] == [("flag:new", 1, "dark")]
    assert client.releases() == client.releases("flag:new")
