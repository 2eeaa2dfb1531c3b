from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Gateway, Service, System
from atoll.plan.recipes import recipe
from atoll.store.store import Store

SERVICE = Service("orders", source="orders", instances=2)
SHOP = System("shop", Gateway(), {"orders": SERVICE, "catalog": replace(SERVICE, name="catalog")}, "/srv/shop")


@pytest.fixture
def shop():
    return SHOP


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "state.db"


@pytest.fixture
def store(path):
    one = Store(path)
    yield one
    one.close()


@pytest.fixture
def release(store):
    """Put a release of a service in line and say which pin it has now."""

    def take(artifact, service="orders", at=1.0, begin=lambda _: None):
        change = store.request("deploy", (service,), b"{}", at)
        one = recipe(SHOP, replace(SERVICE, name=service), artifact=artifact, argv=("run",))
        return store.take_effect(change, SHOP, [one], [], at, begin)[service]

    return take
