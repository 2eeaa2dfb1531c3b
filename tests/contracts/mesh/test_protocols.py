"""What passes besides plain HTTP/1.1, in both proxies: WebSocket, server-sent events, HTTP/2, gRPC, long and large."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys

import pytest

from atoll.mesh.xds.listeners import HEAD_TIMEOUT
from atoll.model.system import Call, CallPolicy, Egress, Gateway, Route, Service, System
from atoll.plan.recipes import environment
from atoll.values.protocols import Protocol

SHORT = CallPolicy(timeout=0.3)

WEBSOCKET = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as connection:
        for number in range(3):
            await connection.send(str(number))
            print(await connection.recv(), flush=True)
            await asyncio.sleep(0.3)
asyncio.run(main())
"""

GRPC = """
import sys, grpc
options = (("grpc.default_authority", sys.argv[2]), ("grpc.enable_http_proxy", 0))
with grpc.insecure_channel(sys.argv[1], options=options) as channel:
    print(channel.unary_unary("/test.Echo/One")(b"hello").decode(), flush=True)
    print(sum(1 for _ in channel.unary_stream("/test.Echo/Many")(b"x")), flush=True)
"""


async def output(world, *command: str, netns: str | None = None) -> list[str]:
    process = world.start(*command, netns=netns)
    out, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 0
    return out.splitlines()


async def test_websockets_pass_and_outlive_the_call_timeout(world):
    world.service("chat", kind="websocket", routes=(Route("/", policy=SHORT),))
    world.service("orders", calls=(Call("chat", SHORT),))
    await world.publish()
    chat, orders = world.instances("chat")[0].name, world.instances("orders")[0]
    expected = [f"{chat}: {n}" for n in range(3)]
    outside = f"ws://127.0.0.1:{world.gateway.listen}/"
    assert await output(world, sys.executable, "-c", WEBSOCKET, outside) == expected
    hosts = WEBSOCKET.replace("connect(sys.argv[1])", "connect('ws://chat/', host='127.0.0.1', port=80)")
    assert await output(world, sys.executable, "-c", hosts, netns=orders.outlets[0].netns) == expected


AS_IT_COMES = """
import sys, asyncio, grpc, websockets, urllib.request
with grpc.insecure_channel("echo:80") as channel:
    print(channel.unary_unary("/test.Echo/One")(b"hello").decode(), flush=True)
async def main():
    async with websockets.connect("ws://chat/") as connection:
        await connection.send("hello")
        print(await connection.recv(), flush=True)
asyncio.run(main())
try:
    urllib.request.urlopen("http://echo:8080/")
except urllib.error.HTTPError as error:
    print(error.code)
"""


async def test_clients_as_they_come_reach_a_callee_though_there_is_a_proxy(world):
    """What reads HTTP_PROXY asks it for a tunnel to a name, and may not be one to a callee; any other port is asked."""
    world.service("echo", kind="grpc")
    world.service("chat", kind="websocket")
    calls = (Call("echo"), Call("chat"))
    world.service("orders", calls=calls)
    await world.publish()
    services = {name: Service(name) for name in ("echo", "chat")}
    orders = Service("orders", calls=calls)
    variables = environment(System("shop", Gateway(), services | {"orders": orders}, ""), orders)
    hosts = world.root / "hosts"
    hosts.write_text("127.0.0.1 localhost echo chat orders\n")
    place = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    client = ("env", *(f"{name}={value}" for name, value in variables), sys.executable, "-c", AS_IT_COMES)
    said = await output(world, *place, *client, netns=world.instances("orders")[0].outlets[0].netns)
    assert said == [
        f"{world.instances('echo')[0].name}: hello", f"{world.instances('chat')[0].name}: hello", "403",
    ]  # fmt: skip


async def test_server_sent_events_outlive_the_call_timeout(world):
    world.service("news", routes=(Route("/", policy=SHORT),))
    await world.publish()
    stream = world.start(
        "curl", "-sN", "-H", "Accept: text/event-stream", f"http://127.0.0.1:{world.gateway.listen}/events"
    )
    lines = [await asyncio.to_thread(stream.stdout.readline) for _ in range(80)]
    assert lines.count(f"data: {world.instances('news')[0].name}\n") == 40
    stream.kill()


async def test_grpc_passes_unary_and_streaming(world):
    world.service("echo", kind="grpc", routes=(Route("/", policy=SHORT),))
    world.service("orders", calls=(Call("echo", SHORT),))
    await world.publish()
    echo, orders = world.instances("echo")[0].name, world.instances("orders")[0]
    command = (sys.executable, "-c", GRPC)
    outside = await output(world, *command, f"127.0.0.1:{world.gateway.listen}", "any")
    inside = await output(world, *command, "127.0.0.1:80", "echo", netns=orders.outlets[0].netns)
    assert outside == inside == [f"{echo}: hello", "100"]


async def test_callers_that_speak_http2_reach_a_service_of_http1_that_says_so(world):
    world.service("old", protocol=Protocol.HTTP1)
    world.service("silent")
    world.service("orders", calls=(Call("old"), Call("silent")))
    await world.publish()
    orders = world.instances("orders")[0]
    answer = await world.call(orders, "old", http2_prior_knowledge="")
    assert (answer.status, world.instances("old")[0].name in answer.body) == (200, True)
    refused = await world.call(orders, "silent", http2_prior_knowledge="")
    assert refused.status == 502
    assert "services.silent.protocol" in refused.body


async def test_callers_that_speak_http1_reach_a_service_of_http2_that_says_so(world):
    world.service("modern", kind="grpc", protocol=Protocol.HTTP2)
    world.service("orders", calls=(Call("modern"),))
    await world.publish()
    message = world.root / "message"
    message.write_bytes(bytes(5))  # gRPC's frame of an empty message
    headers = ("Host: modern", "Content-Type: application/grpc", "TE: trailers")
    orders = world.instances("orders")[0]
    answer = await world.ask(
        "http://127.0.0.1/test.Echo/One", caller=orders, method="POST", headers=headers, data_binary=f"@{message}"
    )
    assert (answer.status, answer.headers["content-type"]) == (200, "application/grpc")
    assert world.instances("modern")[0].name in answer.body


async def test_grpc_learns_why_it_is_refused(world):
    world.service("orders")
    await world.publish()
    code = GRPC.replace("print(channel.unary_unary", "try: channel.unary_unary").replace(
        '(b"hello").decode(), flush=True)',
        '(b"hello")\n    except grpc.RpcError as error: print(error.details()); sys.exit()',
    )
    netns = world.instances("orders")[0].outlets[0].netns
    lines = await output(world, sys.executable, "-c", code, "127.0.0.1:80", "echo", netns=netns)
    assert lines[0] == "orders may not call echo: add `echo` under services.orders.calls in atoll.yaml"


async def test_declared_hosts_outside_are_reached_and_no_others(world):
    world.service("site")  # any server on the host's loopback will do
    server = await asyncio.start_server(echo_server, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    world.service("orders", egress=(Egress("http", "localhost", port), Egress("https", "127.0.0.1", port)))
    world.service("carts")
    await world.publish()
    orders, carts = world.instances("orders")[0], world.instances("carts")[0]
    proxy = "http://127.0.0.1:80"

    plain = await world.ask(f"http://localhost:{port}/x", caller=orders, proxy=proxy)
    assert (plain.status, plain.body.startswith("GET /x HTTP/1.1")) == (200, True)
    assert "x-atoll-caller" not in plain.body
    tunnel = await world.ask(
        f"http://127.0.0.1:{port}/y", caller=orders, proxy=proxy, proxytunnel="", suppress_connect_headers=""
    )
    assert (tunnel.status, tunnel.body.startswith("GET /y HTTP/1.1")) == (200, True)

    refused = await world.ask(f"http://localhost:{port}/", caller=carts, proxy=proxy)
    assert refused.status == 403
    assert f"add `http://localhost:{port}` under services.carts.calls in atoll.yaml" in refused.body
    other = await world.ask("http://example.com/", caller=orders, proxy=proxy)
    assert other.status == 403
    server.close()


async def echo_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(head)}\r\n\r\n".encode() + head)
    await writer.drain()
    writer.close()


async def test_a_head_that_never_ends_is_given_up_and_what_has_a_route_outlives_that(world):
    world.service("web", routes=(Route("/"),))
    await world.publish()
    longer = 4 + int(HEAD_TIMEOUT)
    head, tail = b"POST / HTTP/1.1\r\nHost: any\r\nContent-Length: %d\r\n" % longer, b"X-Slow: "
    attacker, patient, asked, stream = await asyncio.gather(
        drip(world, head + tail),
        drip(world, head + b"\r\n"),
        drip(world, b"GET /sleep/%d HTTP/1.1\r\nHost: any\r\n\r\n" % longer, more=b""),
        events(world, longer),
    )
    assert attacker.startswith(b"HTTP/1.1 408")
    assert [answer[:12] for answer in (patient, asked)] == [b"HTTP/1.1 200"] * 2
    assert stream


async def test_a_body_may_not_be_silent_for_long(world):
    world.service("web", routes=(Route("/", policy=CallPolicy(timeout=0.3, idle=2.5)),))
    await world.publish()
    rest = b" /sleep/30 HTTP/1.1\r\nHost: any\r\nContent-Length: 1000\r\n\r\n"
    silent, get, busy = await asyncio.gather(
        drip(world, b"POST" + rest, more=b""),
        drip(world, b"GET" + rest, more=b""),
        drip(world, b"GET" + rest, seconds=5),
    )
    assert [answer[:12] for answer in (silent, get)] == [b"HTTP/1.1 408"] * 2
    assert busy == b""


@pytest.mark.skipif(bool(os.environ.get("ATOLL_TEST_ROOTLESS")), reason="the gateway passes on: an hour is its bound")
async def test_who_asks_and_reads_nothing_is_given_up(world):
    world.service("web", routes=(Route("/", policy=CallPolicy(timeout=0.3, idle=1.5)),))
    await world.publish()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.listen)
    nothing = frame(SETTINGS, bytes((0, 4, 0, 0, 0, 0)))  # how much of an answer it takes at first
    asked = frame(HEADERS, b"\x82\x84\x86\x41\x03any", flags=5, stream=1)  # GET, /, http, :authority; all of it
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + nothing + asked)
    kinds = []
    async with asyncio.timeout(10):
        while not kinds or kinds[-1] != RESET:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3]))
            kinds.append(head[3])
    assert HEADERS in kinds
    assert DATA not in kinds
    writer.close()


async def test_who_vanished_without_a_word_will_be_noticed(world):
    world.service("web", routes=(Route("/"),))
    await world.publish()
    _, writer = await asyncio.open_connection("127.0.0.1", world.gateway.listen)
    here = writer.get_extra_info("sockname")[1]

    async def asked_when_silent() -> bool:
        shown = await output(world, "ss", "-Htno", "sport", f"= :{world.gateway.listen}", "dport", f"= :{here}")
        return any(re.search(r"timer:\(keepalive,5\dsec", line) for line in shown)

    await world.until(asked_when_silent, "the gateway's end has the timer")
    writer.close()


DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4  # RFC 9113, 6


def frame(kind: int, payload: bytes, flags: int = 0, stream: int = 0) -> bytes:
    """One of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


async def events(world, seconds: float) -> bool:
    """Whether a stream of events is still there after that time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.listen)
    writer.write(b"GET /events HTTP/1.1\r\nHost: any\r\nAccept: text/event-stream\r\n\r\n")
    ended = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await reader.read(1000):
                pass
            ended = True
    writer.close()
    return not ended


async def drip(world, beginning: bytes, more: bytes = b"x", seconds: float = 3 * HEAD_TIMEOUT) -> bytes:
    """Send *beginning*, then *more* every second until there is an answer, or so many seconds are over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.listen)
    writer.write(beginning)
    answer = asyncio.ensure_future(reader.read(100))
    deadline = asyncio.get_running_loop().time() + seconds
    while not answer.done() and asyncio.get_running_loop().time() < deadline:
        writer.write(more)
        await asyncio.wait([answer], timeout=1)
    writer.close()
    if not answer.done():
        answer.cancel()
        return b""
    return await answer
