from __future__ import annotations

import re

import httpx
import pytest

from atoll import wire
from atoll.server.dashboard.access import make_pass
from atoll.server.dashboard.page import ASSETS, dashboard

TOKEN = "kept-between-us"
ROOT = make_pass(TOKEN).root


@pytest.fixture
async def client(scene):
    transport = httpx.ASGITransport(dashboard(scene.open(), TOKEN))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", follow_redirects=True) as one:
        await one.get("/", params={"token": TOKEN})
        yield one


async def test_the_page_runs_only_what_carries_its_nonce(client):
    page = await client.get(f"{ROOT}/")
    policy = page.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]{20,})'", policy).group(1)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert set(re.findall(r'nonce="([^"]*)"', page.text)) == {nonce}
    again = await client.get(f"{ROOT}/")
    assert nonce not in again.text


async def test_the_page_has_no_style_or_script_within_and_asks_nobody_else(client):
    page = (await client.get(f"{ROOT}/")).text
    assert "style=" not in page
    assert not re.search(r"\son\w+=", page)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


@pytest.mark.parametrize(("name", "kind"), ASSETS.items())
async def test_its_parts_are_served_as_what_they_are(client, name, kind):
    part = await client.get(f"{ROOT}/{name}")
    assert part.status_code == 200
    assert part.headers["content-type"].startswith(kind)


async def test_nothing_puts_text_into_the_page_as_markup(client):
    for name in ("page.js", "drawing.js", "graph.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", (await client.get(f"{ROOT}/{name}")).text
        )


async def test_other_paths_are_not_there_and_looking_costs_nothing(client, scene):
    assert (await client.get(f"{ROOT}/%2e%2e/%2e%2e/etc/passwd")).status_code == 404
    assert (await client.get(f"{ROOT}/page.py")).status_code == 404
    await client.get(f"{ROOT}/")
    assert scene.looks == 0


def listen(response, count: int) -> list[str]:
    """The next *count* lines that are not empty."""
    lines = (line for line in response.iter_lines() if line)
    return [next(lines) for _ in range(count)]


def test_streams_over_a_socket(scene, served):
    scene.steady()
    scene.written = [wire.LogLine("web", "web-r1-1", "other"), wire.LogLine("orders", "orders-r1-1", "a <b>\nline")]
    server = served(lambda: dashboard(scene.open(), TOKEN, period=0.01))
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", follow_redirects=True) as client:
        client.get("/", params={"token": TOKEN})
        with client.stream("GET", f"{ROOT}/live") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert listen(response, 5)[::2] == ["event: status", "event: releases", "event: graph"]
        with client.stream("GET", f"{ROOT}/logs", params={"service": "orders"}) as response:
            heard = listen(response, 4)
            assert heard[0] == "event: start"
            assert wire.decode(heard[3].removeprefix("data: "), wire.LogLine) == scene.written[1]
