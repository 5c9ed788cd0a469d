"""What lies in a call's address: personal data in a path or query is found there too, but cannot be rewritten there.

An address that is changed names something else. So where policy wants a finding in it redacted, the call is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_plus

from gateway.content.redact import mask
from gateway.content.request import TypeSummary
from gateway.content.scanner import Match, Scanner

PLACE = "address"
_WALL = "\n"
_MOST_KNOWN, _LONGEST_KNOWN = 2_048, 256


class Address:
    """A normalised path and query; `findings` counts what lies in them by type."""

    __slots__ = ("_matches", "_scanner", "findings", "path", "query")

    def __init__(self, path: str, query: str, scanner: Scanner) -> None:
        self._scanner = scanner
        self._matches: list[Match] = scanner.scan(path + _WALL + unquote_plus(query) if query else path)
        self.findings: dict[str, int] = {}
        for match in self._matches:
            self.findings[match.type] = self.findings.get(match.type, 0) + 1

    def add_to(self, summary: dict[str, TypeSummary]) -> dict[str, TypeSummary]:
        """The summary of a body's findings with those of the address added; their place is called `address`."""
        for match in self._matches:
            found = summary.setdefault(match.type, TypeSummary(count=0, confidence=0, pointers=[]))
            found["count"] += 1
            found["confidence"] = max(found["confidence"], match.confidence)
            if PLACE not in found["pointers"]:
                found["pointers"].append(PLACE)
        return summary

    def finds_in(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether any header's value has a finding."""
        return bool(self._scanner.scan(_WALL.join(value.decode("latin-1") for _, value in headers)))

    def masked(self, text: str) -> str:
        """`text` (the path, the decoded query, a header's value) with every finding masked, for what is kept."""
        parts, position = [], 0
        for match in self._scanner.scan(text):
            parts += [text[position : match.start], mask(match.type)]
            position = match.end
        return "".join([*parts, text[position:]])


class Addresses:
    """The addresses of a worker's calls. Clients mostly use the same ones; those without a finding are remembered."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._known: dict[tuple[str, str], Address] = {}

    def read(self, path: str, query: str, scanner: Scanner | None = None) -> Address:
        """The address of this normalised path and query; one that another scanner reads is not remembered."""
        if scanner is not None and scanner is not self._scanner:
            return Address(path, query, scanner)
        known = self._known.get((path, query))
        if known is not None:
            return known
        address = Address(path, query, self._scanner)
        if not address.findings and len(path) + len(query) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path, query] = address
        return address
