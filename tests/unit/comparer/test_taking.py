from __future__ import annotations

import aiohttp
from yarl import URL

from atoll.comparer.taking import LARGEST, taking

TARGET = URL("http://shop.test/a%2Fb/x?q=a+b&c=%20", encoded=True)


async def take(socket, body=b"", **headers):
    taken = []
    named = {"x-atoll-compared": "orders", **headers}
    async with taking(socket, taken.append), aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session:
        async with session.request("GET", TARGET, headers=named, data=body) as response:
            assert response.status == 202
        async with session.request("GET", TARGET, headers=named) as response:  # on the same connection
            assert response.status == 202
    return taken


async def test_a_copy_is_answered_at_once_and_offered_as_it_came(tmp_path):
    copy, _ = await take(str(tmp_path / "copies.sock"), b"abc", **{"X-Many": "1"})
    assert (copy.service, copy.method, copy.target, copy.body) == ("orders", "GET", "/a%2Fb/x?q=a+b&c=%20", b"abc")
    assert {("host", "shop.test"), ("x-many", "1")} <= set(copy.headers)


async def test_a_body_that_is_too_large_is_read_and_not_kept(tmp_path):
    large, after = await take(str(tmp_path / "copies.sock"), b"x" * (LARGEST + 1))
    assert (large.body, after.body) == (None, b"")
    exact, _ = await take(str(tmp_path / "other.sock"), b"x" * LARGEST)
    assert exact.body == b"x" * LARGEST


async def test_headers_as_long_as_the_proxy_lets_them_be_are_taken(tmp_path):
    copy, _ = await take(str(tmp_path / "copies.sock"), **{"x-long": "y" * 50_000})
    assert ("x-long", "y" * 50_000) in copy.headers
