"""Waiting in an event loop for a permit."""

from __future__ import annotations

import asyncio

from atoll.kit.permits import Permits


async def enter(permits: Permits) -> None:
    """
    Waits for a permit without blocking the loop. A cancelled wait gives up its place, or the permit it just got.

    Raises:
        BulkheadFull: the line is full, or the wait was too long.

    """
    loop = asyncio.get_running_loop()
    granted: asyncio.Future[bool] = loop.create_future()

    def settle(came: bool) -> None:
        if not granted.done():
            granted.set_result(came)

    def wake() -> bool:
        try:
            loop.call_soon_threadsafe(settle, True)
        except RuntimeError:  # the loop was closed with somebody in the line
            return False
        return True

    waiter = permits.join(wake)
    patience = permits.patience()
    timer = loop.call_later(max(0.0, patience), settle, False)
    try:
        came = await granted
    except BaseException:
        permits.leave(waiter)
        raise
    finally:
        timer.cancel()
    if not came:
        permits.leave(waiter)
        raise permits.refusal(f"no permit within {patience:.3g} s") from None
