"""Mends the places in the engine's syntax tree, which leave out quotes and parentheses and misplace some objects.

A span should be the whole text of a part, because parts are moved and replaced by their spans.
"""

from __future__ import annotations

import re
from typing import Any, Final

_QUOTED: Final = frozenset({"String", "RawString"})
_TOKEN: Final = re.compile(rb'"(?:[^"\\\n]|\\.)*"|`[^`]*`|#[^\n]*|[()]')


def mend(tree: object, text: str) -> None:
    """Correct all `span` values below a tree, in place."""
    source = text.encode()
    order: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = []
    stack: list[tuple[str, object, dict[str, Any] | None]] = [("", tree, None)]
    while stack:
        kind, part, parent = stack.pop()
        if isinstance(part, list):
            stack.extend(("", item, parent) for item in part)
        elif isinstance(part, dict):
            if isinstance(part.get("span"), dict):
                order.append((kind, part, parent))
                parent = part
            stack.extend((name, value, parent) for name, value in part.items())
    for kind, part, parent in reversed(order):
        span = part["span"]
        if kind in _QUOTED:
            span["start"] -= 1
            span["end"] += 1
        elif kind == "Object" and part["fields"]:
            key = next(iter(part["fields"][0][1].values()))["span"]
            span["start"] = source.rindex(b"{", 0, key["start"])
        _close(source, span)
        if parent is not None:
            parent["span"]["start"] = min(parent["span"]["start"], span["start"])
            parent["span"]["end"] = max(parent["span"]["end"], span["end"])


def _close(source: bytes, span: dict[str, int]) -> None:
    """Widen a span by the parentheses that are open or closed in it but not both."""
    missing = depth = 0
    for token in _TOKEN.finditer(source[span["start"] : span["end"]]):
        if token[0] == b"(":
            depth += 1
        elif token[0] == b")":
            depth -= 1
            if depth < 0:
                missing, depth = missing + 1, 0
    while missing and (opened := re.search(rb"\(\s*\Z", source[: span["start"]])):
        span["start"] = opened.start()
        missing -= 1
    while depth and (closed := re.match(rb"\s*\)", source[span["end"] :])):
        span["end"] += closed.end()
        depth -= 1
