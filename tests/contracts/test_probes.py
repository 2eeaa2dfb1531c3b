"""Health checks against real sockets: what passes, and what the sentence says when it does not."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from atoll.drivers import probes
from atoll.drivers.probes import FabricProber
from atoll.model.system import Check
from atoll.plan.blueprint import Address
from atoll.testing.grounds import sandbox_ground, why_no_sandboxes

GET = Check(path="/healthz", timeout=5.0)
CONNECT = Check(timeout=5.0)


@asynccontextmanager
async def answering(*pieces, pause=0.0):
    """A server that answers these bytes to whatever it is asked, and notes what that was."""
    asked = []

    async def answer(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if pause:
            await asyncio.sleep(pause)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        ip, port = server.sockets[0].getsockname()
        yield Address(ip, port), asked


def response(status, body=b""):
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.fixture
def prober():
    return FabricProber(None)


@pytest.mark.parametrize("status", [200, 204, 301, 399])
async def test_two_and_three_hundreds_pass(prober, status):
    async with answering(response(status)) as (address, _):
        assert await prober.probe(address, GET) == ""


async def test_it_asks_as_a_browser_would_ask_localhost(prober):
    async with answering(response(200)) as (address, asked):
        await prober.probe(address, GET)
    assert asked[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")


async def test_an_answer_in_pieces_passes(prober):
    async with answering(b"HT", b"TP/1.1 2", b"00 OK\r\n", b"\r\n") as (address, _):
        assert await prober.probe(address, GET) == ""


async def test_a_head_is_enough_where_the_body_never_ends(prober):
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", pause=20) as (address, _):
        assert await prober.probe(address, GET) == ""


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"", "answered 404: is the path right?"),
        (400, b"", "answered 400: does it refuse the Host header `localhost`?"),
        (401, b"", "answered 401: let it answer without credentials"),
        (405, b"", "answered 405: it must answer GET"),
        (503, b"the database does not answer\nmore", "answered 503 (the database does not answer)"),
        (500, b"<html>", "answered 500"),
        (500, b"\xff\xfe", "answered 500"),
        (503, b"x" * 5000, "answered 503 (" + "x" * 200 + ")"),
    ],
)
async def test_a_refusal_says_what_is_likely_wrong(prober, status, body, words):
    async with answering(response(status, body)) as (address, _):
        assert await prober.probe(address, GET) == f"GET /healthz on port {address.port} {words}"


async def test_a_refusal_whose_connection_stays_open_is_told_all_the_same(prober):
    async with answering(response(503, b"not yet"), pause=20) as (address, _):
        assert "answered 503 (not yet)" in await prober.probe(address, GET)


async def test_silence_is_bounded(prober):
    async with answering(pause=20) as (address, _):
        said = await prober.probe(address, Check(path="/", timeout=0.1))
        assert said == f"GET / on port {address.port} did not answer within 0.1 s"


async def test_another_protocol_is_shown(prober):
    async with answering(b"SSH-2.0-OpenSSH_9\r\n") as (address, _):
        assert "was not answered in HTTP: b'SSH-2.0-OpenSSH_9" in await prober.probe(address, GET)


async def test_an_answer_of_nothing_is_said(prober):
    async with answering(b"") as (address, _):
        assert "closed without an answer" in await prober.probe(address, GET)


async def test_a_connection_is_enough_without_a_path(prober):
    async with answering() as (address, _):
        assert await prober.probe(address, CONNECT) == ""


def nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address(*server.getsockname())


@pytest.mark.parametrize("check", [GET, CONNECT])
async def test_nobody_there_yet(check):
    address = nobody()
    assert await FabricProber(None).probe(address, check) == f"nothing listens on port {address.port} yet"


async def test_it_says_where_it_listens_instead():
    address = nobody()

    def listening(ip, port):
        assert (ip, port) == (address.ip, address.port)
        return (("0.0.0.0", 3000), ("::", 3000))

    said = await FabricProber(None, listening, every=0.0).probe(address, GET)
    assert said == f"nothing listens on port {address.port}; it listens on 3000: let it listen on $PORT"


async def test_it_says_when_it_listens_for_itself_only():
    address = nobody()
    said = await FabricProber(None, lambda _ip, port: (("127.0.0.1", port),), every=0.0).probe(address, GET)
    assert said == f"it listens on 127.0.0.1:{address.port} only: let it listen on 0.0.0.0 (or $HOST)"


async def test_where_it_listens_is_looked_at_now_and_then_and_never_at_its_very_start():
    """A look takes as long as the kernel needs to go through all connections of the host."""
    looks = []
    prober = FabricProber(None, lambda ip, port: looks.append((ip, port)) or (("0.0.0.0", 3000),), every=0.05)
    address = nobody()
    assert await prober.probe(address, GET) == f"nothing listens on port {address.port} yet"
    assert looks == []
    deadline = time.monotonic() + 10
    while "3000" not in await prober.probe(address, GET):
        assert time.monotonic() < deadline
    began = time.monotonic()
    for _ in range(20):
        assert "it listens on 3000" in await prober.probe(address, GET)
    assert len(looks) <= 2 + (time.monotonic() - began) / 0.05


async def test_nothing_is_left_open(prober):
    async with answering(response(200)) as (address, _):
        await prober.probe(address, GET)
        before = len(open_files())
        for _ in range(20):
            await prober.probe(address, GET)
        deadline = time.monotonic() + 10
        while len(open_files()) > before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    await prober.probe(nobody(), GET)


def open_files():
    return list(Path("/proc/self/fd").iterdir())


@pytest.mark.linux
@pytest.mark.skipif(bool(why_no_sandboxes()), reason=why_no_sandboxes())
async def test_sockets_are_made_many_at_once_and_each_is_used_once(monkeypatch):
    made, make = [], probes._make_sockets
    monkeypatch.setattr(probes, "_make_sockets", lambda: made.append(1) or make())
    prober = FabricProber("/proc/self/ns/net")
    async with answering(response(200)) as (address, asked):
        said = await asyncio.gather(*(prober.probe(address, GET) for _ in range(2 * probes.MADE_AT_ONCE)))
        assert set(said) == {""}
        assert (len(made), len(asked)) == (2, 2 * probes.MADE_AT_ONCE)
        assert await prober.probe(address, GET) == ""
        assert len(made) == 3


@pytest.mark.linux
@pytest.mark.skipif(bool(why_no_sandboxes()), reason=why_no_sandboxes())
@pytest.mark.parametrize(
    ("bind", "words"),
    [
        (("0.0.0.0", 8080), ""),
        (("127.0.0.1", 8080), "it listens on 127.0.0.1:8080 only"),
        (("0.0.0.0", 3000), "nothing listens on port 8080; it listens on 3000"),
    ],
)
async def test_from_the_fabric_into_a_sandbox(bind, words):
    program = f"import socket, time\ns = socket.create_server({bind!r})\nprint('up', flush=True)\ntime.sleep(600)"
    with sandbox_ground() as ground:
        runtime = ground.sandboxes()
        await runtime.prepare(lambda: None)
        artifact = ground.artifact(program)
        instance = ground.instance(artifact)
        await runtime.create(instance, 1)
        await runtime.start(instance, artifact, 1)
        deadline = time.monotonic() + 10
        while "up" not in runtime.log(instance.name).read_text():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        prober = FabricProber(ground.fabric, runtime.listening, every=0.0)
        said = await prober.probe(instance.address, CONNECT)
        assert said.startswith(words)
        assert bool(said) == bool(words)
        await runtime.close()
