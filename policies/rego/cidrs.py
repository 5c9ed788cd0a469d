"""Sets of networks: merged, expanded, matched against each other (network.py reads single ones)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range
from typing import Final

from policies.rego.checks import MAX_ITEMS, text
from policies.rego.network import _address, _network, cidr_contains

MAX_EXPANDED: Final = 65_536
_LAST_MAPPED: Final = 0xFFFF_FFFFFFFF

_Range = tuple[int, int, str]
"""First and last address, and the network as it is written; "" for a range that came out of merging."""


def cidr_intersects(one: object, other: object) -> bool:
    """`net.cidr_intersects`: whether two networks have an address in common."""
    left, right = _network(text(one)), _network(text(other))
    if left is None or right is None:
        raise ValueError("not a network")
    length = min(left[2], right[2])
    return left[0] == right[0] and left[1] >> (left[0] - length) == right[1] >> (right[0] - length)


def cidr_expand(network: object) -> set[str]:
    """`net.cidr_expand`: all addresses of a network; bounded."""
    found = _network(text(network))
    if found is None:
        raise ValueError("not a network")
    bits, first, length = found
    if 1 << (bits - length) > MAX_EXPANDED:
        raise ValueError("the network is too large to list its addresses")
    kind = IPv4Address if bits == 32 else IPv6Address
    return {str(kind(value)) for value in range(first, first + (1 << (bits - length)))}


def cidr_contains_matches(networks: object, others: object) -> set[tuple[object, object]]:
    """`net.cidr_contains_matches`: pairs of places, of a network and of what it contains."""
    outer, inner = list(_places(networks)), list(_places(others))
    if len(outer) * len(inner) > MAX_ITEMS:
        raise ValueError("there are too many networks to compare")
    return {(one, other) for one, network in outer for other, what in inner if cidr_contains(network, what)}


def _places(operand: object) -> Iterator[tuple[object, object]]:
    """What stands for an entry in the result, and its network."""
    if isinstance(operand, str):
        yield operand, operand
    elif isinstance(operand, list):
        yield from ((place, _entry(each)) for place, each in enumerate(operand))
    elif isinstance(operand, set):
        yield from ((text(each), each) for each in operand)
    elif isinstance(operand, dict):
        yield from ((text(key), _entry(each)) for key, each in operand.items())


def _entry(value: object) -> object:
    return text(value[0] if isinstance(value, list) and value else value)


def cidr_merge(networks: object) -> set[str]:
    """`net.cidr_merge`: the fewest networks of the same addresses.

    A single IPv4 address means its class's network, as OPA has it. Of IPv6 the first 2^120 addresses are an error in
    most cases: there OPA's own arithmetic loses leading zeros.
    """
    if not isinstance(networks, list | set):
        raise TypeError("an array or a set is expected")
    v4: list[_Range] = []
    v6: list[_Range] = []
    for each in networks:
        bits, written = _range(text(each))
        (v4 if bits == 32 else v6).append(written)
    if v4 and any(first <= _LAST_MAPPED + 1 for first, _, _ in v6):
        raise ValueError("IPv4 and the IPv6 addresses that map it are not merged")
    return {*_written(_merged(v4), 32), *_written(_merged(v6), 128)}


def _range(written: str) -> tuple[int, _Range]:
    address = _address(written)
    if address is not None and address[0] == 32 and ":" not in written:
        bits, value = address
        length = 8 if value >> 31 == 0 else 16 if value >> 30 == 2 else 24
        first = value >> (32 - length) << (32 - length)
        return bits, (first, first | (1 << (32 - length)) - 1, f"{written}/{length}")
    found = _network(written)
    if found is None or (":" in written and found[0] == 32):
        raise ValueError("not a network, or an IPv4 network written as IPv6")
    bits, first, length = found
    return bits, (first, first | (1 << (bits - length)) - 1, str(ip_network((_packed(first, bits), length))))


def _packed(value: int, bits: int) -> bytes:
    return value.to_bytes(bits // 8, "big")


def _merged(ranges: list[_Range]) -> list[_Range]:
    done: list[_Range] = []
    for first, last, written in sorted(ranges, key=lambda each: (each[1], each[0])):
        this = (first, last, written)
        while done and first <= done[-1][1] + 1:
            first = min(first, done.pop()[0])
            this = (first, last, "")
        done.append(this)
    return done


def _written(ranges: list[_Range], bits: int) -> Iterator[str]:
    for first, last, written in ranges:
        if written:
            yield written
            continue
        kind = IPv4Address if bits == 32 else IPv6Address
        found = [str(each) for each in summarize_address_range(kind(first), kind(last))]
        if bits == 128 and first >> 120 == 0 and (len(found) > 1 or first):
            raise ValueError("OPA does not merge the first addresses of IPv6 as it does others")
        yield from found
