"""Envoy's statistics read."""

from __future__ import annotations

import asyncio

import pytest

from atoll.errors import Unavailable
from atoll.mesh import admin
from atoll.mesh.admin import AnswerCount, ClusterCount, HostState, forgotten, parse_counts, parse_measured
from atoll.values.histograms import Bar

STATS = {
    "stats": [
        {"name": "cluster.orders->payments.upstream_rq_total", "value": 10},
        {"name": "calls.failed.cluster.orders->payments.host.payments-r1-1.flags.-", "value": 2},
        {"name": "calls.failed.cluster.orders->payments.host.payments-r1-2.flags.UF,URX", "value": 4},
        {"name": "calls.failed.cluster.orders->payments.host.payments-r1-1.flags.UT", "value": 1},
        {"name": "calls.failed.cluster.b->c.host..flags.UH", "value": 3},
        {"name": "calls.failed.cluster.-.host..flags.-", "value": 5},
        {"name": "cluster.a->https_//api.example.com_443.upstream_rq_total", "value": 1},
        {"name": "calls.other.cluster.b->c", "value": 1},
        {
            "histograms": {
                "supported_percentiles": [50],
                "details": [
                    {
                        "name": "waits.time.cluster.orders->payments",
                        "totals": [
                            {"lower_bound": 1, "width": 0.1, "count": 9},
                            {"lower_bound": 20, "width": 1, "count": 1},
                        ],
                        "intervals": [],
                        "percentiles": [],
                    }
                ],
            }
        },
    ]
}


def test_counts_are_read_by_cluster():
    found = parse_counts(STATS)
    failed = {"payments-r1-1": {"-": 2, "UT": 1}, "payments-r1-2": {"UF,URX": 4}}
    assert found["orders->payments"] == ClusterCount(10, failed, (Bar(1, 0.1, 9), Bar(20, 1, 1)))
    assert (found["orders->payments"].errors, found["orders->payments"].unsent) == (7, 4)
    assert found["b->c"] == ClusterCount(sent=0, failed={"": {"UH": 3}})
    assert (found["b->c"].errors, found["b->c"].unsent) == (3, 3)
    assert found["a->https_//api.example.com_443"] == ClusterCount(sent=1)


def test_connections_of_which_no_endpoint_tells_are_forgotten_ones():
    states = [
        HostState("a->b", "10.1.0.1", 80, usable=True, active=0, connections=2),
        HostState("a->b", "10.1.0.2", 80, usable=True, active=0, connections=1),
        HostState("c->b", "10.1.0.2", 80, usable=True, active=0, connections=1),
    ]
    assert forgotten({"a->b": 4, "c->b": 1, "gone->b": 2}, states) == {"a->b": 1, "gone->b": 2}
    assert forgotten({"a->b": 2}, states) == {}  # one more was made since they were counted
    assert forgotten({}, states) == {}


def test_times_are_read_by_address():
    details = [
        {"name": f"measured.time.host.{where}", "totals": [{"lower_bound": 500, "width": 10, "count": 3}]}
        for where in ("10.1.0.2:8080", "/run/ingress.sock")
    ]
    found = parse_measured({"stats": [{"name": "other", "value": 1}, {"histograms": {"details": details}}]})
    assert found.times == {("10.1.0.2", 8080): (Bar(500, 10, 3),)}


def test_answers_are_read_with_what_they_said_and_what_they_count_as():
    stats = {
        "measured.answer.host.10.1.0.2:8080.said.new-checkout=on.counted..code.200": 7,
        "measured.answer.host.10.1.0.2:8080.said.a.counted.b.code.1=on, c=1.5.counted.orders-placed.code.503": 2,
        "measured.answer.host.10.1.0.2:8080.said.-.counted.@shadow.code.200": 99,
        "measured.answer.host./run/ingress.sock.said.a=b.counted..code.200": 1,
    }
    found = parse_measured({"stats": [{"name": name, "value": value} for name, value in stats.items()]})
    assert found.answers == (
        AnswerCount("10.1.0.2", 8080, "new-checkout=on", "", 200, 7),
        AnswerCount("10.1.0.2", 8080, "a.counted.b.code.1=on, c=1.5", "orders-placed", 503, 2),
        AnswerCount("10.1.0.2", 8080, "-", "@shadow", 200, 99),
    )


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", b"{}"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", b"{}"),
        (CHUNKED + b"2\r\n{}\r\n", None),
        (CHUNKED + b"20\r\n{", None),
        (CHUNKED, None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{", None),
    ],
)
def test_an_answer_that_was_broken_off_is_no_answer(tmp_path, answer, body):
    async def main():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_unix_server(serve, str(tmp_path / "admin"))
        async with server:
            return await admin.ask(tmp_path / "admin", "/clusters")

    if body is None:
        with pytest.raises(Unavailable, match="broke off its answer to /clusters"):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) == body
