"""The addresses of the fabric's links never meet."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.values.network import LAST_NETWORK, PREFIX_LENGTH, fabric_address, instance_address

LINKS = st.integers(1, LAST_NETWORK)


def test_the_first_link() -> None:
    assert (fabric_address(1), instance_address(1)) == ("10.201.0.5", "10.201.0.6")


@given(LINKS)
def test_the_two_ends_are_the_hosts_of_one_network(link: int) -> None:
    ends = [IPv4Interface(f"{address}/{PREFIX_LENGTH}") for address in (fabric_address(link), instance_address(link))]
    assert ends[0].network == ends[1].network
    assert [end.ip for end in ends] == list(ends[0].network.hosts())


@given(LINKS, LINKS)
def test_two_links_share_nothing(one: int, other: int) -> None:
    if one != other:
        assert {fabric_address(one), instance_address(one)}.isdisjoint({fabric_address(other), instance_address(other)})


@pytest.mark.parametrize("link", [-1, 0, LAST_NETWORK + 1])
def test_links_that_do_not_exist(link: int) -> None:
    with pytest.raises(ValueError, match="there is no link"):
        fabric_address(link)
