"""A service to test with: says who it is, streams, sleeps, fails, calls others. Standard library only."""

import asyncio
import base64
import hashlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request

VERSION = "1"
NAME = os.environ.get("ATOLL_INSTANCE_NAME", "?")
stopping = asyncio.Event()
open_requests = 0


async def handle(reader, writer):
    global open_requests
    try:
        while not stopping.is_set():
            request = await asyncio.wait_for(reader.readline(), 60)
            if not request:
                break
            method, target, _ = request.decode().split(" ", 2)
            headers = {}
            while (line := await reader.readline()) not in (b"\r\n", b""):
                key, _, value = line.decode().partition(":")
                headers[key.strip().lower()] = value.strip()
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            open_requests += 1
            try:
                if not await answer(method, target, headers, body, reader, writer):
                    break
            finally:
                open_requests -= 1
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()


async def answer(method, target, headers, body, reader, writer):
    path, _, query = target.partition("?")
    if headers.get("upgrade", "").lower() == "websocket":
        await websocket(headers, reader, writer)
        return False
    if path == "/sse":
        await sse(writer)
        return False
    if path in {"/slow", "/fail", "/exit"}:
        print(f"{method} {target}", flush=True)
    if path == "/slow":
        await asyncio.sleep(float(query.split("&")[0] or 1))
    if path == "/exit":
        os._exit(int(query.split("&")[0] or 1))
    if path == "/eat":
        hog = bytearray(int(query) * 2**20)
        hog[::4096] = b"x" * len(hog[::4096])
    status, text = 200, json.dumps({"name": NAME, "version": VERSION, "path": target, "headers": headers, "body": body.decode()})
    if path == "/call":
        status, text = await asyncio.to_thread(call, query)
    if path == "/fail":
        status = int(query.split("&")[0] or 500)
    data = text.encode()
    close = "connection: close\r\n" if stopping.is_set() else ""
    head = f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{close}\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    return not stopping.is_set()


def call(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 599, str(error)


async def sse(writer):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    number = 0
    while not stopping.is_set():
        data = f"data: {number} {NAME}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()
        number += 1
        try:
            await asyncio.wait_for(stopping.wait(), 0.1)
        except TimeoutError:
            pass
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def websocket(headers, reader, writer):
    key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(
        f"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n".encode()
    )
    await writer.drain()
    stop = asyncio.ensure_future(stopping.wait())
    while True:
        frame = asyncio.ensure_future(read_frame(reader))
        await asyncio.wait({frame, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not frame.done():
            frame.cancel()
            writer.write(b"\x88\x02\x03\xe9")  # close, 1001 going away
            await writer.drain()
            return
        opcode, data = frame.result()
        if opcode == 8:
            writer.write(b"\x88\x02\x03\xe8")
            await writer.drain()
            return
        writer.write(bytes([0x80 | opcode, len(data)]) + data)
        await writer.drain()


async def read_frame(reader):
    first, second = await reader.readexactly(2)
    length = second & 127
    mask = await reader.readexactly(4)
    data = await reader.readexactly(length)
    return first & 15, bytes(b ^ mask[i % 4] for i, b in enumerate(data))


async def main():
    server = await asyncio.start_server(handle, os.environ.get("HOST", "0.0.0.0"), int(os.environ["PORT"]))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    print(f"echo {VERSION} {NAME} listens on {os.environ['PORT']}", flush=True)
    await stopping.wait()
    server.close()
    deadline = loop.time() + 5
    while open_requests and loop.time() < deadline:
        await asyncio.sleep(0.01)
    sys.stdout.flush()
    os._exit(0)


asyncio.run(main())
