"""Constant load by keep-alive clients in a thread, counting what fails."""

import asyncio
import threading
import time


class Load:
    """Use as a context manager; `failed` lists what went wrong, `count` what went well."""

    def __init__(self, port, path="/", clients=8, pause=0.005):
        self.port, self.path, self.clients, self.pause = port, path, clients, pause
        self.count, self.failed, self.times = 0, [], []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)

    def wait(self, count, seconds=30):
        """Until so many more requests went well."""
        goal, deadline = self.count + count, time.monotonic() + seconds
        while self.count < goal and time.monotonic() < deadline:
            time.sleep(0.01)

    async def _all(self):
        await asyncio.gather(*(self._client() for _ in range(self.clients)))

    async def _client(self):
        reader = writer = None
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                status, closing = await asyncio.wait_for(self._request(reader, writer), 30)
                if closing:
                    writer.close()
                    writer = None
                if status != 200:
                    raise OSError(f"answered {status}")  # noqa: TRY301 - counted like a broken connection
                self.count += 1
                self.times.append((started, time.monotonic() - started))
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
                self.failed.append((started, repr(error)))
                if writer is not None:
                    writer.close()
                writer = None
            await asyncio.sleep(self.pause)

    async def _request(self, reader, writer):
        writer.write(f"GET {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        length, closing = 0, False
        while (line := (await reader.readline()).lower()) not in (b"\r\n", b""):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            closing = closing or line.strip() == b"connection: close"
        await reader.readexactly(length)
        return status, closing
