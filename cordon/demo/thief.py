"""The scene with the stolen key: it probes, is contained with its live stream, and is released again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from cordon.demo.clients import Refused, openai_chat, request
from cordon.demo.scenes import QUESTION
from cordon.demo.screen import Screen
from cordon.demo.stage import Keys, Stage

PROBES: Final = (
    ("GET", "/payments/transfers", None),
    ("GET", "/hr/salaries", None),
    ("GET", "/crm/../admin/users", None),
    ("POST", "/openai/chat/completions", {"model": "internal-finance-model", "messages": []}),
    ("POST", "/anthropic/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": []}),
)
MOST_PROBES: Final = 400
PACE_SECONDS: Final = 0.004
WAIT_SECONDS: Final = 10.0


@dataclass
class _Stream:
    """A long answer that the key's rightful owner is reading when the key is contained."""

    text: str = ""
    ended: Refused | None = None
    over: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    at: float = 0.0

    def read(self, url: str, key: str) -> None:
        """Read until the stream ends, one way or the other."""
        try:
            for piece in openai_chat(url, key).stream("standin:words=4000 standin:slow=20"):
                self.text += piece
                self.begun.set()
        except Refused as refused:
            self.ended = refused
        self.at = time.perf_counter()
        self.over.set()


def stolen_key(stage: Stage, screen: Screen, keys: Keys) -> None:
    """The key of acme/ci-bot is in two hands."""
    key, principal = keys.ci_bot, "acme/ci-bot"
    screen.scene("A stolen key probes, is contained, and is released")
    start = stage.size()
    threshold = stage.config.detection.refusal_burst.threshold
    screen.paragraph(f"{principal}'s owner reads a long stream while somebody else tries out what its key opens.")
    stream = _Stream()
    threading.Thread(target=stream.read, args=(stage.url, key), daemon=True).start()
    stream.begun.wait(WAIT_SECONDS)
    seen, counted, contained = _probe(stage, key, threshold)
    for (method, path, status), count in sorted(seen.items(), key=lambda item: "contained" in item[0][2]):
        screen.fact("probes", f"{count} × {method} {path} → {status}", marked=("contained",), colour="red")
    stream.over.wait(WAIT_SECONDS)
    alert = stage.awaited(start, "alert.raised", subject=principal)
    applied = stage.awaited(start, "containment.applied", target=principal)
    if alert and applied:
        screen.fact("alert", f"{alert['detector']}, {alert['severity']}: {alert['summary']}")
        evidence = ", ".join(str(index) for index in alert["evidence"])
        screen.fact("evidence", f"records {evidence}")
        screen.fact("contained", f"{applied['target']} by {applied['owner']}, for 5 min unless released")
    screen.check(contained, f"contained {_ms(contained - counted)} after the {threshold}th refusal was answered")
    ended = stream.ended.name if stream.ended else "it was not"
    screen.check(stream.ended is not None, f"the key's live stream was cut ({ended})")
    screen.check(
        stage.awaited(start, "call.outcome", verdict="cut"), "its outcome says cut: no answer ends without a record"
    )
    _release(stage, screen, key, principal)


def _probe(stage: Stage, key: str, threshold: int) -> tuple[Counter[tuple[str, str, str]], float, float]:
    """Probe until contained: what was tried and answered, when the burst was full, when the first call was
    contained."""
    seen: Counter[tuple[str, str, str]] = Counter()
    counted = contained = 0.0
    for number in range(MOST_PROBES):
        method, path, body = PROBES[number % len(PROBES)]
        answer = request(method, stage.url + path, {"authorization": f"Bearer {key}"}, body)
        said = answer.read()
        isolated = b"isolated" in said
        seen[method, path, f"{answer.status} {'contained' if isolated else 'refused'}"] += 1
        if number + 1 == threshold:
            counted = time.perf_counter()
        if isolated:
            contained = time.perf_counter()
            break
        time.sleep(PACE_SECONDS)
    return seen, counted, contained


def _release(stage: Stage, screen: Screen, key: str, principal: str) -> None:
    chat = openai_chat(stage.url, key)
    try:
        chat.ask(QUESTION)
        screen.check(False, "the owner is refused as well")
    except Refused as refused:
        screen.fact("owner", f"{refused.name}: {refused}")
        screen.check(refused.status == 403, "the owner, too, is refused with the reason and the containment's id")
    released = stage.release(principal)
    answer = chat.ask(QUESTION)
    screen.check(released == 1 and "Paris" in answer, "released by a person, the key works again at once")
    time.sleep(0.3)
    again = openai_chat(stage.url, key).ask(QUESTION)
    screen.check("Paris" in again, "and it is not contained again from the same evidence")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
