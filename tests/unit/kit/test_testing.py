"""The clock for tests itself."""

import asyncio
import socket

import pytest

from atoll.kit.testing import virtual_time


def test_real_sockets_work_beside_virtual_time():
    async def main():
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        seen = []

        def room():
            seen.append("room")
            loop.remove_writer(here)

        with here, there:
            loop.add_reader(here, seen.append, "nothing")
            loop.add_reader(here, lambda: seen.append(here.recv(1)))  # another one for the same socket
            loop.add_writer(here, room)
            await asyncio.sleep(1)
            there.send(b"x")
            await asyncio.sleep(1)
            loop.remove_reader(here)
        return seen

    with virtual_time() as time:
        began = time.now()
        seen = time.run(main())
    assert seen == ["room", b"x"]
    assert time.now() - began == 2


@pytest.mark.parametrize("start", [0.0, 2.0**25, 2.0**40])
def test_a_sleep_ends_also_where_the_clock_is_so_late_that_a_nanosecond_more_is_no_more(start):
    with virtual_time(start) as time:
        time.run(asyncio.sleep(3600 * 24 * 365))
        assert time.now() == pytest.approx(start + 3600 * 24 * 365)
