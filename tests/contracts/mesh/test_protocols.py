"""What passes besides plain HTTP/1.1, in both proxies: WebSocket, server-sent events, HTTP/2, gRPC, long and large."""

from __future__ import annotations

import asyncio
import sys

from atoll.mesh.xds.listeners import HEAD_TIMEOUT
from atoll.model.system import Call, CallPolicy, Egress, Route
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


async def test_a_request_that_never_ends_its_head_is_given_up_and_a_slow_body_is_not(world):
    world.service("web", routes=(Route("/"),))
    await world.publish()
    body = 4 + int(HEAD_TIMEOUT)
    head, tail = b"POST / HTTP/1.1\r\nHost: any\r\nContent-Length: %d\r\n" % body, b"X-Slow: "
    attacker, patient = await asyncio.gather(drip(world, head + tail), drip(world, head + b"\r\n"))
    assert attacker.startswith(b"HTTP/1.1 408")
    assert patient.startswith(b"HTTP/1.1 200")


async def drip(world, beginning: bytes) -> bytes:
    """Send *beginning*, then a byte a second until there is an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.listen)
    writer.write(beginning)
    answer = asyncio.ensure_future(reader.read(100))
    deadline = asyncio.get_running_loop().time() + 3 * HEAD_TIMEOUT
    while not answer.done():
        assert asyncio.get_running_loop().time() < deadline
        writer.write(b"x")
        await asyncio.wait([answer], timeout=1)
    writer.close()
    return await answer
