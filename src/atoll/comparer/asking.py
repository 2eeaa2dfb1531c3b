"""Asking the releases: the same request to each, by way of the mesh, within a time and a size."""

from __future__ import annotations

import asyncio
import time
from random import Random

import aiohttp
from yarl import URL

from atoll.comparer.taking import LONGEST_HEAD, Copy
from atoll.policies.comparing.canonical import Reply
from atoll.policies.comparing.messages import Task
from atoll.policies.comparing.samples import Answer, NoAnswer
from atoll.values.headers import COMPARED, SHADOW_FROM, SHADOW_RUN, SHADOW_TO

LARGEST = 1024 * 1024
"""Bytes of an answer's body; one that has more is not compared."""
PIECE = 64 * 1024
CONNECTIONS = 1024

# A connection's own (RFC 9110, 7.6.1); what the call has anew; and what would leave the body out of the answer (13.1).
_NOT_PASSED_ON = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
        *("content-length", "accept-encoding", COMPARED, SHADOW_RUN, SHADOW_TO),
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"),
    }
)
_OWN_OF_AIOHTTP = ("user-agent", "accept", "accept-encoding", "content-type")


class _Unanswered(Exception):
    """There is no answer that could be compared; says why."""

    def __init__(self, why: NoAnswer) -> None:
        super().__init__(why)
        self.why = why


class Asker:
    """Asks over one socket of the mesh, on connections of its own. Made and closed on a running loop."""

    def __init__(self, socket: str, random: Random) -> None:
        self._random = random
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(socket, limit=CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),  # what one answer sets is nothing that the next request brings
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=_OWN_OF_AIOHTTP,
            max_line_size=LONGEST_HEAD,
            max_field_size=LONGEST_HEAD,
        )

    async def triple(self, copy: Copy, task: Task) -> tuple[Answer, Answer, Answer]:
        """
        The answers of stable, of stable once more, and of the candidate, asked at the same time in random order.

        In a fixed order whoever is last would see what the others changed, and be the odd one for it. An answer that is
        cut short, is larger than `LARGEST` or does not come says so in the place of its reply.
        """
        targets = [(0, task.service), (1, task.service), (2, f"{task.service}@next")]
        self._random.shuffle(targets)
        async with asyncio.TaskGroup() as group:
            asked = {place: group.create_task(self._ask(copy, task, target)) for place, target in targets}
        return asked[0].result(), asked[1].result(), asked[2].result()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _ask(self, copy: Copy, task: Task, target: str) -> Answer:
        begun = time.monotonic()
        reply: Reply | NoAnswer
        try:
            async with asyncio.timeout(task.timeout):
                reply = await self._reply(copy, task, target)
        except TimeoutError:
            return Answer(NoAnswer.LATE, task.timeout)
        except _Unanswered as error:
            reply = error.why
        except (aiohttp.ClientConnectorError, ValueError):
            reply = NoAnswer.UNREACHED
        except (aiohttp.ClientError, OSError):
            reply = NoAnswer.CUT
        return Answer(reply, time.monotonic() - begun)

    async def _reply(self, copy: Copy, task: Task, target: str) -> Reply:
        headers = _headers(copy, task, target)
        async with self._session.request(
            copy.method, _url(copy.target), headers=headers, data=copy.body or None, allow_redirects=False
        ) as response:
            if SHADOW_FROM not in response.headers:
                raise _Unanswered(NoAnswer.UNREACHED)
            body = b""
            async for piece in response.content.iter_chunked(PIECE):
                body += piece
                if len(body) > LARGEST:
                    raise _Unanswered(NoAnswer.LARGE)
            found = response.headers
            return Reply(response.status, {name: found[name] for name in task.contract.headers if name in found}, body)


def _url(target: str) -> URL:
    """The target as it came: to read it as a URL and to write it again could change it."""
    if not target.startswith("/"):
        raise ValueError(f"{target!r} is no path")
    return URL(f"http://mesh{target}", encoded=True)


def _headers(copy: Copy, task: Task, target: str) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in copy.headers if name not in _NOT_PASSED_ON]
    return [*kept, (SHADOW_RUN, task.run), (SHADOW_TO, target), ("accept-encoding", "identity")]
