"""What the stand-in says, by the words of the request, and how it goes wrong when a request asks for that.

A request asks by directives anywhere in its last user text, in its query or in its JSON body:

    standin:echo          answer with the text that arrived, as it arrived
    standin:status=429    answer with this status and the vendor's error
    standin:cut           break the answer off in the middle
    standin:cut=N         break it off after N pieces
    standin:stall         send the first half of a stream and then nothing more
    standin:slow=MS       wait so long before each piece
    standin:words=N       answer with N words
    standin:tool          call the first tool that the request offers
    standin:held          wait until the test releases it
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PIECE = 5
"""Characters in one piece of a stream: few, so that what a scanner looks for is cut into several."""

_DIRECTIVE = re.compile(r"standin:([a-z]+)(?:=([A-Za-z0-9._-]+))?")

TRANSCRIPTS: tuple[tuple[str, str], ...] = (
    (
        "capital of france",
        "The capital of France is Paris. It lies on the Seine and has been the seat of government for most of the time "
        "since the tenth century.",
    ),
    (
        "refund",
        "Draft reply: Thank you for your message. We have taken up your refund and will return the amount to the card "
        "that you paid with. It takes three to five working days.",
    ),
    (
        "board minutes",
        "Here is what I found in the archive. The minutes begin so. STRICTLY CONFIDENTIAL: the board resolved to "
        "acquire the company before the end of the quarter, at a price that must not become known.",
    ),
    (
        "account manager",
        "Your account manager is Jana Novak. You reach her at jana.novak@example.com or +49 30 901820 on weekdays; for "
        "payments she uses the IBAN DE89 3704 0044 0532 0130 00.",
    ),
    (
        "weather",
        "It is 18 degrees and cloudy in Berlin, with light wind from the west.",
    ),
)
PACED = ("board minutes",)
"""Transcripts that come as a model writes them, a piece at a time: all at once, nothing would be in mid-stream."""
PACE_SECONDS = 0.02
OTHERWISE = "This is the stand-in upstream. It has canned answers only; put your own vendor's address into cordon.yaml."
THINKING = "The question is short. I recall what I know about it and answer in one or two sentences."
_WORDS = (
    "seven",
    "wizards",
    "box",
    "with",
    "judges",
    "while",
    "a",
    "quick",
    "fox",
    "packs",
    "my",
    "jug",
    "of",
    "quartz",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be answered. `cut_after`: pieces before the answer breaks off; `delay`: seconds before each piece."""

    text: str
    status: int = 200
    tool: bool = False
    cut_after: int | None = None
    stall: bool = False
    held: bool = False
    delay: float = 0.0

    def pieces(self, text: str | None = None) -> list[str]:
        """The text in the pieces of a stream."""
        whole = self.text if text is None else text
        return [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]


def plan(prompt: str, directives_from: str = "") -> Plan:
    """The plan for a request whose last user text is `prompt`; directives may also stand in `directives_from`."""
    asked = dict(_DIRECTIVE.findall(f"{directives_from} {prompt}"))
    text = _text(prompt, asked)
    pieces = max(1, -(-len(text) // PIECE))
    cut_after = None
    if "cut" in asked:
        cut_after = int(asked["cut"]) if asked["cut"] else pieces // 2
    return Plan(
        text=text,
        status=int(asked.get("status") or 200),
        tool="tool" in asked,
        cut_after=cut_after,
        stall="stall" in asked,
        held="held" in asked,
        delay=int(asked["slow"] or 0) / 1000 if "slow" in asked else _pace(prompt),
    )


def _pace(prompt: str) -> float:
    """Seconds before each piece where the request does not ask for a pace of its own."""
    return PACE_SECONDS if any(words in prompt.lower() for words in PACED) else 0.0


def plan_of(request: Mapping[str, Any]) -> Plan:
    """The plan for a request to a model, of either vendor: the text of its last message says what to do.

    A response's input may be that text itself, and its last item what a tool has put out.
    """
    messages = request.get("messages", request.get("input"))
    last = messages[-1] if isinstance(messages, list) and messages else messages
    return plan(_content_text(last.get("content", last.get("output")) if isinstance(last, dict) else last))


def _content_text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def _text(prompt: str, asked: Mapping[str, str]) -> str:
    if "echo" in asked:
        return f"You wrote: {_DIRECTIVE.sub('', prompt).strip()}"
    if "words" in asked:
        return " ".join(_WORDS[n % len(_WORDS)] for n in range(int(asked["words"] or 10)))
    lowered = prompt.lower()
    return next((answer for words, answer in TRANSCRIPTS if words in lowered), OTHERWISE)


def tokens(text: str) -> int:
    """Roughly how many tokens a vendor would count."""
    return max(1, len(text) // 4)
