"""A service for tests: `app.py http|websocket|grpc NAME HOST PORT`. Says who it is, what it was sent, and how often."""

import asyncio
import collections
import contextlib
import json
import sys

import grpc.aio
import websockets

ASKED: collections.Counter[str] = collections.Counter()
KIND, NAME, HOST, PORT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            path = lines[0].split(" ")[1]
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            await reader.readexactly(int(headers.get("content-length", 0)))
            if path.startswith("/events"):
                await events(writer)
                return
            if path.startswith("/break"):
                break
            status = 200
            if path.startswith("/sleep/"):
                await asyncio.sleep(float(path.split("/")[2]))
            if "/status/" in path:
                status = int(path.split("/status/")[1])
            said = "x-atoll-flag: new=on\r\n" if path.startswith("/flag") else ""
            ASKED[path] += 1
            body = (NAME + "\n" + head + json.dumps(ASKED)).encode()
            fields = f"content-length: {len(body)}\r\nserver: old/1.0\r\nx-from: {NAME}\r\n{said}"
            writer.write(f"HTTP/1.1 {status} Any\r\n{fields}\r\n".encode() + body)
            await writer.drain()
    writer.close()


async def events(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        data = f"data: {NAME}\n\n".encode()
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def http() -> None:
    server = await asyncio.start_server(answer, HOST, PORT, limit=1 << 20)
    await server.serve_forever()


async def websocket_echo() -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(f"{NAME}: {message}")

    async with websockets.serve(echo, HOST, PORT):
        await asyncio.Event().wait()


async def grpc_echo() -> None:
    async def one(request: bytes, _context: object) -> bytes:
        return NAME.encode() + b": " + request

    async def many(request: bytes, _context: object):
        for number in range(100):
            yield NAME.encode() + b": " + request + str(number).encode()
            await asyncio.sleep(0.02)

    server = grpc.aio.server()
    methods = {"One": grpc.unary_unary_rpc_method_handler(one), "Many": grpc.unary_stream_rpc_method_handler(many)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    server.add_insecure_port(f"{HOST}:{PORT}")
    await server.start()
    await server.wait_for_termination()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run({"http": http, "websocket": websocket_echo, "grpc": grpc_echo}[KIND]())
