"""Networks, held against `ipaddress`."""

from __future__ import annotations

from ipaddress import collapse_addresses, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rego.cidrs import cidr_contains_matches, cidr_expand, cidr_intersects, cidr_merge

networks = st.builds(
    lambda address, length: str(ip_network((address, length), strict=False)),
    st.integers(0x0A000000, 0x0A0003FF),
    st.integers(20, 32),
)


@given(networks, networks)
def test_networks_intersect_where_they_overlap(one: str, other: str) -> None:
    assert cidr_intersects(one, other) is ip_network(one).overlaps(ip_network(other))


@given(st.lists(networks, min_size=1, max_size=8))
def test_merged_networks_are_the_fewest_that_hold_the_same(given_networks: list[str]) -> None:
    assert cidr_merge(given_networks) == {str(each) for each in collapse_addresses(map(ip_network, given_networks))}


@given(networks)
def test_expanding_lists_each_address_once(network: str) -> None:
    assert cidr_expand(network) == set(map(str, ip_network(network)))


def test_a_network_too_large_to_list_is_an_error() -> None:
    with pytest.raises(ValueError, match="too large"):
        cidr_expand("10.0.0.0/8")


def test_matches_name_both_sides_by_their_place() -> None:
    assert cidr_contains_matches(["10.0.0.0/8", "11.0.0.0/8"], {"a": "10.1.2.3"}) == {(0, "a")}
    assert cidr_contains_matches("10.0.0.0/8", ["10.0.0.1", "12.0.0.1"]) == {("10.0.0.0/8", 0)}
