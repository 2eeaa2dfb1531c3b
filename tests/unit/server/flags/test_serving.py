"""Real clients follow the flags over a real socket: the kit's own, an OFREP provider, an event stream."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from queue import SimpleQueue

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from atoll.kit.flags import FlagClient
from atoll.kit.integrations.openfeature import FlagProvider
from atoll.server.flags import serving

from .conftest import FLAGS, NEW, SIZE

ANN = EvaluationContext("u", {"email": "ann@corp.com"})
LARGE = FLAGS | {"size": SIZE | {"defaultVariant": "large"}}
OTHER = FLAGS | {"secret": FLAGS["secret"] | {"state": "DISABLED"}}


@pytest.fixture
def running(shop, served):
    """The server, and the URL at which the proxy would reach it."""
    server = served(shop.open)
    server.url = f"http://127.0.0.1:{server.port}"
    server.call(lambda: shop.write(FLAGS))
    yield server
    if server._thread.is_alive():  # a test may have closed it
        server.call(shop.over.set)


def client(server, tmp_path, caller="web"):
    return FlagClient(server.url, cache_dir=tmp_path, headers={"x-atoll-caller": caller})


def heard(client):
    """A queue of what a client is told."""
    queue = SimpleQueue()
    client.subscribe(queue.put)
    return queue


def test_the_kit_s_client_reads_follows_and_sees_its_flags_only(running, shop, tmp_path):
    with client(running, tmp_path) as flags:
        assert flags.ready(10)
        assert set(flags.flags) == {"new", "size", "rate"}
        queue = heard(flags)
        running.call(lambda: shop.write(OTHER))  # what it does not see is no news to it
        running.call(lambda: shop.write(LARGE))
        notice = queue.get(timeout=10)
        assert (notice.kind, notice.keys) == ("changed", ("size",))
        assert flags.integer("size", 0) == 100


def test_a_client_starts_from_its_last_good_document_when_nobody_answers(running, shop, tmp_path):
    with client(running, tmp_path) as flags:
        assert flags.ready(10)
    running.call(shop.over.set)
    running.close()
    with client(running, tmp_path) as flags:
        assert flags.ready(0)
        assert (flags.integer("size", 0), flags.boolean("new", False, {"email": "a@corp.com"})) == (20, True)


def test_who_may_not_ask_learns_why(running, tmp_path):
    with client(running, tmp_path, "mail") as flags:
        queue = heard(flags)
        assert "403" in queue.get(timeout=10).message
        assert flags.flags is None


def test_openfeature_with_the_kit_s_provider(running, tmp_path):
    with client(running, tmp_path) as flags:
        provider = FlagProvider(flags)
        api.set_provider_and_wait(provider)
        try:
            assert api.get_client().get_boolean_value("new", False, ANN) is True
        finally:
            api.clear_providers()


def test_openfeature_with_an_ofrep_provider(running, shop):
    provider = OFREPProvider(running.url, headers_factory=lambda: {"x-atoll-caller": "web"})
    api.set_provider_and_wait(provider)
    try:
        asked = api.get_client()
        found = asked.get_boolean_details("new", False, ANN)
        assert (found.value, found.variant, found.reason) == (True, "on", "TARGETING_MATCH")
        assert found.flag_metadata["owner"] == "team-a"
        assert asked.get_integer_value("size", 0) == 20
        assert asked.get_float_value("rate", 0.0) == 1.0
        assert asked.get_integer_details("gone", 7).error_code is ErrorCode.FLAG_NOT_FOUND
        refused = asked.get_object_details("secret", {})
        assert (refused.value, refused.error_code) == ({}, ErrorCode.GENERAL)
        running.call(lambda: shop.write(FLAGS | {"new": NEW | {"state": "DISABLED"}}))
        off = asked.get_boolean_details("new", True, ANN)
        assert (off.value, off.reason) == (True, "DISABLED")
    finally:
        api.clear_providers()


@pytest.mark.parametrize(
    ("path", "event", "tag_of"),
    [
        ("/flags/changes", "change", lambda data: data["etag"]),
        ("/ofrep/v1/events", "message", lambda data: data["type"] == "refetchEvaluation" and data["etag"]),
    ],
)
def test_a_stream_says_the_tag_at_the_start_and_whenever_it_changes(running, shop, monkeypatch, path, event, tag_of):
    monkeypatch.setattr(serving, "QUIET", 0.05)
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection:
        headers = {"x-atoll-caller": "web", "accept": "text/event-stream"}
        connection.request("GET", path, headers=headers)
        stream = connection.getresponse()
        assert stream.headers["content-type"].startswith("text/event-stream")

        def following():
            while (line := stream.readline().decode().strip()) != f"event: {event}":
                comments.append(line)
            return tag_of(json.loads(stream.readline().decode().removeprefix("data: ")))

        comments = []
        first = following()
        while ": still here" not in comments:  # it shows that it lives
            comments.append(stream.readline().decode().strip())
        running.call(lambda: shop.write(LARGE))
        second = following()
        assert first.startswith('"')
        assert second != first
        running.call(shop.over.set)
        assert stream.read().replace(b": still here\n\n", b"").strip() == b""
