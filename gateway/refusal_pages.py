"""A page for each refusal code: what happened, who is at fault, what to do, what the answer looks like.

The reference has them as files and the control server serves them at `/errors/CODE`, both made from `CODES`, with
examples that are rendered as real answers are. They say the same of every installation, and nothing of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Final

from gateway.errors import Refusal
from gateway.refusal_codes import CODES, STAGES
from gateway.refusals import render

PLACE: Final = "https://cordon.example/errors/"
CALL: Final = "01KB0Z3M8Q5T7V9XWY2A4C6E8G"
_BEFORE_A_CALL: Final = frozenset({"framing", "gateway"})
_BEFORE_A_ROUTE: Final = _BEFORE_A_CALL | {"routing"}
_REASON: Final = {
    "rule": "residency",
    "detail": "acme's data may go to EU only.",
    "fix": "Call an endpoint that lies in the EU.",
}


@dataclass(frozen=True, slots=True)
class Section:
    """What a code means at one stage. `examples` are a heading and a whole answer each; none where nobody is told."""

    stage: str
    about: str
    statuses: tuple[int, ...]
    meaning: str
    fault: str
    caller: str
    operator: str
    examples: tuple[tuple[str, str], ...]


@cache
def refusal_pages() -> Mapping[str, tuple[Section, ...]]:
    """The page of each code: a section for each stage that it can come from."""
    found: dict[str, tuple[Section, ...]] = {}
    for (stage, code), known in CODES.items():
        at = STAGES[stage]
        section = Section(
            stage,
            at.meaning,
            known.statuses,
            known.meaning,
            known.fault or at.fault,
            known.caller,
            known.operator or at.operator,
            tuple(_examples(stage, code, known.statuses[0], known.meaning)),
        )
        found[code] = (*found.get(code, ()), section)
    return found


def markdown(code: str) -> str:
    """The page of a code as Markdown; KeyError where there is no such code."""
    lines = [f"# `{code}`"]
    for section in refusal_pages()[code]:
        statuses = " or ".join(f"{status} {_phrase(status)}".strip() for status in section.statuses)
        lines += ["", f"## At the stage {section.stage}", "", f"**What happened.** {section.meaning} {section.about}"]
        lines += ["", f"**Status.** {statuses}", "", f"**Who is at fault.** {section.fault}"]
        lines += ["", f"**What the caller can do.** {section.caller}"]
        lines += ["", f"**What the operator can do.** {section.operator}"]
        for heading, text in section.examples:
            lines += ["", f"**{heading}.**", "", "```http", text, "```"]
    return "\n".join(lines) + "\n"


def _examples(stage: str, code: str, status: int, meaning: str) -> Iterator[tuple[str, str]]:
    if stage == "client":
        return
    reasons = [_REASON] if (stage, code) in {("decision", "refused"), ("decision", "answer_refused")} else []
    refusal = Refusal(status, stage, code, meaning.replace("`", ""), reasons)
    call = "" if stage in _BEFORE_A_CALL else CALL
    yield "Example", _answer(refusal, "", call)
    if stage not in _BEFORE_A_ROUTE:
        yield "The same on a model route in OpenAI's shape", _answer(refusal, "openai", call)


def _answer(refusal: Refusal, dialect: str, call: str) -> str:
    headers, body = render(refusal, dialect=dialect, call=call, pages=PLACE)
    lines = [f"HTTP/1.1 {refusal.status} {_phrase(refusal.status)}"]
    lines += [f"{name.decode()}: {value.decode()}" for name, value in headers]
    return "\n".join([*lines, "", json.dumps(json.loads(body), indent=2, ensure_ascii=False)])


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
