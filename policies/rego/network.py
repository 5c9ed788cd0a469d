"""Addresses, versions and times as OPA reads them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from policies.rego.checks import text, whole

_MAPPED: Final = 0xFFFF << 32


@lru_cache(maxsize=1_024)
def _address(written: str) -> tuple[int, int] | None:
    """Bits and value of an address; one that maps an IPv4 address into IPv6 is that IPv4 address, as Go has it."""
    try:
        if ":" not in written:
            return 32, int(IPv4Address(written))
        if "%" in written:
            return None
        value = int(IPv6Address(written))
    except (AddressValueError, ValueError):
        return None
    return (32, value & 0xFFFFFFFF) if value >> 32 == _MAPPED >> 32 else (128, value)


@lru_cache(maxsize=1_024)
def _network(written: str) -> tuple[int, int, int] | None:
    """Bits, first address and prefix length of a network in CIDR form."""
    base, slash, prefix = written.partition("/")
    address = _address(base)
    if not slash or address is None or not re.fullmatch(r"[0-9]{1,4}", prefix):
        return None
    bits, value = address
    length = int(prefix)
    if length > (128 if ":" in base else 32):
        return None
    if ":" in base and bits == 32:
        if length < 96:  # more than the addresses that map IPv4 ones, so a network of IPv6
            return 128, (_MAPPED | value) >> (128 - length) << (128 - length), length
        length -= 96
    return bits, value >> (bits - length) << (bits - length), length


def cidr_contains(network: object, other: object) -> bool:
    """`net.cidr_contains`: whether a network contains an address, or the first and last of another network."""
    outer = _network(text(network))
    if outer is None:
        raise ValueError("not a network")
    written = text(other)
    address = _address(written)
    if address is not None:
        return _inside(outer, *address)
    inner = _network(written)
    if inner is None:
        raise ValueError("neither an address nor a network")
    bits, first, length = inner
    return _inside(outer, bits, first) and _inside(outer, bits, first | (1 << (bits - length)) - 1)


def _inside(network: tuple[int, int, int], bits: int, value: int) -> bool:
    size, first, length = network
    return bits == size and value >> (bits - length) == first >> (bits - length)


def cidr_is_valid(value: object) -> bool:
    """`net.cidr_is_valid`."""
    return type(value) is str and _network(text(value)) is not None


_NUMBER: Final = r"(0|[1-9][0-9]*)"
_SEMVER: Final = re.compile(
    rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_Version = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


@lru_cache(maxsize=1_024)
def _version(written: str) -> _Version | None:
    """A version in an order that compares as semver.org §11 says."""
    found = _SEMVER.fullmatch(written)
    if found is None:
        return None
    parts = found[4].split(".") if found[4] else []
    numbers = [int(found[place]) for place in (1, 2, 3)]
    if any(part.isdigit() and part != "0" and part[0] == "0" for part in parts) or max(numbers) >= 2**63:
        return None
    keys = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)
    return numbers[0], numbers[1], numbers[2], not parts, keys


def semver_is_valid(value: object) -> bool:
    """`semver.is_valid`."""
    return type(value) is str and _version(text(value)) is not None


def semver_compare(one: object, other: object) -> int:
    """`semver.compare`: -1, 0 or 1."""
    left, right = _version(text(one)), _version(text(other))
    if left is None or right is None:
        raise ValueError("not a semantic version")
    return (left > right) - (left < right)


_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_rfc3339_ns(value: object) -> int:
    """`time.parse_rfc3339_ns`: nanoseconds since 1970."""
    found = _RFC3339.fullmatch(text(value))
    if found is None:
        raise ValueError("not a time of RFC 3339")
    moment = datetime(*(int(found[place]) for place in range(1, 7)), tzinfo=UTC)  # type: ignore[misc,arg-type]
    hours, minutes = int(found[9] or 0), int(found[10] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("not a time of RFC 3339")
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if found[8] == "-" else 1)
    seconds = (moment - _EPOCH - offset) // timedelta(seconds=1)
    return _nanoseconds(seconds * 10**9 + int((found[7] or "0")[:9].ljust(9, "0")))


def add_date(moment: object, years: object, months: object, days: object) -> int:
    """`time.add_date`: days past a month's end run into the next, as Go's `AddDate` has it."""
    seconds, rest = divmod(whole(moment), 86_400 * 10**9)
    day = date(1970, 1, 1) + timedelta(days=seconds)
    carried, month = divmod(day.month - 1 + whole(months), 12)
    first = date(day.year + whole(years) + carried, month + 1, 1)
    moved = first + timedelta(days=day.day - 1 + whole(days))
    return _nanoseconds((moved - date(1970, 1, 1)).days * 86_400 * 10**9 + rest)


def _nanoseconds(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise ValueError("the time is out of range")
    return value
