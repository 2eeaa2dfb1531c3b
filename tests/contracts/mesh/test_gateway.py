"""What the gateway makes of a request before it looks for a route, by Envoy's own answer."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from atoll.mesh import ir
from atoll.values.paths import NEVER, normal
from contracts.mesh.single import door, running
from ports import free_port

ECHO = {"text_format_source": {"inline_string": "%REQ(:PATH)%"}}
ROUTES: dict[str, object] = {
    "virtual_hosts": [
        {
            "name": "any",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body_format": ECHO}}],
        }
    ]
}
PATHS = [
    *(f"/a%{number:02x}b" for number in range(256)),
    *(f"/a%{number:02X}b" for number in range(256)),
    *("/", "//a///b", "/a/./b", "/a/.", "/a/..", "/a/b/..", "/..", "/x/../../..", "/a/...", "/a/..b", "/a%2e", "/%2e"),
    *("/a/.%2e/b", "/a/%2e%2E/b/", "/a/..;x=1/b", "/a/.;", "/a;x=1/b", "/a%252e", "/a/x/..;y/;z", "/a/..%3b/b"),
]
HOST = b" HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
NOT_PASSED_ON = (
    "this path is not passed on: it holds an encoded slash or backslash (%2F, %5C), a zero byte (%00), or a #"
)
NOTHING = "nothing is served here: the gateway makes no tunnels (CONNECT), and * is no path"
ANSWERED = [
    (b"GET /a%2Fb" + HOST, 400, NOT_PASSED_ON),
    (b"GET /a%5Cb" + HOST, 400, NOT_PASSED_ON),
    (b"GET /a%00b" + HOST, 400, NOT_PASSED_ON),
    (b"GET /a#b" + HOST, 400, NOT_PASSED_ON),
    (b"GET / HTTP/1.1\r\n\r\n", 400, "does not say which host it is for (Host)"),
    (b"GET /\xc3\xa9" + HOST, 400, "this is not well-formed HTTP"),
    (b"NONSENSE\r\n\r\n", 400, "this is not well-formed HTTP"),
    (b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\n\r\n", 404, NOTHING),
    (b"OPTIONS *" + HOST, 404, NOTHING),
    (b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n", 426, "the gateway speaks HTTP/1.1 and HTTP/2"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: irc\r\n\r\n",
        403,
        "passes on no upgrade but that to WebSocket",
    ),
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a gateway that answers with the path that it looks a route up for."""
    port = free_port()
    item = ir.Listener("gateway", ir.Inet("127.0.0.1", port), ir.Door.GATEWAY, "table")
    with running(tmp_path_factory.mktemp("gateway"), port, door(item, ROUTES)):
        yield port


def test_paths_arrive_as_we_say(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway)
    for path in PATHS:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        if NEVER.search(path):
            assert answer.status == 400, path
            connection.close()
        else:
            assert (answer.status, body) == (200, normal(path)), path
    connection.close()


@pytest.mark.parametrize(
    ("sent", "status", "text"), ANSWERED, ids=[sent[:24].decode("latin-1") for sent, *_ in ANSWERED]
)
def test_what_is_not_passed_on_is_told_why(gateway, sent, status, text):
    with socket.create_connection(("127.0.0.1", gateway), timeout=10) as connection:
        connection.sendall(sent)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = answer.read().decode()
    assert answer.status == status
    assert text in body
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_what_a_route_says_stays_as_it_is(tmp_path):
    refusal = {"text_format_source": {"inline_string": "its own words"}}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 404, "body_format": refusal}}
    routes: dict[str, object] = {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [route]}]}
    port = free_port()
    with running(tmp_path, port, door(ir.Listener("one", ir.Inet("127.0.0.1", port), ir.Door.GATEWAY, "t"), routes)):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"its own words"
        connection.close()
