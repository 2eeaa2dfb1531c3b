"""Load for tests: `load.py HOST PORT AUTHORITY METHOD CONNECTIONS`. Runs until SIGTERM, then prints what happened."""

import asyncio
import collections
import json
import signal
import sys

HOST, PORT, AUTHORITY, METHOD, CONNECTIONS = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
REQUEST = f"{METHOD} /load HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: 0\r\n\r\n".encode()

answers: collections.Counter[str] = collections.Counter()
bad: list[str] = []


async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request; whether the connection may be used again."""
    writer.write(REQUEST)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if head.split(" ")[1] == "200":
        answers[body.decode().split("\n")[0]] += 1
    else:
        bad.append(head.split("\r\n")[0] + " " + body.decode()[:200])
    return headers.get("connection") != "close"


async def user(ended: asyncio.Event) -> None:
    writer = None
    while not ended.is_set():
        fresh = writer is None
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(HOST, PORT, limit=1 << 20)
            keep = await once(reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:
            keep = False
            # A server may close an idle connection at any time: clients try once more on a new one (RFC 9112, 9.3.1).
            if fresh:
                bad.append(repr(error))
        if not keep and writer is not None:
            writer.close()
            writer = None
        if bad:
            await asyncio.sleep(0.01)


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    users = [asyncio.create_task(user(ended)) for _ in range(CONNECTIONS)]
    sys.stdout.write("running\n")
    sys.stdout.flush()
    await asyncio.gather(*users)
    sys.stdout.write(json.dumps({"answers": answers, "bad": bad}))


asyncio.run(main())
