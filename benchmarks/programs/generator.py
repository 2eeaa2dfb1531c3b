"""
A closed loop of GETs for hosts without wrk: `generator.py HOST PORT HOST_HEADER CONNECTIONS SECONDS`.

Prints JSON: requests, seconds, p50 and p99 in milliseconds, errors (answers other than 200, broken connections).
"""

import asyncio
import json
import sys
import time

END = b"\r\n\r\n"


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, request, times, ended):
        self.request, self.times, self.ended = request, times, ended
        self.errors = 0

    def connection_made(self, transport):
        self.transport, self.head, self.missing = transport, b"", None
        self.ask()

    def ask(self):
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data):
        if self.missing is None:
            self.head += data
            if END not in self.head:
                return
            head, _, data = self.head.partition(END)
            self.errors += not head.startswith(b"HTTP/1.1 200")
            self.missing = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self.head = b""
        self.missing -= len(data)
        if self.missing <= 0:
            self.times.append(time.perf_counter() - self.began)
            self.missing = None
            self.ask()

    def connection_lost(self, _):
        self.errors += not self.ended.is_set()


async def main(host, port, name, connections, seconds):
    request = f"GET / HTTP/1.1\r\nhost: {name}\r\n\r\n".encode()
    times, ended, loop = [], asyncio.Event(), asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: Client(request, times, ended), host, int(port))
        for _ in range(int(connections))
    ]
    began = time.perf_counter()
    await asyncio.sleep(float(seconds))
    took, count = time.perf_counter() - began, len(times)
    ended.set()
    for transport, _ in pairs:
        transport.abort()
    ordered = sorted(times)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
    errors = sum(client.errors for _, client in pairs)
    print(json.dumps({"requests": count, "seconds": took, "p50": p50, "p99": p99, "errors": errors}))


asyncio.run(main(*sys.argv[1:]))
