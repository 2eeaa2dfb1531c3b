"""The small change of Envoy's messages."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, Resource

from atoll.mesh.xds.messages import delimited


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])
def test_long_fields_are_measured_as_protobuf_does(size):
    wire = Resource(name="x" * size).SerializeToString()
    assert DeltaDiscoveryResponse.FromString(delimited(2, wire)).resources[0].name == "x" * size
