"""What a call on a model route asks for, by its method and path.

An operation is named for two ends. Its body is read by the dialect's rules: here a wider pattern is the stricter one,
so the end of the path decides, whatever stands before it. And policy may allow it by name: so the one operation that
needs no model, `models`, is named only where path and method can mean nothing else. All other paths of a model route
have no operation: their bodies are inspected as those of any HTTP API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

OPERATIONS: Final = ("chat", "completions", "responses", "embeddings", "messages", "models", "")
"""All there are; the last is that of every other path, and of routes that lead to no model."""

_SEGMENT: Final = r"/[^/]+"
_BY_PATH: Final[Mapping[str, re.Pattern[str]]] = {
    "openai": re.compile(
        rf"/(?:(?P<chat>chat/completions(?:{_SEGMENT}){{0,2}})|(?P<completions>completions)"
        rf"|(?P<responses>responses(?:{_SEGMENT}){{0,2}})|(?P<embeddings>embeddings))/?\Z",
        re.IGNORECASE,
    ),
    "anthropic": re.compile(r"/(?P<messages>messages)/?\Z", re.IGNORECASE),
}
_MODELS: Final = re.compile(rf"(?:/v[0-9]+)?/models(?:{_SEGMENT})?")


def operation_of(dialect: str, method: str, path: str) -> str:
    """The operation of a call on a route of this dialect (empty: no model). `path` begins after the route's prefix."""
    pattern = _BY_PATH.get(dialect)
    if pattern is None:
        return ""
    found = pattern.search(path)
    if found is not None:
        return found.lastgroup or ""
    return "models" if method == "GET" and _MODELS.fullmatch(path) else ""
