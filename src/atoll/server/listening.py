"""Applications at sockets, and streams that end with the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import uvicorn
from starlette.applications import Starlette

T = TypeVar("T")
_SECOND = 1.0
"""How long a date is right."""


async def until(ended: asyncio.Event, values: AsyncIterator[T]) -> AsyncIterator[T]:
    """The values, until the control plane ends: an open stream must not hold it up."""
    over = asyncio.ensure_future(ended.wait())
    following: asyncio.Future[T] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(values))
            await asyncio.wait({following, over}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        over.cancel()
        if following is not None:  # whoever listened may have gone
            following.cancel()


async def serve(application: Starlette, *, uds: Path | None = None, listener: socket.socket | None = None) -> None:
    """Serve at a unix socket or a listener until cancelled; open requests have a second to finish."""
    config = uvicorn.Config(
        application,
        uds=str(uds) if uds is not None else None,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = _Quiet(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener] if listener is not None else None))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        server.over.set()
        await serving
        raise


class _Quiet(uvicorn.Server):
    """Uvicorn that leaves signals alone, as ours end the engine first, and does not look up ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.over = asyncio.Event()

    async def main_loop(self) -> None:
        """Keep the Date header right until somebody says that it is over."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SECOND):
                    await self.over.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield
