"""The policies of calls and routes, each seen to act between real services."""

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from e2e.harness import until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(120)]

FILE = """
  web:
    source: app
    instances: 2
    health: {{path: /healthz, interval: 500ms}}
    routes: [/]
    release: {{drain: 1s, grace: 5s}}
    calls:
      slow: {{timeout: {timeout}, retries: 0}}
      narrow: {{concurrency: 1, queue: 0}}
      broken: {{retries: 0, breaker: {{errors: 50%, min-calls: 5, window: 500ms, open: 2s}}}}
      row: {{retries: 0, breaker: {{consecutive: 3, open: 60s}}}}
      http://127.0.0.2:{outside}: {{timeout: 5s}}
  slow: {{source: app, health: /healthz}}
  narrow: {{source: app, health: /healthz}}
  broken: {{source: app, health: /healthz}}
  row: {{source: app, health: /healthz}}
  hidden: {{source: app, health: /healthz}}
"""
CLOSED = "broken has no instance that can answer now"


class Outside(BaseHTTPRequestHandler):
    """A server that belongs to nobody's system."""

    def do_GET(self):
        body = json.dumps({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def outside():
    server = ThreadingHTTPServer(("127.0.0.2", 0), Outside)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def running(shared, outside):
    shared.source()
    shared.write(FILE.format(timeout="500ms", outside=outside))
    shared.run("up", "--detach")
    return shared


def count(system, service, request):
    """How many times an instance of *service* wrote that it got *request*."""
    return system.run("logs", service, "--tail", "1000").stdout.count(f"{request}\n")


def send(system, method, path):
    request = urllib.request.Request(system.url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_call_takes_no_longer_than_its_timeout(running):
    status, text = running.get("/call?http://slow/slow?60")
    assert (status, text.strip()) == (504, "slow did not answer web in time")


def test_what_is_idempotent_is_tried_again_and_nothing_else(running):
    assert send(running, "GET", "/fail?503&get") == 503
    assert send(running, "POST", "/fail?503&post") == 503
    assert send(running, "GET", "/fail?500&answer") == 500
    until(lambda: count(running, "web", "GET /fail?500&answer"), what="the line of the last request")
    assert count(running, "web", "GET /fail?503&get") == 3
    assert count(running, "web", "POST /fail?503&post") == 1
    assert count(running, "web", "GET /fail?500&answer") == 1


def test_a_post_that_was_received_is_not_sent_to_another_instance_when_the_first_dies(running):
    before = {i["name"] for i in running.instances("web")}
    assert send(running, "POST", "/exit?3&once") in {502, 503}
    until(lambda: running.status()["converged"] and {i["name"] for i in running.instances("web")} != before)
    assert len({i["name"] for i in running.instances("web")} & before) == 1
    assert count(running, "web", "POST /exit?3&once") == 1


def test_more_calls_at_once_than_the_bulkhead_allows_are_refused_at_once(running):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.get, "/call?http://narrow/slow?5&only")
        until(lambda: count(running, "narrow", "GET /slow?5&only"), what="the first call")
        status, text = running.get("/call?http://narrow/")
        assert not first.done()
        assert (status, text.strip()) == (503, "web has as many calls to narrow open as it may (concurrency)")
        assert first.result()[0] == 200
    assert running.get("/call?http://narrow/")[0] == 200


def test_a_share_of_errors_opens_the_breaker_and_it_closes_again(running):
    assert running.get("/call?http://broken/")[0] == 200
    until(lambda: CLOSED in running.get("/call?http://broken/fail?500")[1], what="an open breaker")
    assert running.get("/call?http://broken/")[0] == 503
    until(lambda: running.get("/call?http://broken/")[0] == 200, what="the breaker's closing")


def test_failures_in_a_row_open_the_breaker_of_that_caller_only(running):
    answers = [running.get("/call?http://row/fail?503") for _ in range(3)]
    assert [status for status, _ in answers] == [503] * 3
    until(lambda: "no instance that can answer" in running.get("/call?http://row/")[1], what="an open breaker")
    assert running.status("row")["ready"] == 1


def test_what_is_not_declared_is_refused_with_the_line_to_add(running, outside):
    status, text = running.get("/call?http://hidden/")
    assert (status, text.strip()) == (
        403,
        "web may not call hidden: add `hidden` under services.web.calls in atoll.yaml",
    )
    status, text = running.get(f"/call?http://127.0.0.3:{outside}/")
    assert status == 403
    assert f"add `http://127.0.0.3:{outside}` under services.web.calls" in text


def test_a_declared_host_outside_is_reached_and_told_nothing_about_us(running, outside):
    status, text = running.get(f"/call?http://127.0.0.2:{outside}/there?is=it")
    assert status == 200
    seen = json.loads(text)
    assert seen["path"] == "/there?is=it"
    assert not [name for name in seen["headers"] if name.startswith(("x-atoll", "x-envoy", "x-forwarded"))]


def test_an_edited_policy_acts_without_a_restart(running, outside):
    before = {i["name"]: i["pid"] for s in running.status()["services"] for i in s["instances"]}
    assert running.get("/call?http://slow/slow?1")[0] == 504
    running.write(FILE.format(timeout="5s", outside=outside))
    plan = running.run("plan", ok=False)
    assert plan.returncode == 1
    assert "takes effect at once, nothing restarts" in plan.stdout
    with Load(running.port) as load:
        running.run("apply", "--yes")
        assert running.get("/call?http://slow/slow?1")[0] == 200
        load.wait(50)
    assert load.failed == []
    assert {i["name"]: i["pid"] for s in running.status()["services"] for i in s["instances"]} == before
