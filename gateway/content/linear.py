"""Patterns of google-re2 on plain ASCII bytes: matching time grows with the text only, whatever the text is."""

from __future__ import annotations

import re2


def linear(pattern: bytes) -> re2._Regexp[bytes]:
    """Compile a pattern."""
    return re2.compile(pattern, _options())


def any_of(patterns: tuple[bytes, ...]) -> re2.Set:
    """A set of patterns that says in one pass which of them match somewhere."""
    searched = re2.Set.SearchSet(_options())
    for pattern in patterns:
        searched.Add(pattern)
    searched.Compile()
    return searched


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 64 << 20
    return options
