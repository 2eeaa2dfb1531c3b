"""What the gateway makes of a path; that Envoy agrees is for the contract tests."""

import string

import pytest

from atoll.values.paths import NEVER, normal

UNRESERVED = string.ascii_letters + string.digits + "-._~"
NORMALISED = [
    ("/", "/"),
    ("/a/b", "/a/b"),
    ("/a/b/", "/a/b/"),
    ("//a///b", "/a/b"),
    ("/a/./b", "/a/b"),
    ("/a/.", "/a/"),
    ("/a/..", "/"),
    ("/a/b/..", "/a/"),
    ("/..", "/"),
    ("/x/../../..", "/"),
    ("/a/...", "/a/..."),
    ("/a/..b", "/a/..b"),
    ("/a%2e", "/a."),
    ("/%2e", "/"),
    ("/a/.%2e/b", "/b"),
    ("/a/%2e%2E/b/", "/b/"),
    ("/a/..;x=1/b", "/b"),
    ("/a/.;", "/a/"),
    ("/a;x=1/b", "/a;x=1/b"),
    ("/%7euser", "/~user"),
    ("/a%252e", "/a%252e"),
    ("/caf%c3%A9", "/caf%c3%A9"),
]


@pytest.mark.parametrize(("path", "expected"), NORMALISED)
def test_a_path_as_it_arrives(path, expected):
    assert normal(path) == expected
    assert normal(expected) == expected


@pytest.mark.parametrize("number", range(256))
def test_only_what_need_not_be_encoded_is_decoded(number):
    decoded = normal(f"/a%{number:02x}b") == f"/a{chr(number)}b"
    assert decoded == (chr(number) in UNRESERVED)
    assert normal(f"/a%{number:02X}b") == normal(f"/a%{number:02x}b") or not decoded


@pytest.mark.parametrize("path", ["/a%00", "/a%2f", "/a%2Fb", "/a%5c", "/%5C"])
def test_what_never_arrives(path):
    assert NEVER.search(path)


@pytest.mark.parametrize("path", ["/a%20b", "/a%252f", "/%25", "/a"])
def test_what_may_arrive(path):
    assert not NEVER.search(path)
