"""What each system file becomes in Envoy, as JSON in git, and Envoy accepts it. ATOLL_GOLDEN=write rewrites it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from atoll.errors import Unavailable
from atoll.mesh import ir
from atoll.mesh.process import binary
from atoll.mesh.snapshot import MESSAGES
from atoll.mesh.translate.blueprint import Topology, translate
from atoll.mesh.xds.bootstrap import Bootstrap, bootstrap

GOLDEN = Path(__file__).parents[2] / "golden" / "mesh"
CASES = sorted(GOLDEN.glob("*.in.yaml"))
NAMES = {
    ir.Cluster: "clusters",
    ir.Assignment: "endpoints",
    ir.Listener: "listeners",
    ir.RouteTable: "routes",
    ir.Switches: "switches",
    ir.TokenBucket: "token buckets",
}
SCOPE = {"prefix": "measured", "max_histograms": 2000}
"""What the message on the wire has, and its generated class cannot write as JSON."""


def envoy() -> Path | None:
    try:
        return binary()
    except Unavailable:
        return None


def translated(case: Path, blueprint, namespaces, topology) -> ir.Mesh:
    name = case.name.removesuffix(".in.yaml")
    made = blueprint(case.read_text())
    where: Topology = topology(fabric=None if name == "process" else "/run/fabric", extra_hop=name == "rootless")
    return translate(made, where, namespaces(made)).mesh


def messages(mesh: ir.Mesh, proxy: str) -> dict[str, dict[str, Message]]:
    found: dict[str, dict[str, Message]] = {name: {} for name in NAMES.values()}
    for share in mesh.shares.values():
        for item in share.items.get(proxy, ()):
            found[NAMES[type(item)]][item.name] = MESSAGES[type(item)](item)
    return found


def readable(message: Message) -> object:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_golden(case, blueprint, namespaces, topology):
    mesh = translated(case, blueprint, namespaces, topology)
    got = {
        proxy: {
            kind: {n: readable(m) for n, m in sorted(found.items())} for kind, found in messages(mesh, proxy).items()
        }
        for proxy in ir.PROXIES
    }
    text = json.dumps(got, indent=1) + "\n"
    expected = case.with_name(case.name.replace(".in.yaml", ".out.json"))
    if os.environ.get("ATOLL_GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()


def test_every_answer_has_its_question():
    answers = {path.name.removesuffix(".out.json") for path in GOLDEN.glob("*.out.json")}
    assert answers == {path.name.removesuffix(".in.yaml") for path in CASES}
    assert len(answers) >= 5


@pytest.mark.skipif(envoy() is None, reason="Envoy is not installed")
@pytest.mark.parametrize("proxy", ir.PROXIES)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_envoy_accepts_it(case, proxy, blueprint, namespaces, topology, tmp_path):
    """As a static configuration: routes go into their listeners, endpoints into their clusters."""
    found = messages(translated(case, blueprint, namespaces, topology), proxy)
    config = bootstrap(Bootstrap(proxy, "/run/ads.sock", str(tmp_path / "admin.sock"), edge=proxy == ir.GATEWAY))
    config.pop("dynamic_resources")
    listeners = [inlined(readable(m), found["routes"], n) for n, m in enumerate(found["listeners"].values())]
    clusters = [assigned(readable(m), found["endpoints"]) for m in found["clusters"].values()]
    config["static_resources"] = {"listeners": listeners, "clusters": clusters}
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps(config))
    command = [str(envoy()), "--mode", "validate", "--config-path", str(path), "--log-level", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def inlined(listener, tables, number):
    where = listener["address"].get("socket_address", {})
    if where.pop("network_namespace_filepath", None):
        where["port_value"] = 10000 + number  # each had a namespace, and so the port, to itself
    for chain in listener["filter_chains"]:
        manager = chain["filters"][0]["typed_config"]
        for log in manager.get("access_log", ()):
            log["typed_config"]["stats_scope"] = SCOPE
            if "and_filter" in log["filter"]:
                log["filter"] = log["filter"]["and_filter"]["filters"][1]  # the other asks the control plane
        manager["route_config"] = readable(tables[manager.pop("rds")["route_config_name"]])
    return listener


def assigned(cluster, assignments):
    if cluster["type"] == "EDS":
        cluster["type"] = "STATIC"
        name = cluster.pop("eds_cluster_config")["service_name"]
        cluster["load_assignment"] = readable(assignments[name])
    cluster.get("upstream_bind_config", {}).get("source_address", {}).pop("network_namespace_filepath", None)
    return cluster
