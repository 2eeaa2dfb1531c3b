"""What a request got of a flag that is being released is said in its answer, also where it failed."""

import asyncio
import io
import json
import threading

import pytest
from openfeature.evaluation_context import EvaluationContext

from atoll.kit.flags import FlagClient
from atoll.kit.flags.seen import header, see, watching
from atoll.kit.integrations import asgi_flags, wsgi_flags
from atoll.kit.integrations.openfeature import FlagProvider

PLAIN = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
MOVING = PLAIN | {"metadata": {"releasing": "on"}}
DOCUMENT = {"flags": {"new": MOVING, "b, ü": MOVING, "old": PLAIN}}


@pytest.fixture
def flags(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(DOCUMENT))
    with FlagClient(path) as client:
        assert client.ready(10)
        yield client


def test_only_flags_that_are_being_released_are_seen_and_only_where_somebody_watches(flags):
    seen = {}
    flags.boolean("new", False)
    with watching(seen):
        assert flags.boolean("old", False) is True
        assert seen == {}
        flags.boolean("new", False)
        flags.details("b, ü", False)
        flags.boolean("no-such", False)
    flags.boolean("old", False)
    assert seen == {"new": "on", "b, ü": "on"}
    assert header(seen) == "b%2C%20%C3%BC=on, new=on"


def test_openfeature_is_seen_as_well(flags):
    seen = {}
    with watching(seen):
        FlagProvider(flags).resolve_boolean_details("new", False, EvaluationContext("u"))
    assert seen == {"new": "on"}


def test_requests_side_by_side_do_not_see_each_other():
    async def request(name, seen):
        with watching(seen):
            await asyncio.sleep(0)
            await asyncio.to_thread(see, name, "on")

    async def both():
        found = [{}, {}]
        await asyncio.gather(request("a", found[0]), request("b", found[1]))
        return found

    assert asyncio.run(both()) == [{"a": "on"}, {"b": "on"}]


# --- ASGI -----------------------------------------------------------------------------------------------------------


def asgi(app, kind="http"):
    sent = []

    async def send(message):
        sent.append(message)

    async def ask():
        await asgi_flags.FlagMiddleware(app)({"type": kind}, None, send)

    try:
        asyncio.run(ask())
    except RuntimeError as error:
        sent.append(error)
    return sent


def asgi_app(act, fails_before=False, fails_after=False):
    async def app(scope, receive, send):
        act()
        if fails_before:
            raise RuntimeError("before")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        if fails_after:
            raise RuntimeError("after")
        await send({"type": "http.response.body", "body": b"x"})

    return app


NEW = (b"x-atoll-flag", b"new=on")


def test_asgi_answers_say_what_their_request_got(flags):
    start, body = asgi(asgi_app(lambda: flags.boolean("new", False)))
    assert (start["headers"], body["body"]) == ([(b"a", b"b"), NEW], b"x")
    start, _ = asgi(asgi_app(lambda: flags.boolean("old", False)))
    assert start["headers"] == [(b"a", b"b")]
    start, _ = asgi(asgi_app(lambda: flags.boolean("new", False)), kind="websocket")
    assert start["headers"] == [(b"a", b"b")]


def test_asgi_a_failure_counts_and_is_raised_on(flags):
    start, body, error = asgi(asgi_app(lambda: flags.boolean("new", False), fails_before=True))
    assert (start["status"], NEW in start["headers"], str(error)) == (500, True, "before")
    assert body["type"] == "http.response.body"
    assert [str(e) for e in asgi(asgi_app(lambda: None, fails_before=True))] == ["before"]  # the server's to answer
    start, error = asgi(asgi_app(lambda: flags.boolean("new", False), fails_after=True))
    assert (start["status"], str(error)) == (200, "after")


# --- WSGI -----------------------------------------------------------------------------------------------------------


def wsgi(app):
    """What a server would have: status, headers, body, what was written down, and what was raised."""
    started, errors, raised = [], io.StringIO(), ""
    body = []
    try:
        made = wsgi_flags.FlagMiddleware(app)({"wsgi.errors": errors}, lambda *said: started.append(said))
        try:
            body += made
        finally:
            if hasattr(made, "close"):
                made.close()
    except RuntimeError as error:
        raised = str(error)
    return started, b"".join(body), errors.getvalue(), raised


def plain(act, error=""):
    def app(environ, start_response):
        act()
        if error:
            raise RuntimeError(error)
        start_response("200 OK", [("A", "b")])
        return [b"x", b"y"]

    return app


def stepwise(act, error="", late=False, closed=None):
    def app(environ, start_response):
        try:
            act()
            if error and not late:
                raise RuntimeError(error)
            start_response("200 OK", [("A", "b")])
            yield b"x"
            if error:
                raise RuntimeError(error)
            yield b"y"
        finally:
            if closed is not None:
                closed.append(1)

    return app


@pytest.mark.parametrize("app", [plain, stepwise])
def test_wsgi_answers_say_what_their_request_got(flags, app):
    ((status, headers),), body, _, _ = wsgi(app(lambda: flags.boolean("new", False)))
    assert (status, headers, body) == ("200 OK", [("A", "b"), ("x-atoll-flag", "new=on")], b"xy")
    ((_, headers),), _, _, _ = wsgi(app(lambda: flags.boolean("old", False)))
    assert headers == [("A", "b")]


@pytest.mark.parametrize("app", [plain, stepwise])
def test_wsgi_a_failure_counts_and_is_written_down(flags, app):
    ((status, headers, error),), body, written, raised = wsgi(app(lambda: flags.boolean("new", False), "broken"))
    assert (status[:3], ("x-atoll-flag", "new=on") in headers, body) == ("500", True, b"Internal Server Error")
    assert ("RuntimeError: broken" in written, error[0], raised) == (True, RuntimeError, "")
    started, _, written, raised = wsgi(app(lambda: None, "broken"))
    assert (started, written, raised) == ([], "", "broken")  # the server's to answer


def test_wsgi_a_failure_in_the_middle_is_the_server_s_and_the_body_is_closed(flags):
    closed = []
    started, _, _, raised = wsgi(stepwise(lambda: flags.boolean("new", False), "broken", late=True, closed=closed))
    assert (len(started), raised, closed) == (1, "broken", [1])


def test_what_a_thread_of_another_request_does_is_not_seen(flags):
    def app(environ, start_response):
        thread = threading.Thread(target=flags.boolean, args=("new", False))
        thread.start()
        thread.join()
        start_response("200 OK", [])
        return []

    ((_, headers),), _, _, _ = wsgi(app)
    assert headers == []
