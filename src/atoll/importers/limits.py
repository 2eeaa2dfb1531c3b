"""Numbers as Compose writes them, as the file writes them: resources, counts, durations, health checks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from atoll.importers.margin import Margin, inside
from atoll.model.source import Items, Scalar, Tree
from atoll.values.quantities import show_cpu, show_duration, show_size

Entries = dict[str, tuple[Scalar, Tree]]
SMALLEST_MEMORY = 4 * 2**20
LONGEST = 3600.0
DEFAULT_STARTUP = 60.0
_DURATION_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([bkmg]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_SIZES = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_CPUS = re.compile(r"\d{1,6}(?:\.\d{1,9})?", re.ASCII)
_HERE = re.compile(
    r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::[\w${}]+)?(/[A-Za-z0-9._~/?&=-]*)?(?![\w:.-])"
)


def resources(margin: Margin, name: str, service: Entries, limits: Entries) -> Iterator[tuple[str, str]]:
    """What an instance may use, from `deploy.resources.limits` or the older keys beside it."""
    for key, old, read in (("cpus", "cpus", _cpu), ("memory", "mem_limit", _memory), ("pids", "pids_limit", _pids)):
        tree = inside(limits, key) or inside(service, old)
        text = margin.text(tree, f"{name}.{old}")
        if tree is None or text is None:
            continue
        value = read(text)
        if value is None:
            margin.lost(tree.place, f"{name}.{old} ({text})", "it is not understood, or no limit")
        else:
            yield ("cpu" if key == "cpus" else key), value


def count(margin: Margin, tree: Tree | None, what: str) -> int:
    """How many instances; one where nothing was written."""
    text = margin.text(tree, what)
    if tree is None or text is None:
        return 1
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or int(text) > 1000:  # noqa: PLR2004 - the file's own bound
        margin.lost(tree.place, f"{what} ({text})", "it has to be a number up to 1000")
        return 1
    return int(text)


def duration(margin: Margin, tree: Tree | None, what: str, *, least: float) -> float | None:
    """Seconds within what the file allows, None where nothing was written."""
    text = margin.text(tree, what)
    if tree is None or text is None:
        return None
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        margin.lost(tree.place, f"{what} ({text})", "it is not a duration")
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return min(max(round(seconds, 3), least), LONGEST)


def health(margin: Margin, name: str, tree: Tree | None) -> Iterator[tuple[str, str]]:
    """The check that a healthcheck amounts to: its path where it asks for one over HTTP, its times."""
    entries = margin.mapping(tree, f"{name}.healthcheck")
    test = inside(entries, "test")
    words = [margin.text(t, f"{name}.healthcheck.test") or "" for t in _words(test)]
    if margin.text(inside(entries, "disable"), f"{name}.healthcheck.disable") == "true" or words == ["NONE"]:
        return
    found = _HERE.search(" ".join(words))
    if found:
        yield "path", found[1] or "/"
    elif test is not None:
        margin.lost(test.place, f"{name}.healthcheck.test", "a check is an HTTP path or a TCP connect to $PORT")
    for key, least in (("interval", 0.1), ("timeout", 0.01)):
        seconds = duration(margin, inside(entries, key), f"{name}.healthcheck.{key}", least=least)
        if seconds is not None:
            yield key, show_duration(seconds)
    retries = count(margin, inside(entries, "retries"), f"{name}.healthcheck.retries") if "retries" in entries else 0
    if retries:
        yield "failures", str(min(retries, 100))
    startup = duration(margin, inside(entries, "start_period"), f"{name}.healthcheck.start_period", least=0.1)
    if startup is not None and startup > DEFAULT_STARTUP:
        yield "startup", show_duration(startup)


def _words(test: Tree | None) -> tuple[Tree, ...]:
    if isinstance(test, Items):
        return test.items
    return () if test is None else (test,)


def _cpu(text: str) -> str | None:
    if not _CPUS.fullmatch(text) or not float(text):
        return None
    return show_cpu(min(max(math.ceil(float(text) * 1000), 10), 1_000_000))


def _memory(text: str) -> str | None:
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _SIZES[match[2].lower()]) if match else 0
    return show_size(min(max(size, SMALLEST_MEMORY), 2**50)) if size else None


def _pids(text: str) -> str | None:
    return str(max(int(text), 4)) if re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII) else None
