"""What the gateway makes of a request before it looks for a route, by Envoy's own answer."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator

import pytest

from atoll.mesh import ir
from atoll.values.paths import NEVER, normal
from contracts.mesh.conftest import free_port
from contracts.mesh.single import door, running

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
Ask = Callable[[str], tuple[int, str]]


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
