"""Patterns that an answer must not contain, in google-re2's syntax."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Final

import re2

from gateway.content.errors import ContentError
from gateway.content.scanner import Match

_PROBE: Final = "\x1e\x1eprobe\x1e\x1e"
LONGEST_PATTERN: Final = 1_000
"""Longest source of one pattern, in characters."""

MOST_PATTERNS: Final = 100
WIDEST_MATCH: Final = 1_024
"""A pattern that can match more characters than this, or is anchored, needs the whole text: it cannot be streamed."""

_ANCHORS = re.compile(r"(?<!\\)(?:\\\\)*(?:\^|\$|\\[AzZB])")


class Guard:
    """Compiled blocked patterns. `width` is the longest match in characters; 0 when the answer must be buffered."""

    def __init__(self, patterns: tuple[tuple[str, str], ...]) -> None:
        if len(patterns) > MOST_PATTERNS:
            raise ContentError("not_enforced", f"more than {MOST_PATTERNS} blocked patterns")
        self._patterns = [(name, _compile(name, source)) for name, source in patterns]
        widths = [_width(source) for _, source in patterns]
        self.width = 0 if 0 in widths else max(widths, default=0)
        self._any = _together(patterns) if self.width else None

    @property
    def streamable(self) -> bool:
        """Whether the patterns can be looked for in a part of the text."""
        return self.width > 0

    def occurs(self, texts: str) -> bool:
        """Whether any pattern may match within several texts joined by control characters; False is certain."""
        return self._any is None or bool(self._any.Match(texts))

    def search(self, text: str, start: int, *, final: bool) -> list[Match]:
        """The first match of each pattern at or after `start`.

        A match at the very end of a text that goes on is left for later: what follows might undo it.
        """
        found: list[Match] = []
        if not self.occurs(text):
            return found
        for name, pattern in self._patterns:
            match = pattern.search(text, start)
            if match is not None and (final or match.end() < len(text)):
                found.append(Match(f"blocked_pattern:{name}", match.start(), match.end(), 100))
        return found


@lru_cache(maxsize=64)
def guard(patterns: tuple[tuple[str, str], ...]) -> Guard:
    """The compiled guard for (id, pattern) pairs; ContentError for a pattern that cannot be enforced."""
    return Guard(patterns)


def _together(patterns: tuple[tuple[str, str], ...]) -> re2.Set | None:
    """All patterns in one automaton, which tells that one of them matches, but not where.

    None where they are too much for one: it would find nothing then, and say nothing. A probe tells.
    """
    together = re2.Set.SearchSet(_options())
    for source in (_PROBE, *(source for _, source in patterns)):
        together.Add(source)
    together.Compile()
    return together if together.Match(_PROBE) else None


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    return options


def _compile(name: str, source: str) -> re2._Regexp[str]:
    if len(source) > LONGEST_PATTERN:
        raise ContentError("not_enforced", f"blocked pattern {name!r} is longer than {LONGEST_PATTERN} characters")
    try:
        return re2.compile(source, _options())
    except re2.error as error:
        raise ContentError("not_enforced", f"blocked pattern {name!r} is not a google-re2 pattern") from error


def _width(source: str) -> int:
    """Longest match in characters, 0 when there is no bound or it is not known."""
    if _ANCHORS.search(source):
        return 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            widest = _widest(source)
    except (re.error, RecursionError, OverflowError):
        return 0
    return int(widest) if 0 < widest <= WIDEST_MATCH else 0


def _widest(source: str) -> int:
    parser = re._parser  # type: ignore[attr-defined]
    return int(parser.parse(source).getwidth()[1])
