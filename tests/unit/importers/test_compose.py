from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import Refused
from atoll.importers import compose
from atoll.importers.detect import propose
from atoll.importers.limits import health, resources
from atoll.importers.margin import Margin
from atoll.model.load import loads
from atoll.model.source import Entries, read

leaf = (
    st.none()
    | st.booleans()
    | st.integers(-5, 100_000)
    | st.sampled_from(
        ["8000:80", "1m", "256M", "0.5", "${A:-b}", "$A", "$$", "A=b", "http://api:80/x", "NONE", "", "api"]
    )
    | st.text(max_size=8)
)
WORDS = """
build command entrypoint ports expose environment depends_on links healthcheck
deploy replicas resources limits cpus memory mem_limit test interval
retries context target dockerfile published profiles stop_grace_period volumes condition
api web A WEB_URL x-a disable start_period scale
"""
KEYS = WORDS.split()
tree = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
service = st.dictionaries(st.sampled_from(KEYS), tree, max_size=6).map(lambda s: {"build": ".", **s})


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["web", "api", "gateway", "Big_One", "x-y", ""]), service, min_size=1))
def test_any_compose_file_is_proposed_validly_or_refused(services: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "compose.yaml").write_text(json.dumps({"services": services}))
        try:
            proposal = propose(Path(directory))
        except Refused:
            return
        loads(proposal.text, file="atoll.yaml", directory=directory)


def section(text: str) -> dict[str, object]:
    found, _ = read(text, "f")
    assert isinstance(found, Entries)
    return {key.text: (key, value) for key, value in found.entries}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpus: 0.001", {"cpu": "10m"}),
        ("cpus: '2'", {"cpu": "2"}),
        ("mem_limit: 1", {"memory": "4Mi"}),
        ("mem_limit: 1.5gb", {"memory": "1536Mi"}),
        ("mem_limit: 64MiB", {"memory": "64Mi"}),
        ("pids_limit: -1", {}),
        ("{cpus: x, mem_limit: -1}", {}),
    ],
)
def test_limits(text: str, expected: dict[str, str]) -> None:
    assert dict(resources(Margin("f"), "web", section(text), {})) == expected


@pytest.mark.parametrize(
    ("test", "path"),
    [
        ("curl -f http://localhost:8080/healthz || exit 1", "/healthz"),
        ("[CMD, curl, 'http://127.0.0.1:80']", "/"),
        ("[CMD-SHELL, 'wget -q http://[::1]:8080/a/b?c=d']", "/a/b?c=d"),
        ("curl http://localhost.example.org/x", None),
        ("[NONE]", None),
        ("pg_isready", None),
    ],
)
def test_the_path_of_a_healthcheck(test: str, path: str | None) -> None:
    tree, _ = read(f"test: {test}", "f")
    assert dict(health(Margin("f"), "web", tree)).get("path") == path


def test_a_service_may_not_be_told_a_url_that_atoll_sets(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a-b: {build: .}\n  c: {build: ., depends_on: [a-b], environment: {A_B_URL: x, Z: 'http://a-b:3'}}\n"
    )
    found = compose.find(tmp_path, "compose.yaml")
    assert found.services[1].env == (("Z", "http://a-b"),)
    assert found.services[1].calls == ("a-b",)
    assert any("A_B_URL was left out" in note for note in found.notes)
