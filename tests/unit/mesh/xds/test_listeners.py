"""What stands behind a listener decides whether its calls are evidence."""

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from atoll.mesh import ir
from atoll.mesh.xds.listeners import listener


@pytest.mark.parametrize("door", ir.Door)
def test_calls_are_counted_once_and_only_those_that_users_made(door):
    made = listener(ir.Listener("one", ir.Unix("/run/one.sock"), door, "table"))
    manager = HttpConnectionManager()
    made.filter_chains[0].filters[0].typed_config.Unpack(manager)
    counted = door in {ir.Door.GATEWAY, ir.Door.INGRESS, ir.Door.OUTLET}
    assert len(manager.access_log) == (3 if counted else 0)
