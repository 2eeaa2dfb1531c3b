from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse

from atoll.server.dashboard.access import COOKIE, Door, make_pass

TOKEN = "kept-between-us"
PASS = make_pass(TOKEN)


@pytest.fixture
async def client():
    transport = httpx.ASGITransport(Door(PlainTextResponse("inside"), TOKEN))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4711") as one:
        yield one


def known():
    return {"cookie": f"{COOKIE}={PASS.cookie}"}


async def test_the_token_becomes_a_cookie_and_leaves_the_address(client):
    answer = await client.get("/", params={"token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{PASS.root}/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert f"Path={PASS.root}" in cookie
    assert TOKEN not in cookie + answer.headers["location"]
    assert (await client.get(f"{PASS.root}/")).text == "inside"


async def test_the_cookie_is_not_sent_to_a_service_behind_the_gateway(client):
    await client.get("/", params={"token": TOKEN})
    assert "cookie" not in client.build_request("GET", "http://127.0.0.1:8080/").headers


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%C3%A4%F0%9F%98%80"])
async def test_without_the_token_it_says_which_command_gives_one(client, query):
    answer = await client.get(f"{PASS.root}/{query}")
    assert answer.status_code == 403
    assert "run `atoll dashboard`" in answer.text


@pytest.mark.parametrize("value", ["", "wrong", TOKEN, PASS.cookie[:-1]])
async def test_only_the_right_cookie_lets_in(client, value):
    answer = await client.get(f"{PASS.root}/", headers={"cookie": f"{COOKIE}={value}"})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "localhost", "localhost:65535", "LOCALHOST:1"])
async def test_names_of_this_machine_are_answered(client, host):
    assert (await client.get("/", headers={"host": host} | known())).text == "inside"


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:4711", "127.0.0.1.evil.example", "a@localhost", "[::1", "localhost:1\n"]
)
async def test_a_name_that_was_pointed_here_is_refused(client, host):
    answer = await client.get("/", params={"token": TOKEN}, headers={"host": host} | known())
    assert answer.status_code == 421
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_only_looking_is_possible(client, method):
    answer = await client.request(method, "/", headers=known())
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("site", "code"), [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]
)
async def test_another_port_of_this_host_cannot_use_the_cookie(client, site, code):
    answer = await client.get("/", headers={"sec-fetch-site": site} | known())
    assert answer.status_code == code


async def test_every_answer_forbids_keeping_framing_and_guessing(client):
    for answer in (await client.get("/"), await client.get("/", headers=known())):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_another_token_opens_another_path_with_another_cookie():
    other = make_pass("another")
    assert make_pass(TOKEN) == PASS
    assert other.root != PASS.root
    assert other.cookie != PASS.cookie
