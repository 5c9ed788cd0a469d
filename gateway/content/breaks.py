"""Places in a growing text at which a finding can neither cross nor begin later than seen.

A stream releases text up to the last such place. The patterns are written so that it holds: no finding contains a
line end (but after a sign of assignment), a comma (but after a quote), a semicolon, brace or bar (but a PEM private
key, which is held whole), none goes on over a blank or quote that follows a plain word, and what must stand after a
finding lies on its side of the break. Words before it are read as context from text that was released already.
"""

from __future__ import annotations

import re

REACH = 4_096
"""Longest finding in characters, with what must follow it."""

WINDOW = 2 * REACH
"""Text without any break is looked at in windows of this many characters."""

CONTEXT = 64
"""Text before a break that is looked at as context, in characters."""

_PLAIN = r"[a-zß-öø-ÿĀ-ɏα-ωа-я]"
_TELLING = (
    r"(?i:pass|pwd|secret|token|api|key|access|private|auth|credent|bearer|basic|client|sign|encrypt|account|string"
    r"|ext)"
)
_DELIMITER = r"\s,;\"'{}<>|`"
_INERT = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u3001\u3002\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U0001f300-\U0001faff"
)
_BREAK = re.compile(
    rf"(?<![>=:,\r])[\n\r]|(?<![\"']),|[;{{}}|{_INERT}]"
    rf"|(?<![^{_DELIMITER}])(?!\w{{0,9}}{_TELLING})[A-Z]?{_PLAIN}{{1,9}}[.:!?]?[\s\"'<>`]"
)
_LONGEST = 16
_OPEN = "-----BEGIN"
_CLOSE = re.compile(r"[A-Za-z0-9+/=:,\\ \r\n-]*?(?:-----END|[^A-Za-z0-9+/=:,\\ \r\n-])")


def last_break(text: str, start: int, seen: int = 0) -> int:
    """The last break of `text` after `start` and at most `WINDOW` behind it, or `start` where there is none.

    `seen`: text up to there is known to have none, so that a text that grows is not searched again and again.
    """
    limit = min(len(text), start + WINDOW)
    last = start
    position = max(start, seen - _LONGEST)
    opened = text.find(_OPEN, start, limit)
    while True:
        for match in _BREAK.finditer(text, position, limit if opened < 0 else max(position, opened)):
            last = match.end()
        closed = _CLOSE.match(text, opened, limit) if opened >= 0 else None
        if closed is None:
            return last
        position = closed.end()
        opened = text.find(_OPEN, position, limit)
