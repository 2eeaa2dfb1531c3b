"""The flags as services see them, and a proxy's place: whoever asks is who the test says."""

from __future__ import annotations

import asyncio

import pytest

from atoll.server.flags.app import flags_app
from atoll.server.flags.serving import Serving
from atoll.server.listening import until
from atoll.store.flags import Author, content

SHOP = """
system: shop
services:
  web: {source: web, flags: [new, size, rate, gone]}
  orders: {source: orders, flags: all}
  mail: {source: mail}
"""
META = {"owner": "team-a", "kind": "release", "expires": "2099-01-31"}
NEW = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"if": [{"ends_with": [{"var": "email"}, "@corp.com"]}, "on"]},
    "metadata": META,
}
SIZE = {"state": "ENABLED", "variants": {"small": 20, "large": 100}, "defaultVariant": "small", "metadata": META}
RATE = {"state": "ENABLED", "variants": {"low": 0.5, "one": 1.0}, "defaultVariant": "one", "metadata": META}
SECRET = {"state": "ENABLED", "variants": {"a": {"b": [1]}, "c": {}}, "defaultVariant": "a", "metadata": META}
FLAGS = {"new": NEW, "size": SIZE, "rate": RATE, "secret": SECRET}


class Shop:
    """The scene, and the application that services ask."""

    def __init__(self, scene):
        self.scene = scene
        self.over = asyncio.Event()

    def open(self):
        """Made in the loop's thread, to which the store belongs."""
        self.scene.desk()
        self.serving = Serving(self.scene.store.flags, lambda: self.scene.system)
        return flags_app(self.serving, lambda values: until(self.over, values))

    def write(self, flags):
        store = self.scene.store.flags
        return store.write(content({"flags": flags}), Author(0.0, "ada", "sets", ""), before=store.current().etag)


@pytest.fixture
def shop(scene_of):
    return Shop(scene_of(SHOP))
