"""
Visitors for the shop: requests at a steady rate over kept connections, and what came of them.

    python3 load.py --rate 100 --seconds 30 --stream

Latency counts from the moment a request was due, not from when a connection was free: a stall is not hidden by the
requests that it kept from being sent. Exits 1 when any request failed or a stream could not be taken up again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PATIENCE = 15.0
SILENCE = 20.0


class Broken(Exception):
    """No whole answer came; says why."""


class Stale(Broken):
    """A kept connection had been closed before it was used again: not a failure, ask on a new one (RFC 9112, 9.3.1)."""


@dataclass
class Tally:
    """What happened so far."""

    milliseconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    events: int = 0
    reopened: int = 0
    stream_failures: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    base: str

    @staticmethod
    def of(url: str) -> Target:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise SystemExit(f"{url!r} is not an http URL")
        return Target(parts.hostname, parts.port or 80, parts.path.rstrip("/"))


class Client:
    """One kept connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; asks once more where a kept connection had gone."""
        try:
            return await self._ask(method, path, headers or {}, body)
        except Stale:
            return await self._ask(method, path, headers or {}, body)

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            status, answer = await self.begin(method, path, headers, body)
            data = b"".join([chunk async for chunk in self._body(answer)])
        except BaseException:
            self.close()
            raise
        if answer.get("connection", "").lower() == "close":
            self.close()
        return status, answer, data

    async def begin(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str]]:
        """Send a request and read the head of its answer."""
        kept = self._writer is not None
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self._target.host, self._target.port)
            lines = [f"{method} {self._target.base}{path} HTTP/1.1", f"Host: {self._target.host}:{self._target.port}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            if body:
                lines.append(f"Content-Length: {len(body)}")
            self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await self._writer.drain()
            assert self._reader is not None
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError as error:
            self.close()
            raise (Stale if kept and not error.partial else Broken)("connection closed without an answer") from None
        except OSError as error:
            self.close()
            raise (Stale if kept else Broken)(error.strerror or type(error).__name__) from None
        fields = (line.partition(":") for line in head[1:] if line)
        return int(head[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields}

    async def lines(self, answer: dict[str, str]) -> AsyncIterator[str]:
        """The lines of a stream as they come."""
        rest = b""
        async for chunk in self._body(answer):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode()

    async def _body(self, answer: dict[str, str]) -> AsyncIterator[bytes]:
        assert self._reader is not None
        try:
            if answer.get("transfer-encoding", "").lower() == "chunked":
                while size := int((await self._reader.readline()).split(b";")[0] or b"0\r\n", 16):
                    yield (await self._reader.readexactly(size + 2))[:-2]
                await self._reader.readline()
            else:
                yield await self._reader.readexactly(int(answer.get("content-length", "0")))
        except (asyncio.IncompleteReadError, OSError, ValueError):
            raise Broken("the answer was cut off") from None

    def close(self) -> None:
        """Let go of the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def visit(target: Target, path: str, due: asyncio.Queue[float | None], tally: Tally) -> None:
    """Send what is due, one after the other, over one connection."""
    client = Client(target)
    while (moment := await due.get()) is not None:
        try:
            async with asyncio.timeout(PATIENCE):
                status, _, _ = await client.ask("GET", path)
            if status >= 400:
                tally.failures[f"answered {status}"] += 1
        except TimeoutError:
            client.close()
            tally.failures[f"no answer within {PATIENCE:g} s"] += 1
        except Broken as error:
            tally.failures[str(error)] += 1
        tally.milliseconds.append((time.perf_counter() - moment) * 1000)
    client.close()


async def make_due(due: asyncio.Queue[float | None], rate: float, seconds: float, clients: int) -> None:
    """Put the moments at which requests are due, then one end for each client."""
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        moment = began + number / rate
        pause = moment - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        due.put_nowait(moment)
    for _ in range(clients):
        due.put_nowait(None)


async def follow(target: Target, tally: Tally, opened: asyncio.Event) -> None:
    """Buy a mug and follow its order, as a browser does: when the stream ends, open it again."""
    client, order = Client(target), ""
    while True:
        try:
            order = order or await _buy(client)
            await _listen(client, order, tally, opened)
            tally.reopened += 1
        except (Broken, TimeoutError) as error:
            tally.stream_failures[str(error) or f"nothing for {SILENCE:g} s"] += 1
            order = ""
            opened.set()
            await asyncio.sleep(0.5)
        finally:
            client.close()


async def _buy(client: Client) -> str:
    form = f"key={uuid.uuid4()}&name=Load&card=card-ok".encode()
    headers = {"Cookie": "basket=mug.1", "Content-Type": "application/x-www-form-urlencoded"}
    async with asyncio.timeout(PATIENCE):
        status, answer, _ = await client.ask("POST", "/checkout", headers=headers, body=form)
    if status != 303:
        raise Broken(f"an order was answered with {status}")
    return answer["location"]


async def _listen(client: Client, order: str, tally: Tally, opened: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        status, answer = await client.begin("GET", f"{order}/events", {"Accept": "text/event-stream"})
    if status != 200:
        raise Broken(f"the stream was answered with {status}")
    opened.set()
    lines = client.lines(answer)
    while True:
        async with asyncio.timeout(SILENCE):
            line = await anext(lines, None)
        if line is None:
            return
        if line == "event: gone":
            raise Broken("the order is gone")
        tally.events += line.startswith("event:")


async def run(arguments: argparse.Namespace, tally: Tally) -> None:
    """Do it and note in *tally* what came of it."""
    target = Target.of(arguments.url)
    streams: list[asyncio.Task[None]] = []
    for _ in range(arguments.stream):
        opened = asyncio.Event()
        streams.append(asyncio.create_task(follow(target, tally, opened)))
        await opened.wait()
    due: asyncio.Queue[float | None] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        for _ in range(arguments.clients):
            group.create_task(visit(target, arguments.path, due, tally))
        group.create_task(make_due(due, arguments.rate, arguments.seconds, arguments.clients))
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)


def report(tally: Tally, seconds: float, *, streamed: bool) -> bool:
    """Print the figures; whether nothing failed."""
    times = sorted(tally.milliseconds)
    failed = tally.failures.total()
    print(f"requests  {len(times)}")
    print(f"failed    {failed}")
    for what, count in tally.failures.most_common():
        print(f"          {what}: {count}")
    print(f"rps       {len(times) / seconds:.1f}")
    if times:
        print(f"p50       {times[len(times) // 2]:.1f} ms")
        print(f"p99       {times[min(len(times) - 1, len(times) * 99 // 100)]:.1f} ms")
    if streamed:
        print(f"stream    {tally.events} events, opened again {tally.reopened} times")
        for what, count in tally.stream_failures.most_common():
            print(f"          {what}: {count}")
    return not failed and not tally.stream_failures


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Visitors for the shop, and what came of their requests.")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--path", default="/", help="what they ask for")
    parser.add_argument("--rate", type=_positive, default=50.0, help="requests per second, all together")
    parser.add_argument("--seconds", type=_positive, default=10.0)
    parser.add_argument("--clients", type=int, default=10, help="connections")
    parser.add_argument(
        "--stream", type=int, nargs="?", const=1, default=0, metavar="N", help="also follow N orders live (default 1)"
    )
    arguments = parser.parse_args(argv)
    if arguments.clients < 1 or arguments.stream < 0:
        parser.error("--clients has to be at least 1, --stream at least 0")
    return arguments


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1_000_000:
        raise ValueError(text)
    return value


def main() -> int:
    arguments = arguments_of()
    began, tally = time.perf_counter(), Tally()
    with suppress(KeyboardInterrupt):  # Ctrl-C ends it early; what came of it until then is still told
        asyncio.run(run(arguments, tally))
    return 0 if report(tally, time.perf_counter() - began, streamed=bool(arguments.stream)) else 1


if __name__ == "__main__":
    sys.exit(main())
