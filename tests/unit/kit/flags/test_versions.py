"""Versions that people send are not kept for ever."""

from atoll.kit.flags import versions


def test_long_versions_are_read_and_not_remembered():
    versions._remembered.cache_clear()
    long = "1.2.3-" + "a" * 1000
    assert versions.parse(long) < versions.parse("1.2.3")
    assert versions.parse("x" * 100_000) is None
    assert versions._remembered.cache_info().currsize == 1
