"""Which of a rule's routes a request takes, by Envoy's own answer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from google.protobuf import json_format

from atoll.kit.policy import Retry
from atoll.mesh import ir
from atoll.mesh.xds.routes import table
from contracts.mesh.single import bare, running
from ports import free_port

ROUTES = ("plain", "upgrade", "events", "grpc", "repeatable", "other")
"""In the order of the table; each answers with its number."""
ASKED = [
    ("plain", ()),
    ("plain", ("-H", "Accept: text/html")),
    ("plain", ("-H", "Accept:")),
    ("plain", ("--http2-prior-knowledge",)),
    ("upgrade", ("-H", "Upgrade: websocket", "-H", "Connection: upgrade")),
    ("events", ("-H", "Accept: text/plain, TEXT/event-stream")),
    ("repeatable", ("-X", "GET", "-d", "a body")),
    ("repeatable", ("-X", "GET", "-H", "Content-Length: 0")),
    ("repeatable", ("--head",)),
    ("repeatable", ("-X", "DELETE")),
    ("other", ("-d", "a body")),
]


def manager() -> dict[str, object]:
    """All routes of one rule, each with an answer of its own in place of a callee."""
    rule = ir.Forward("/", "web", "web", timeout=2.0, per_try=None, idle=60.0, retry=Retry())
    found = table(ir.RouteTable("t", (ir.VirtualHost("any", ("*",), (rule,)),)))
    routes = json_format.MessageToDict(found, preserving_proto_field_name=True)
    for number, route in enumerate(routes["virtual_hosts"][0]["routes"]):
        del route["route"]
        route["direct_response"] = {"status": 210 + number}
    return {"route_config": routes, "upgrade_configs": [{"upgrade_type": "websocket"}]}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with running(tmp_path_factory.mktemp("routes"), port, bare(port, manager())):
        yield f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize(("expected", "options"), ASKED, ids=[" ".join(options) for _, options in ASKED])
def test_which_route_is_taken(url, expected, options):
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, url]
    status = int(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert ROUTES[status - 210] == expected
