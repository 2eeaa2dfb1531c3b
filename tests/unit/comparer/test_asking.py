from __future__ import annotations

import asyncio
from random import Random

import pytest

from atoll.comparer.asking import LARGEST, Asker
from atoll.comparer.taking import Copy
from atoll.policies.comparing.canonical import Contract
from atoll.policies.comparing.messages import Task
from atoll.policies.comparing.samples import NoAnswer

TASK = Task("orders", "orders-r2", 5.0, 4, 1.0, Contract())
HEADERS = (
    ("host", "shop.test"),
    ("x-request-id", "7"),
    ("accept", "*/*"),
    ("accept", "text/plain"),
    ("x-atoll-compared", "orders"),
    ("accept-encoding", "gzip"),
    ("if-none-match", '"x"'),
    ("connection", "keep-alive"),
    ("x-atoll-shadow-run", "forged"),
)


def copy(target="/a%2Fb/%7Ex/./%C3%A9?q=a+b&c=%20", method="GET", body=b""):
    return Copy("orders", method, target, HEADERS, body)


@pytest.fixture
async def asker(mesh):
    mesh.answers = {"orders": (200, b'{"a": 1}'), "orders@next": (201, b'{"a": 2}')}
    one = Asker(mesh.socket, Random(7))
    yield one
    await one.close()


async def test_stable_is_asked_twice_and_the_candidate_once(mesh, asker):
    answers = await asker.triple(copy(), TASK)
    assert [(a.reply.status, a.reply.body) for a in answers] == [
        (200, b'{"a": 1}'), (200, b'{"a": 1}'), (201, b'{"a": 2}'),
    ]  # fmt: skip
    assert sorted(headers["x-atoll-shadow-to"] for _, headers, _ in mesh.asked) == ["orders", "orders", "orders@next"]
    assert all(a.reply.headers == {"content-type": "application/json"} for a in answers)  # what counts and no more


async def test_the_request_is_the_one_that_was_copied_and_says_that_it_is_no_users(mesh, asker):
    await asker.triple(copy(method="POST", body=b"x=1"), TASK)
    line, headers, body = mesh.asked[0]
    assert (line, body) == ("POST /a%2Fb/%7Ex/./%C3%A9?q=a+b&c=%20 HTTP/1.1", b"x=1")
    assert headers["host"] == "shop.test"
    assert headers["x-request-id"] == "7"
    assert headers["x-atoll-shadow-run"] == "orders-r2"
    assert headers["accept-encoding"] == "identity"
    assert {"x-atoll-compared", "if-none-match", "user-agent"}.isdisjoint(headers)


async def test_the_order_is_random(mesh, asker):
    for _ in range(20):
        await asker.triple(copy(), TASK)
    order = [headers["x-atoll-shadow-to"] for _, headers, _ in mesh.asked]
    assert {place % 3 for place, to in enumerate(order) if to == "orders@next"} == {0, 1, 2}


async def test_what_does_not_answer_in_time_did_not_answer(mesh, asker):
    async def never():
        await asyncio.Event().wait()

    mesh.answers["orders@next"] = never
    answers = await asker.triple(copy(), Task("orders", "orders-r2", 5.0, 4, 0.05, Contract()))
    assert [a.reply is NoAnswer.LATE for a in answers] == [False, False, True]
    assert answers[2].took == 0.05


async def test_what_the_proxy_answers_itself_is_no_answer(mesh, asker):
    mesh.named = False
    assert [a.reply for a in await asker.triple(copy(), TASK)] == [NoAnswer.UNREACHED] * 3


async def test_what_is_too_large_is_not_read_to_its_end_and_costs_the_others_nothing(mesh, asker):
    mesh.answers["orders@next"] = (200, b"x" * (LARGEST + 1))
    answers = await asker.triple(copy(), TASK)
    assert [a.reply if isinstance(a.reply, NoAnswer) else a.reply.status for a in answers] == [
        200, 200, NoAnswer.LARGE,
    ]  # fmt: skip


async def test_what_is_cut_short_says_so(mesh, asker):
    async def cut():
        raise ConnectionResetError

    mesh.answers["orders@next"] = cut
    answers = await asker.triple(copy(), TASK)
    assert [isinstance(a.reply, NoAnswer) for a in answers] == [False, False, True]
    assert answers[2].reply is NoAnswer.CUT


async def test_what_is_no_path_is_not_asked_for(mesh, asker):
    answers = await asker.triple(copy("*", method="OPTIONS"), TASK)
    assert [a.reply for a in answers] == [NoAnswer.UNREACHED] * 3
    assert mesh.asked == []


async def test_without_a_mesh_nobody_is_asked(tmp_path):
    one = Asker(str(tmp_path / "nothing.sock"), Random(1))
    assert [a.reply for a in await one.triple(copy(), TASK)] == [NoAnswer.UNREACHED] * 3
    await one.close()
