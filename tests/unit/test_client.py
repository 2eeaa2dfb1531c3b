from __future__ import annotations

import os
import socket as sockets
import socket as stdlib_socket
import ssl
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from atoll import client as clients
from atoll import wire
from atoll.client import Client, NoAnswer, Unresponsive
from atoll.errors import AtollError, Conflict, Failed, Refused, Unavailable
from atoll.server.api.app import app


@pytest.fixture
def socket(tmp_path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def server(scene, served, socket):
    return served(lambda: app(scene.open()), uds=socket)


@pytest.fixture
def client(server, socket):
    with Client(socket) as one:
        yield one


def event(text: str) -> wire.Event:
    return wire.Event(0, 0.0, "info", "ready", "orders", "orders", text)


def test_no_certificates_are_read_for_a_unix_socket(monkeypatch, socket):
    read = []
    for how in ("load_verify_locations", "load_default_certs"):
        monkeypatch.setattr(ssl.SSLContext, how, lambda *found, **_: read.append(found))
    with Client(socket):
        assert read == []


def test_who_answers_and_what_is(client, scene):
    scene.steady()
    assert client.identity().system == "shop"
    assert [s.name for s in client.status().services] == ["web", "orders", "payments"]


def test_plan_apply_and_wait_until_it_is_over(client, scene, server):
    plan = client.plan(scene.request())
    receipt = client.apply(scene.request(index=plan.index))
    states = []
    for view in client.wait(receipt.change.number, pause=0):
        states.append(view.state)
        after = {"queued": "building", "building": "rolling", "rolling": "done"}.get(view.state)
        if after is not None:
            server.call(partial(scene.store.move, view.number, after))
    assert states == ["queued", "building", "rolling", "done"]


def test_waiting_ends_with_a_failure_too(client, scene, server):
    receipt = client.apply(scene.request())
    server.call(lambda: scene.store.move(receipt.change.number, "failed", "no such tool"))
    assert [v.reason for v in client.wait(receipt.change.number)] == ["no such tool"]


def test_what_has_served(client, scene, server):
    server.call(lambda: scene.serve_now(1, 2))
    assert "orders" in client.graph().nodes
    assert [r.number for r in client.releases("orders")] == [2, 1]
    assert len(client.releases()) == 6
    assert client.deploy(scene.request(services=("orders",))).change.kind == "deploy"
    assert client.rollback("orders").change.kind == "rollback"
    assert client.down().change.kind == "down"
    assert scene.ended == 1


def test_events_and_those_that_follow(client, scene, server):
    server.call(scene.serve_now)
    server.call(lambda: scene.store.append([event("one"), event("two")]))
    assert [e.text for e in client.events()] == ["one", "two"]
    assert [e.text for e in client.events(after=1)] == ["two"]
    assert [e.text for e in client.events(limit=1, service="orders")] == ["two"]
    scene.happening = [replace(event("three"), number=3), replace(event("four"), number=4)]
    assert [e.text for e in client.follow(after=3)] == ["four"]


def test_logs_and_those_that_follow(client, scene, server):
    server.call(scene.serve_now)
    scene.written = [wire.LogLine("orders", "orders-r1-1", f"line {n} \u2028 \x85 of one") for n in range(3)]
    assert list(client.logs("orders", tail=2)) == scene.written[1:]
    following = client.logs(follow=True)
    assert [next(following) for _ in range(3)] == scene.written
    following.close()


def test_following_ends_quietly_with_the_control_plane(client, scene, server):
    server.call(scene.serve_now)
    scene.written = [wire.LogLine("orders", "orders-r1-1", "last words")]
    following = client.logs(follow=True)
    assert next(following).text == "last words"
    server.end()
    assert list(following) == []


@pytest.mark.parametrize("kind", [Refused, Conflict, Unavailable, Failed])
def test_errors_arrive_as_what_they_were(scene, served, socket, kind):
    async def broken():
        raise kind("why", hint="what")

    served(lambda: app(replace(scene.open(), snapshot=broken)), uds=socket)
    with Client(socket) as client, pytest.raises(AtollError) as raised:
        client.status()
    assert type(raised.value) is kind
    assert (raised.value.message, raised.value.hint) == ("why", "what")


def test_errors_arrive_on_streams_too(client, scene, server):
    server.call(scene.serve_now)
    with pytest.raises(Refused, match="no service 'ordrs'") as raised:
        next(client.logs("ordrs"))
    assert raised.value.hint == "did you mean orders?"


def test_a_name_that_is_no_path_is_asked_for_as_it_is(client, scene, server):
    server.call(scene.serve_now)
    for name in ("a/b", "..", "a?b", "ä", "%2e", ""):
        with pytest.raises(Refused, match="there is no service"):
            client.rollback(name)


def test_a_control_plane_that_fails_in_a_way_it_did_not_foresee(scene, served, socket):
    async def broken():
        raise RuntimeError("boom")

    served(lambda: app(replace(scene.open(), snapshot=broken)), uds=socket)
    with Client(socket) as client, pytest.raises(Failed, match="the control plane failed"):
        client.status()


def test_an_answer_of_another_version_is_said_to_be_one(served, socket):
    other = Starlette()
    other.add_route("/v1/status", lambda _: PlainTextResponse('{"colour": "red"}'))
    served(lambda: other, uds=socket)
    with Client(socket) as client, pytest.raises(Unavailable, match="another version") as raised:
        client.status()
    assert raised.value.hint


def test_nobody_answers(socket):
    with Client(socket) as client:
        with pytest.raises(Unavailable, match="no control plane answers here") as raised:
            client.identity()
        assert "atoll up" in raised.value.hint
        with pytest.raises(Unavailable):
            next(client.follow())


@pytest.fixture
def hanging(socket, monkeypatch):
    """Somebody takes connections at the socket, as the kernel does for a stopped process, and answers nothing."""
    monkeypatch.setattr(clients, "_SILENCE", 0.1)
    monkeypatch.setattr(clients, "_AT_ONCE", 0.3)
    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(str(socket))
        listener.listen()
        yield socket


def test_one_that_hangs_is_named_while_the_answer_is_waited_for_and_given_up(hanging):
    told, heard = [], threading.Event()

    def tell(pid):
        told.append(pid)
        heard.set()

    with Client(hanging, unanswered=tell) as client, pytest.raises(Unresponsive) as raised:
        client.status()
    assert heard.wait(10)
    assert told == [os.getpid()]
    assert f"the control plane (process {os.getpid()}) does not answer" in raised.value.message
    assert "taken the request" not in raised.value.message
    assert f"`kill -9 {os.getpid()}` and `atoll up` replace it" in raised.value.hint
    assert "`atoll down --force`" in raised.value.hint


def test_of_a_request_that_is_not_answered_nobody_knows_whether_it_was_taken(hanging):
    with Client(hanging) as client, pytest.raises(Unresponsive, match="whether it has taken the request is not known"):
        client._answer(wire.Receipt, "POST", "/v1/down", timeout=0.3)


def test_one_that_answers_is_not_said_to_hang(server, socket, monkeypatch):
    monkeypatch.setattr(clients, "_SILENCE", 60.0)
    told = []
    before = threading.active_count()
    with Client(socket, unanswered=told.append) as client:
        client.identity()
    assert told == []
    assert threading.active_count() <= before + 1  # the one that would have told is told to end


@pytest.mark.parametrize("heard", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_one_that_ends_while_it_answers_may_have_taken_what_was_asked_for(socket, heard):
    listener = stdlib_socket.socket(stdlib_socket.AF_UNIX)
    listener.bind(str(socket))
    listener.listen()

    def answer():
        for _ in range(2):
            one, _ = listener.accept()
            one.recv(65536)
            one.sendall(heard)
            one.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    with Client(socket) as client, listener:
        with pytest.raises(NoAnswer, match="whether it has taken the request is not known"):
            client.rollback("orders")
        with pytest.raises(NoAnswer, match="no control plane answers here"):
            client.identity()
        thread.join(20)


def test_it_is_closed_after_use(server, socket):
    with Client(socket) as client:
        client.identity()
    with pytest.raises((RuntimeError, httpx.HTTPError)):
        client.identity()
