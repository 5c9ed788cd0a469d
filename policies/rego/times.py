"""Times and durations as texts: `time.parse_ns` for the layouts of dates and of RFC 3339, `time.parse_duration_ns`."""

from __future__ import annotations

import re
from typing import Final

from policies.rego.checks import text
from policies.rego.network import parse_rfc3339_ns

_LAYOUTS: Final = {
    "2006-01-02": (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), "T00:00:00Z"),
    "2006-01-02 15:04:05": (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"), "Z"),
}
_RFC3339: Final = frozenset({"RFC3339", "2006-01-02T15:04:05Z07:00"})
_UNITS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9}
_PART: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?(ns|us|µs|ms|s|m|h)", re.ASCII)
_MOST_PARTS: Final = 16


def parse_ns(layout: object, value: object) -> int:
    """`time.parse_ns`: nanoseconds since 1970."""
    written = text(value)
    if text(layout) in _RFC3339:
        return parse_rfc3339_ns(written)
    pattern, rest = _LAYOUTS.get(text(layout), (None, ""))
    if pattern is None or pattern.fullmatch(written) is None:
        raise ValueError("a layout that is not known here, or a time that does not have it")
    return parse_rfc3339_ns(written.replace(" ", "T") + rest)


def parse_duration_ns(value: object) -> int:
    """`time.parse_duration_ns`: Go's durations, such as `-1h30m` or `1.5s`; fractions that come out whole."""
    written = text(value)
    sign, rest = (-1, written[1:]) if written[:1] == "-" else (1, written.removeprefix("+"))
    if rest == "0":
        return 0
    found = list(_PART.finditer(rest))
    if not 0 < len(found) <= _MOST_PARTS or "".join(each[0] for each in found) != rest:
        raise ValueError("not a duration")
    total = sum(map(_amount, found))
    if total >= 2**63:
        raise ValueError("the duration is out of range")
    return sign * total


def _amount(part: re.Match[str]) -> int:
    unit, fraction = _UNITS[part[3]], str(part[2] or "0")
    more, odd = divmod(int(fraction) * unit, int("1" + "0" * len(fraction)))
    if odd:
        raise ValueError("a duration that is cut")
    return int(part[1]) * unit + more
