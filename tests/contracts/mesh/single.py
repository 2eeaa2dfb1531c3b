"""An Envoy that runs alone, from a file: for what can be asked of one listener without a world around it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf import json_format

from atoll.mesh import ir
from atoll.mesh.process import binary
from atoll.mesh.xds.listeners import HCM, listener

EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"
DEADLINE = 20.0
Json = dict[str, object]


def door(item: ir.Listener, routes: Json) -> Json:
    """A listener of ours, with its routes inside it and without the counting that a control plane switches on."""
    made = json_format.MessageToDict(listener(item), preserving_proto_field_name=True)
    manager = made["filter_chains"][0]["filters"][0]["typed_config"]
    for other in ("rds", "access_log"):
        manager.pop(other, None)
    manager["route_config"] = routes
    return made


def bare(port: int, manager: Mapping[str, object]) -> Json:
    """A listener that does nothing but what *manager* says."""
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    kind = f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"name": "router", "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"}}
    config = {"@type": kind, "stat_prefix": "t", "http_filters": [router], **manager}
    return {"address": where, "filter_chains": [{"filters": [{"name": HCM, "typed_config": config}]}]}


@contextlib.contextmanager
def running(directory: Path, port: int, listener: Json, clusters: tuple[Json, ...] = ()) -> Iterator[None]:
    """Envoy with one listener, on *port*, while the block runs."""
    config = directory / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}))
    command = [str(binary()), "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart"]
    process = subprocess.Popen([*command, "--log-level", "error"])
    try:
        deadline = time.monotonic() + DEADLINE
        while not _listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
