"""HTTP's verdicts, the middlewares, and the client hooks against the real libraries."""

# ruff: noqa: PLC0415 - optional libraries
import asyncio
import json
import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from atoll.kit import OK, DeadlineExceeded, Policy, Retry, deadline, remaining
from atoll.kit.admission import Admission
from atoll.kit.http import classify_http, judge_response, retry_after
from atoll.kit.integrations import asgi, wsgi
from atoll.kit.testing import virtual_time


def answer(status, **headers):
    return SimpleNamespace(
        status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (200, {}, "ok"),
        (404, {}, "ok"),
        (429, {}, "throttled"),
        (503, {}, "retry"),
        (503, {"Retry_After": "2"}, "throttled"),
        (500, {}, "retry"),
        (502, {}, "retry"),
        (504, {}, "retry"),
        (408, {}, "retry"),
        (501, {}, "fail"),
    ],
)
def test_what_a_status_says(status, headers, kind):
    assert judge_response(answer(status, **headers)).kind == kind


def test_errors_that_carry_a_response():
    error = OSError()
    error.response = answer(404)
    assert classify_http(error).kind == "ok"
    error = ValueError()
    error.status = 503
    error.headers = {}
    assert classify_http(error).kind == "retry"
    assert classify_http(ValueError()).kind == "fail"
    assert judge_response(object()) is OK


def test_retry_after_is_seconds_or_a_date():
    with virtual_time(1000.0):
        assert retry_after({"RETRY-after": "3"}) == 3
        assert retry_after({"Retry-After": formatdate(1005, usegmt=True)}) == pytest.approx(5)
        assert retry_after({"Retry-After": formatdate(900, usegmt=True)}) == 0
        assert retry_after({"Retry-After": "soon"}) is None
        assert retry_after({}) is None


def test_admission_refuses_what_would_be_late():
    admission = Admission()
    with pytest.raises(DeadlineExceeded):
        admission.check(0)
    for _ in range(20):
        admission.record(1.0)
    admission.check(2.0)
    with pytest.raises(DeadlineExceeded, match=r"0\.500 s are left"):
        admission.check(0.5)
    assert admission.refused == 2
    Admission(share=0).check(0.1)


# Servers.


async def ask(app, headers=(), kind="http"):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind,
        "method": "GET",
        "path": "/basket",
        "headers": [(a.encode(), b.encode()) for a, b in headers],
    }
    await app(scope, None, send)
    return sent


async def plain_app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(remaining()).encode()})


def test_asgi_gives_the_request_its_deadline():
    with virtual_time(1000.0) as clock:
        app = asgi.DeadlineMiddleware(plain_app)
        assert clock.run(ask(app))[1]["body"] == b"inf"
        assert clock.run(ask(app, [("x-envoy-expected-rq-timeout-ms", "1500")]))[1]["body"] == b"1.5"
        assert clock.run(ask(app, [("grpc-timeout", "2S")]))[1]["body"] == b"2.0"
        assert clock.run(ask(asgi.DeadlineMiddleware(plain_app, default=3)))[1]["body"] == b"3.0"
        assert clock.run(ask(app, [("grpc-timeout", "2S")], kind="websocket"))[1]["body"] == b"inf"
        late = clock.run(ask(app, [("x-envoy-expected-rq-timeout-ms", "0")]))
        assert late[0]["status"] == 504
        assert app.admission.refused == 1


def test_asgi_answers_504_when_the_time_is_up():
    async def slow(scope, receive, send):
        if scope["path"] == "begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(10)

    with virtual_time(1000.0) as clock:
        sent = clock.run(ask(asgi.DeadlineMiddleware(slow, default=1)))
        assert sent[0]["status"] == 504
        assert b"GET /basket (1 s)" in sent[1]["body"]

        async def begun():
            async def send(message):
                pass

            scope = {"type": "http", "method": "GET", "path": "begun", "headers": []}
            with pytest.raises(DeadlineExceeded):
                await asgi.DeadlineMiddleware(slow, default=1)(scope, None, send)

        clock.run(begun())


def test_wsgi_does_the_same():
    def app(environ, start_response):
        if environ.get("PATH_INFO") == "/slow":
            clock.advance(5)
            from atoll.kit import check

            check()
        start_response("200 OK", [])
        return [str(remaining()).encode()]

    def ask(app, **environ):
        statuses = []
        body = b"".join(app(environ, lambda status, _: statuses.append(status)))
        return statuses[0], body

    with virtual_time(1000.0) as clock:
        wrapped = wsgi.DeadlineMiddleware(app)
        assert ask(wrapped) == ("200 OK", b"inf")
        assert ask(wrapped, HTTP_GRPC_TIMEOUT="2S") == ("200 OK", b"2.0")
        assert ask(wrapped, HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS="0")[0] == "504 Gateway Timeout"
        slow = ask(wsgi.DeadlineMiddleware(app, default=1), REQUEST_METHOD="GET", PATH_INFO="/slow")
        assert slow[0] == "504 Gateway Timeout"
        assert b"GET /slow (1 s)" in slow[1]


# Clients.


@contextmanager
def server(*statuses):
    """A real server that answers these statuses, then 200; yields its address and the headers it got."""
    left, seen = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps(len(seen)).encode()
            self.send_response(left.pop(0) if left else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/", seen
    finally:
        running.shutdown()
        running.server_close()
        thread.join(10)


def policy(library):
    return Policy("p", retry=Retry(2, base=0, cap=0), classify=library.classify, judge=judge_response)


def check_headers(seen):
    assert len(seen) == 2
    assert {each["x-envoy-max-retries"] for each in seen} == {"0"}
    assert all(0 < int(each["x-envoy-expected-rq-timeout-ms"]) <= 30_000 for each in seen)


def test_httpx():
    pytest.importorskip("httpx")
    import httpx

    from atoll.kit.integrations import httpx as ours

    with server(502) as (url, seen), httpx.Client(transport=ours.Transport(policy(ours))) as client:
        with deadline(30, "test"):
            assert client.get(url).status_code == 200
        check_headers(seen)
        with deadline(0, "gone"), pytest.raises(DeadlineExceeded):
            client.get(url)
        assert len(seen) == 2

    async def main():
        with server(502) as (url, seen):
            async with httpx.AsyncClient(transport=ours.AsyncTransport(policy(ours))) as client:
                async with deadline(30, "test"):
                    assert (await client.get(url)).status_code == 200
                check_headers(seen)
        with server() as (url, seen):
            async with httpx.AsyncClient(transport=ours.AsyncTransport()) as client:
                assert (await client.get(url)).status_code == 200
            assert not {"x-envoy-max-retries", "x-envoy-expected-rq-timeout-ms"} & seen[0].keys()

    asyncio.run(main())
    with server() as (url, _), httpx.Client(transport=ours.Transport(), timeout=None) as client, deadline(9, "test"):
        assert client.get(url).status_code == 200
    assert ours.classify(httpx.ConnectError("x")).kind == "retry"
    assert ours.classify(ValueError()).kind == "fail"


def test_aiohttp():
    aiohttp = pytest.importorskip("aiohttp")
    from atoll.kit.integrations import aiohttp as ours

    async def main():
        with server(502) as (url, seen):
            async with aiohttp.ClientSession(middlewares=[ours.middleware(policy(ours))]) as session:
                async with deadline(30, "test"), session.get(url) as response:
                    assert response.status == 200
                check_headers(seen)
        with server() as (url, seen):
            async with aiohttp.ClientSession(middlewares=[ours.middleware()]) as session, session.get(url):
                assert "x-envoy-max-retries" not in seen[0]

    asyncio.run(main())
    assert ours.classify(aiohttp.ServerDisconnectedError()).kind == "retry"
    assert ours.classify(ValueError()).kind == "fail"


def test_requests():
    requests = pytest.importorskip("requests")
    from atoll.kit.integrations import requests as ours

    with server(502) as (url, seen), requests.Session() as session:
        session.mount("http://", ours.Adapter(policy(ours)))
        with deadline(30, "test"):
            assert session.get(url, timeout=(1, 60)).status_code == 200
        check_headers(seen)
    with server() as (url, seen), requests.Session() as session:
        session.mount("http://", ours.Adapter())
        assert session.get(url).status_code == 200
        assert "x-envoy-max-retries" not in seen[0]
    assert ours.classify(requests.ConnectionError()).kind == "retry"


def test_prometheus():
    client = pytest.importorskip("prometheus_client")
    from atoll.kit import Breaker, experiment
    from atoll.kit.integrations import prometheus as ours

    registry = client.CollectorRegistry()
    ours.register(registry)
    mine = Policy("scraped", breaker=Breaker(consecutive=1))
    mine.run(int)
    labels = {"policy": "scraped", "part": "breaker", "value": "ok"}
    assert registry.get_sample_value("atoll_kit_state", labels) == 1
    assert registry.get_sample_value("atoll_kit_breaker_phase", {"policy": "scraped", "phase": "closed"}) == 1
    one = experiment("scraped", candidate=int, run_if=False)
    one(int)()
    assert registry.get_sample_value("atoll_kit_experiment", {"experiment": "scraped", "value": "skipped"}) == 1


def test_opentelemetry():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from atoll.kit import Breaker, CircuitOpen, experiment
    from atoll.kit.integrations import opentelemetry as ours

    reader = InMemoryMetricReader()
    stop = ours.instrument(MeterProvider([reader]))
    mine = Policy("measured", breaker=Breaker())
    mine.run(int)
    mine.breaker.force_open()
    with pytest.raises(CircuitOpen):
        mine.run(int)
    stop()
    one = experiment("measured", candidate=int, run_if=False)
    one(int)()
    points = {
        (metric.name, *sorted(str(value) for value in point.attributes.values())): point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    assert points["atoll.kit.state", "breaker", "measured", "ok"] == 1
    assert points["atoll.kit.events", "measured", "reject"] == 1
    assert points["atoll.kit.experiment", "measured", "skipped"] == 1
