"""Streams, upgrades and HTTP/2 through a system that changes underneath them."""

import http.client
import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from e2e.harness import until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(120)]

FILE = """
  web:
    source: app
    instances: 2
    health: {path: /healthz, interval: 500ms}
    routes: [{path: /, timeout: 1s}]
    release: {drain: 1s, grace: 5s}
  modern:
    source: h2
    routes: [/h2]
"""
CLEAN = {1000, 1001}
"""What a server says when it closes: done, or going away (RFC 6455, 7.4.1)."""


@pytest.fixture(scope="module")
def running(shared):
    shared.source()
    shutil.copytree(Path(__file__).parent / "apps" / "h2", shared.directory / "h2")
    shared.write(FILE)
    shared.run("up", "--detach")
    return shared


class Sse(threading.Thread):
    """One open stream of server-sent events, read to its end."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.events, self.error, self.left = [], None, False
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request("GET", "/sse", headers={"accept": "text/event-stream"})
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        self.start()

    def run(self):
        try:
            while line := self.answer.readline():
                if line.startswith(b"data: "):
                    self.events.append(line.decode().split())
            self.answer.read()  # a stream that was cut in a chunk says so here
        except (OSError, http.client.HTTPException) as error:
            self.error = None if self.left else error
        finally:
            self.connection.close()

    def leave(self):
        """Hang up."""
        self.left = True
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join(10)


class Socket(threading.Thread):
    """One open WebSocket that says something again and again, until the other side closes."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.url = f"ws://127.0.0.1:{port}/ws"
        self.socket, self.echoed, self.closed, self.error = None, 0, None, None
        self.start()

    def run(self):
        try:
            with connect(self.url, proxy=None) as self.socket:
                while True:
                    self.socket.send(f"{self.echoed}")
                    assert self.socket.recv(timeout=30) == f"{self.echoed}"
                    self.echoed += 1
        except ConnectionClosed as closed:
            self.closed = closed.rcvd.code if closed.rcvd is not None else None
        except (OSError, AssertionError) as error:
            self.error = error


def test_open_streams_end_cleanly_in_a_deploy_under_load(running):
    streams = [Sse(running.port) for _ in range(4)]
    sockets = [Socket(running.port) for _ in range(4)]
    until(lambda: all(s.events for s in streams) and all(s.echoed for s in sockets), what="all streams")
    before = {i["name"] for i in running.instances("web")}
    with Load(running.port) as load:
        load.wait(50)
        running.source(version="2")
        running.run("deploy", "web")
        for stream in (*streams, *sockets):
            stream.join(20)
            assert not stream.is_alive()
        load.wait(50)
    assert load.failed == []
    assert [s.error for s in (*streams, *sockets)] == [None] * 8
    assert {s.events[0][2] for s in streams} <= before
    assert {s.closed for s in sockets} <= CLEAN
    assert len({i["name"] for i in running.instances("web")} & before) == 0


def test_streams_live_longer_than_a_route_may_take(running):
    stream, talk = Sse(running.port), Socket(running.port)
    until(lambda: len(stream.events) > 25 and talk.echoed, what="2.5 s of events on a route with 1 s for a request")
    assert stream.error is None
    assert talk.closed is None
    assert talk.error is None
    status, text = running.get("/slow?3")
    assert (status, text.strip()) == (504, "no answer in time")
    stream.leave()
    talk.socket.close()
    talk.join(10)
    assert talk.closed in CLEAN


def test_a_new_stream_during_a_drain_goes_to_the_new_release(running):
    old = Sse(running.port)
    until(lambda: old.events, what="the first event")
    running.source(version="fresh")
    deploy = threading.Thread(target=lambda: running.run("deploy", "web"))
    deploy.start()
    old.join(60)
    assert old.error is None
    new = Sse(running.port)
    until(lambda: new.events, what="an event of the new stream")
    deploy.join(60)
    assert new.error is None
    assert new.events[0][2] != old.events[0][2]
    new.leave()


@pytest.fixture
def curl():
    found = shutil.which("curl")
    if found is None or "HTTP2" not in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:  # noqa: PLW1510 - it says so itself
        pytest.skip("there is no curl that knows HTTP/2 on this host")
    return lambda *rest: subprocess.run(
        [found, "-sS", "-w", "\n%{http_version} %{http_code}", *rest],
        capture_output=True, text=True, timeout=30, check=False,
    ).stdout.rpartition("\n")  # fmt: skip


def test_http2_with_prior_knowledge_passes_to_a_service_that_speaks_it(running, curl):
    body, _, said = curl("--http2-prior-knowledge", "-d", "a body", f"{running.url}/h2/echo")
    assert (body, said) == ("over HTTP/2", "2 200")


def test_an_upgrade_to_http2_is_answered(running, curl):
    """RFC 9113 took the upgrade away: it may be ignored, but the request must be answered."""
    body, _, said = curl("--http2", f"{running.url}/upgrade")
    assert said in {"1.1 200", "2 200"}
    assert json.loads(body)["path"] == "/upgrade"
