"""`uuid.parse`: what a UUID says of itself (RFC 4122; DCE for version 2)."""

from __future__ import annotations

import re
from typing import Final

from policies.rego.checks import text

_HYPHENS: Final = (8, 13, 18, 23)
_SINCE_1582: Final = 0x01B21DD213814000
_DOMAINS: Final = ("Person", "Group", "Org")


def parse(value: object) -> dict[str, object] | None:
    """The parts of a UUID; None for what is none, where OPA yields undefined (cordon_exact.rego makes it so)."""
    digits = _digits(text(value).encode())
    if digits is None or re.fullmatch(rb"[0-9A-Fa-f]{32}", digits) is None:
        return None
    raw = bytes.fromhex(digits.decode())
    version = raw[6] >> 4
    found: dict[str, object] = {"version": version, "variant": _variant(raw[8])}
    if version in (1, 2):
        found |= _of_time(raw)
        if version == 2:
            domain = raw[9]
            named = _DOMAINS[domain] if domain < len(_DOMAINS) else f"Domain{domain}"
            found |= {"id": int.from_bytes(raw[:4], "big"), "domain": named}
    return found


def _digits(written: bytes) -> bytes | None:
    """The digits of the four forms: 32 of them, with hyphens, behind `urn:uuid:`, or between any two bytes."""
    if len(written) == 45 and written[:9].lower() == b"urn:uuid:":
        written = written[9:]
    elif len(written) == 38:
        written = written[1:37]
    elif len(written) == 32:
        return written
    if len(written) != 36 or any(written[place] != ord("-") for place in _HYPHENS):
        return None
    return b"".join(written[first:last] for first, last in ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36)))


def _variant(octet: int) -> str:
    if octet & 0xC0 == 0x80:
        return "RFC4122"
    return "Microsoft" if octet & 0xE0 == 0xC0 else "Future" if octet & 0xE0 == 0xE0 else "Reserved"


def _of_time(raw: bytes) -> dict[str, object]:
    low, middle, high = raw[:4], raw[4:6], raw[6:8]
    ticks = int.from_bytes(high, "big") % 4096 << 48 | int.from_bytes(middle, "big") << 32 | int.from_bytes(low, "big")
    octet = raw[10]
    scope = ("global", "local")[octet >> 1 & 1] + (":unicast", ":multicast")[octet & 1]
    nanoseconds = (ticks - _SINCE_1582) * 100
    if not -(2**63) <= nanoseconds < 2**63:
        raise ValueError("the time is out of range")
    return {
        "time": nanoseconds,
        "nodeid": "-".join(f"{each:02x}" for each in raw[10:]),
        "macvariables": scope,
        "clocksequence": int.from_bytes(raw[8:10], "big") & 0x3FFF,
    }
