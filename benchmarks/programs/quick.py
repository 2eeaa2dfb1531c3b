"""A service that costs as little as Python can: one small answer to everything, so that the proxies are what shows."""

import asyncio
import os

BODY = b"x" * 128
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
END = b"\r\n\r\n"


class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.rest = b""

    def data_received(self, data):
        whole = self.rest + data
        count = whole.count(END)
        self.rest = whole.rpartition(END)[2] if count else whole
        if count:
            self.transport.write(ANSWER * count)


async def main():
    server = await asyncio.get_running_loop().create_server(Answer, "0.0.0.0", int(os.environ["PORT"]))
    await server.serve_forever()


asyncio.run(main())
