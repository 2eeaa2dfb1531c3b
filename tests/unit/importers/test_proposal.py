from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.importers.proposal import Draft, Found, scalar, written
from atoll.model.load import loads
from atoll.model.source import Entries, Items, Scalar, read

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(text)
def test_a_scalar_reads_back_as_the_same_string(value: str) -> None:
    written_down = scalar(value)
    tree, problems = read(f"outer:\n  inner: {written_down}\n  list: [a]\n", "f")
    assert not problems
    assert isinstance(tree, Entries)
    inner = tree.entries[0][1]
    assert isinstance(inner, Entries)
    leaf, after = inner.entries[0][1], inner.entries[1][1]
    assert isinstance(leaf, Scalar)
    assert leaf.text == value
    assert isinstance(after, Items)
    assert not leaf.is_null


@pytest.mark.parametrize(
    "value", ["yes", "no", "null", "~", "", "1e3", "0x1F", "22:22", "-", "- a", "a: b", "a #b", "!x"]
)
def test_what_yaml_could_misread_is_quoted(value: str) -> None:
    assert scalar(value)[0] in "'\""


@pytest.mark.parametrize("value", ["python main.py --port $PORT", ".", "web/api", "sh -c 'a b'", "http://a/b?c=d"])
def test_what_nobody_misreads_is_plain(value: str) -> None:
    assert scalar(value) == value


@given(st.dictionaries(st.from_regex(r"[A-OQ-Z_]{1,5}", fullmatch=True), text.filter(lambda t: "\0" not in t)), text)
def test_an_environment_reads_back(env: dict[str, str], remark: str) -> None:
    draft = Draft("web", ".", run="run", env=tuple(env.items()), remarks=(remark,), health=(("path", "/a?b=c,d"),))
    system = loads(written(Found("shop", remark, (draft,))).text, file="f", directory="/")
    assert dict(system.services["web"].env) == env
