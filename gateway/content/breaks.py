"""Places in a growing text at which a finding can neither cross nor begin later than seen.

A stream releases text up to the last such place. The patterns are written so that it holds: no finding contains a
line end, comma, semicolon, question or exclamation mark, brace or bar (but a PEM private key), none goes on over a
blank or quote after a plain word, and what a finding must be followed or preceded by lies on its side of the break
(words before it are read as context from text that was released already).
"""

from __future__ import annotations

import re

REACH = 4_096
"""Longest finding in characters, with its context."""

WINDOW = 2 * REACH
"""Text without any break is looked at in windows of this many characters."""

_PLAIN = r"[a-zß-öø-ÿĀ-ɏα-ωа-я]"
_TELLING = r"(?i:pass|pwd|secret|token|api|key|access|private|auth|credent|bearer|basic|client|ext)"
_DELIMITER = r"\s,;!?\"'{}<>|`"
_INERT = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u3001\u3002\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U0001f300-\U0001faff"
)
_BREAK = re.compile(
    rf"[\n\r,;!?{{}}|{_INERT}]"
    rf"|(?<![^{_DELIMITER}])(?!\w{{0,9}}{_TELLING})[A-Z]?{_PLAIN}{{1,9}}[.:]?[\s\"'<>`]"
)
_OPEN = "-----BEGIN"


def last_break(text: str, start: int) -> int:
    """The last break of `text` after `start`, or `start` where there is none."""
    limit = len(text)
    opened = text.find(_OPEN, start)
    if opened >= 0 and text.find("-----END", opened) < 0:
        limit = opened
    last = start
    for match in _BREAK.finditer(text, start, limit):
        last = match.end()
    return last
