"""The ports of a Compose service: what it listens on inside, and what it publishes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.importers.margin import Margin, inside
from atoll.model.source import Entries, Tree

LAST = 65535
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Published:
    """One published port. `port` is None where Compose would pick one, `host` is empty for every address."""

    target: str
    port: str | None = None
    host: str = ""

    @property
    def listen(self) -> str | None:
        """What the gateway would listen on: an address only where one was written, and another one than 127.0.0.1."""
        if self.port is None:
            return None
        return f"{self.host}:{self.port}" if _IPV4.fullmatch(self.host) and self.host != "127.0.0.1" else self.port


def published(margin: Margin, name: str, tree: Tree | None) -> Iterator[Published]:
    """
    What a service publishes (Compose specification, ports: short and long syntax); only TCP, no ranges.

    A further port of the container does not carry over: an instance has one, which is the first one's.
    """
    first = ""
    for item in margin.items(tree, f"{name}.ports"):
        found = _long(margin, name, item) if isinstance(item, Entries) else _short(margin, name, item)
        if found is None:
            continue
        if all(_is_port(p) for p in (found.target, found.port) if p is not None):
            first = first or found.target
            if found.target == first:
                yield found
            else:
                margin.lost(item.place, f"{name}.ports ({found.target})", "an instance listens on $PORT alone")
        else:
            margin.lost(item.place, f"{name}.ports", "write single ports; Atoll has one gateway")


def exposed(margin: Margin, name: str, tree: Tree | None) -> tuple[str, ...]:
    """What `expose` names."""
    texts = (margin.text(item, f"{name}.expose") for item in margin.items(tree, f"{name}.expose"))
    return tuple(port for port in (t.removesuffix("/tcp") for t in texts if t) if _is_port(port))


def _short(margin: Margin, name: str, item: Tree) -> Published | None:
    text = margin.text(item, f"{name}.ports")
    if text is None:
        return None
    whole, _, protocol = text.partition("/")
    if protocol not in {"", "tcp"}:
        margin.lost(item.place, f"{name}.ports ({text})", "the gateway speaks HTTP over TCP")
        return None
    before, _, target = whole.rpartition(":")
    host, _, port = before.rpartition(":")
    return Published(target, port or None, host)


def _long(margin: Margin, name: str, item: Tree) -> Published | None:
    entries = margin.mapping(item, f"{name}.ports")
    texts = {key: margin.text(inside(entries, key), f"{name}.ports.{key}")
             for key in ("target", "published", "host_ip", "protocol")}  # fmt: skip
    if texts["protocol"] not in {None, "tcp"}:
        margin.lost(item.place, f"{name}.ports", "the gateway speaks HTTP over TCP")
        return None
    return Published(texts["target"] or "", texts["published"], texts["host_ip"] or "")


def _is_port(text: str) -> bool:
    return re.fullmatch(r"\d{1,5}", text, re.ASCII) is not None and 1 <= int(text) <= LAST
