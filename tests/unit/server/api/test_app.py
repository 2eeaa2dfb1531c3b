from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from atoll import wire
from atoll.errors import AtollError, Conflict, Failed, Refused, Unavailable
from atoll.server.api.answers import BIGGEST_REQUEST
from atoll.server.api.app import app


@pytest.fixture
async def client(scene):
    transport = httpx.ASGITransport(app(scene.open()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://atoll") as one:
        yield one


def refusal(answer: httpx.Response) -> wire.Refusal:
    return wire.decode(answer.content, wire.Refusal)


async def post(client, path: str, request: wire.ApplyRequest | None = None) -> httpx.Response:
    return await client.post(path, content=wire.encode(request) if request is not None else None)


async def test_who_answers(client):
    answer = await client.get("/v1/identity")
    assert answer.headers["content-type"] == "application/json"
    assert wire.decode(answer.content, wire.Identity).pid == 4242


async def test_status_is_computed_when_asked(client, scene):
    scene.steady()
    view = wire.decode((await client.get("/v1/status")).content, wire.StatusView)
    assert [(s.name, s.ready) for s in view.services] == [("web", 1), ("orders", 2), ("payments", 1)]
    assert scene.looks == 1


async def test_the_graph_is_that_of_what_was_applied(client, scene):
    before = wire.decode((await client.get("/v1/graph")).content, wire.GraphView)
    assert before.edges == ()
    scene.serve_now()
    after = wire.decode((await client.get("/v1/graph")).content, wire.GraphView)
    assert "orders" in after.nodes


async def test_plan_and_apply_in_one_go(client, scene):
    plan = wire.decode((await post(client, "/v1/plan", scene.request())).content, wire.PlanView)
    assert [d.subject for d in plan.differences] == ["web", "orders", "payments"]
    answer = await post(client, "/v1/apply", scene.request(index=plan.index))
    receipt = wire.decode(answer.content, wire.Receipt)
    assert receipt.change.state == "queued"
    change = await client.get(f"/v1/changes/{receipt.change.number}")
    assert wire.decode(change.content, wire.ChangeView) == receipt.change
    assert scene.pokes == 1


async def test_a_plan_that_has_changed_is_a_conflict(client, scene):
    answer = await post(client, "/v1/apply", scene.request(index="0-0"))
    assert answer.status_code == 409
    assert refusal(answer).kind == "Conflict"
    assert "atoll plan" in refusal(answer).hint


async def test_a_wrong_file_is_refused_with_its_places(client, scene):
    answer = await post(client, "/v1/plan", scene.request("system: shop\nservices: {a: {colour: red}}"))
    assert answer.status_code == 422
    assert refusal(answer).kind == "Refused"
    assert "atoll.yaml:2:" in refusal(answer).message


@pytest.mark.parametrize("path", ["/v1/plan", "/v1/apply", "/v1/deploy"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"text": 3}', b"\xff"])
async def test_what_is_not_a_request_is_refused(client, path, content):
    answer = await client.post(path, content=content)
    assert answer.status_code == 422
    assert "not understood" in refusal(answer).message


async def test_a_request_that_is_too_big_is_refused(client):
    answer = await client.post("/v1/plan", content=b" " * (BIGGEST_REQUEST + 1))
    assert answer.status_code == 422
    assert "8 MiB" in refusal(answer).message


async def test_deploy_rollback_and_down_are_queued(client, scene):
    scene.serve_now(1, 2)
    for path, request in (
        ("/v1/deploy", scene.request(services=("orders",))),
        ("/v1/rollback?service=orders", None),
        ("/v1/down", None),
    ):
        receipt = wire.decode((await post(client, path, request)).content, wire.Receipt)
        assert receipt.change.kind == path.split("/")[2].split("?")[0]
        assert receipt.change.state == "queued"
        assert scene.ended == (1 if path == "/v1/down" else 0), "told to end once all of that is over"


async def test_a_change_that_is_not_there(client):
    answer = await client.get("/v1/changes/77")
    assert answer.status_code == 422
    assert "77" in refusal(answer).message


async def test_releases_of_one_and_of_all(client, scene):
    scene.serve_now(1, 2)
    one = wire.decode(
        (await client.get("/v1/releases", params={"service": "orders"})).content, tuple[wire.ReleaseView, ...]
    )
    assert [(r.number, r.state) for r in one] == [(2, "serving"), (1, "retired")]
    every = wire.decode((await client.get("/v1/releases")).content, tuple[wire.ReleaseView, ...])
    assert len(every) == 6


@pytest.mark.parametrize("path", ["/v1/releases", "/v1/events", "/v1/logs"])
async def test_a_service_that_never_was_is_refused_with_the_nearest(client, scene, path):
    scene.serve_now()
    answer = await client.get(path, params={"service": "ordrs"})
    assert answer.status_code == 422
    assert refusal(answer).hint == "did you mean orders?"


async def test_events_after_a_number_and_of_a_service(client, scene):
    scene.serve_now()
    scene.store.append(
        wire.Event(0, 0.0, "info", "ready", name, name, str(n)) for n in range(5) for name in ("web", "orders")
    )

    async def events(**query: object) -> list[int]:
        answer = await client.get("/v1/events", params=query)
        return [e.number for e in wire.decode(answer.content, tuple[wire.Event, ...])]

    assert await events() == list(range(1, 11))
    assert await events(limit=3) == [8, 9, 10]
    assert await events(after=8) == [9, 10]
    assert await events(after=1, limit=2) == [2, 3]
    assert await events(service="orders", limit=2) == [8, 10]
    assert await events(limit=0) == []


@pytest.mark.parametrize("query", ["after=-1", "limit=x", "limit=1.5", "after=" + "9" * 19, "after=" + "9" * 5000])
async def test_a_number_that_is_none_is_refused(client, query):
    answer = await client.get(f"/v1/events?{query}")
    assert answer.status_code == 422
    assert "whole number" in refusal(answer).message


async def test_following_events_is_a_line_each(client, scene):
    scene.happening = [wire.Event(n, 0.0, "info", "ready", "web", "web", "line\nbreak") for n in (1, 2, 3)]
    answer = await client.get("/v1/events", params={"follow": "", "after": 1})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [wire.decode(line, wire.Event).number for line in answer.text.splitlines()] == [2, 3]


async def test_logs_are_a_line_each(client, scene):
    scene.serve_now()
    scene.written = [wire.LogLine(s, f"{s}-r1-1", str(n)) for n in range(3) for s in ("web", "orders")]
    answer = await client.get("/v1/logs", params={"service": "orders", "tail": 4})
    assert [wire.decode(line, wire.LogLine).text for line in answer.text.splitlines()] == ["1", "2"]
    assert (await client.get("/v1/logs", params={"tail": 0})).text == ""


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (Refused("why", hint="what"), 422, "Refused"),
        (Conflict("why", hint="what"), 409, "Conflict"),
        (Unavailable("why", hint="what"), 503, "Unavailable"),
        (Failed("why", hint="what"), 500, "Failed"),
        (AtollError("why", hint="what"), 500, "Failed"),
    ],
)
async def test_every_error_of_ours_is_a_refusal(scene, error, code, kind):
    async def broken():
        raise error

    transport = httpx.ASGITransport(app(replace(scene.open(), snapshot=broken)))
    async with httpx.AsyncClient(transport=transport, base_url="http://atoll") as client:
        answer = await client.get("/v1/status")
    assert answer.status_code == code
    assert refusal(answer) == wire.Refusal(kind, "why", "what")


@pytest.mark.parametrize("path", ["/v1/plan", "/v1/apply", "/v1/deploy", "/v1/rollback", "/v1/down"])
async def test_looking_cannot_change_anything(client, scene, path):
    assert (await client.get(path)).status_code == 405
    assert scene.ended == 0
