"""Log probabilities repeat the answer token by token: what is redacted there must not survive here."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.content.json_text import Json
from gateway.content.scanner import Match, Scanner, readable

Entry = dict[str, Json]
"""One token with its log probability: {"token", "logprob", "bytes", "top_logprobs"}."""


def lists_of(value: Json) -> Iterator[tuple[str, list[Json]]]:
    """The lists of entries in a `logprobs` field: the list itself, or those of content and refusal."""
    thin([value])
    if isinstance(value, list):
        yield "content", value
    elif isinstance(value, dict):
        for name, entries in value.items():
            if isinstance(entries, list) and entries and isinstance(entries[0], dict):
                yield name, entries


def thin(values: list[Json]) -> bool:
    """Empty the parallel lists of the old completions API of tokens and alternatives; whether there was one.

    They cannot be masked one by one. What is emptied later than it was looked at leaves findings without a place.
    """
    emptied = False
    for value in values:
        if isinstance(value, dict) and "tokens" in value and (value["tokens"] or value.get("top_logprobs")):
            value["tokens"] = value["top_logprobs"] = None
            emptied = True
    return emptied


def token_of(entry: Entry) -> str:
    """The token's text; its bytes are taken out when they say something else than the text."""
    token = entry.get("token")
    if not isinstance(token, str):
        return ""
    raw = entry.get("bytes")
    if raw is not None and not _agrees(raw, token):
        entry["bytes"] = None
    return token


def _agrees(raw: Json, token: str) -> bool:
    """Bytes of a part of a character are shown as `\\xf0` in the token."""
    try:
        return isinstance(raw, list) and bytes(raw).decode(errors="backslashreplace") == token  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


class Tokens:
    """One whole list of entries and the findings in the text that its tokens make."""

    def __init__(self, entries: list[Json], scanner: Scanner) -> None:
        self.entries = entries
        self._texts = [token_of(entry) if isinstance(entry, dict) else "" for entry in entries]
        self.matches = scanner.scan(readable("".join(self._texts)))

    def remove(self, redact: set[str]) -> None:
        """Drop the entries that a finding of one of these types overlaps."""
        spans = [(match.start, match.end) for match in self.matches if match.type in redact]
        if not spans:
            return
        kept: list[Json] = []
        position = 0
        for entry, text in zip(self.entries, self._texts, strict=True):
            end = position + len(text)
            if not any(start < end and stop > position for start, stop in spans):
                kept.append(entry)
            position = end
        self.entries[:] = kept


def find(values: list[Json], scanner: Scanner) -> list[Tokens]:
    """All lists of entries in the values of `logprobs` fields (`walk.Texts.logprobs`)."""
    return [Tokens(entries, scanner) for value in values for _, entries in lists_of(value)]


def matches_of(tokens: list[Tokens]) -> Iterator[Match]:
    """All findings in them."""
    for item in tokens:
        yield from item.matches
