"""A stream ends with the control plane, and what makes it ends with who listens."""

from __future__ import annotations

import asyncio

from atoll.server.listening import until


class Numbers:
    """Counts to three, then waits for ever; says when it was told to stop."""

    def __init__(self):
        self.stopped = False

    async def __aiter__(self):
        try:
            for number in range(3):
                yield number
            await asyncio.Event().wait()
        finally:
            self.stopped = True


async def test_values_pass_until_it_is_over():
    over, numbers, heard = asyncio.Event(), Numbers(), []
    async for number in until(over, aiter(numbers)):
        heard.append(number)
        if number == 2:
            over.set()
    assert heard == [0, 1, 2]


async def test_what_waits_for_news_ends_when_the_listener_is_gone():
    numbers, heard = Numbers(), asyncio.Event()

    async def listen():
        async for number in until(asyncio.Event(), aiter(numbers)):
            if number == 2:
                heard.set()

    listener = asyncio.create_task(listen())
    await heard.wait()
    await asyncio.sleep(0)  # it waits for the fourth
    listener.cancel()
    await asyncio.wait([listener])
    for _ in range(3):
        await asyncio.sleep(0)
    assert numbers.stopped
