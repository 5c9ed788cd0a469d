"""Calls as policy sees them, in mixes from always the same to never alike; the same calls at each run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.document import Content, Documents, Subject
from gateway.identity import Principal
from gateway.settings import Endpoint, Route, Tenant
from lineage.record import new_call_id
from policies.engine import Moment, PolicyEngine

TENANTS: Final = {name: Tenant(id=name, residency=("EU",)) for name in ("acme", "globex")}
ENDPOINTS: Final = tuple(
    Endpoint(id=name, url="http://127.0.0.1:9", jurisdiction=place, provider="openai")
    for name, place in (("eu", "EU"), ("us", "US"))
)
ROUTES: Final = tuple(
    Route(id=name, kind=kind, dialect=dialect, prefix=f"/{name}", endpoints=ENDPOINTS)
    for name, kind, dialect in (("openai", "model", "openai"), ("crm", "http", ""), ("payments", "http", ""))
)
MODELS: Final = ("gpt-5-mini", "gpt-5", "gpt-4.1")
FINDINGS: Final = ("email", "phone", "payment_card", "iban")


@dataclass(frozen=True, slots=True)
class Mix:
    """How unlike calls are. `callers`: principals of each tenant; `found`: share of calls with findings."""

    name: str
    callers: int
    found: float
    paths: int = 1


MIXES: Final = (
    Mix("one caller, the same request (as `python -m bench` sends)", 1, 0.0),
    Mix("an organisation: 200 callers, 3 routes, findings in 10 %", 100, 0.1, 50),
    Mix("the same with findings in 60 %", 100, 0.6, 50),
    Mix("never alike: findings in each, at places of their own", 100, 1.0, 10_000),
)


@dataclass(frozen=True, slots=True)
class Played:
    """One call: its facts, and its document at each moment."""

    subject: Subject
    request: Content
    answer: Content
    documents: tuple[tuple[Moment, bytes], ...]


def played(mix: Mix, engine: PolicyEngine, calls: int, seed: int = 1) -> Iterator[Played]:
    """So many calls of a mix, with the documents that the gateway makes of them for this engine."""
    dice = random.Random(f"{seed} {mix.name}")
    documents = Documents(TENANTS, ROUTES)
    for _ in range(calls):
        route = ROUTES[0] if mix.callers == 1 else dice.choices(ROUTES, (6, 3, 1))[0]
        subject = _subject(mix, dice, route)
        request, answer = (_content(mix, dice, route, asked) for asked in (True, False))
        made = [
            (
                Moment.REQUEST,
                documents.request(subject, request, ENDPOINTS, lambda _: True, reads=engine.request_reads),
            )
        ]
        seen = {Moment.ANSWER_HEAD: Content(answer.media_type, 0, {}), Moment.ANSWER_END: answer}
        if answer.findings:
            seen = {Moment.ANSWER_HEAD: seen[Moment.ANSWER_HEAD], Moment.FINDING: answer, Moment.ANSWER_END: answer}
        for moment, content in seen.items():
            text = documents.answer(
                moment.value, subject, "eu", request, content, 200, "gpt", reads=engine.answer_reads
            )
            made.append((moment, text))
        yield Played(subject, request, answer, tuple(made))


def _subject(mix: Mix, dice: random.Random, route: Route) -> Subject:
    tenant = "acme" if mix.callers == 1 else dice.choice(sorted(TENANTS))
    # A few callers make most of the calls.
    who = min(int(dice.paretovariate(0.7)), mix.callers)
    role = ("analyst", "agent", "developer")[who % 3]
    return Subject(
        new_call_id(), 1, "POST", "gateway.example", f"{route.prefix}/v1/{dice.randrange(mix.paths)}", "",
        [(b"accept", b"application/json"), (b"user-agent", b"bench")], "192.0.2.1",
        Principal(f"{tenant}/{who}", tenant, (role,), f"key_{who}"), route, route.dialect, "chat",
    )  # fmt: skip


def _content(mix: Mix, dice: random.Random, route: Route, asked: bool) -> Content:
    size = 996 if mix.callers == 1 else dice.randrange(200, 20_000)
    findings = {}
    if dice.random() < mix.found:
        for kind in dice.sample(FINDINGS, dice.choice((1, 1, 2))):
            pointers = [f"/messages/{dice.randrange(mix.paths)}/content" for _ in range(dice.choice((1, 1, 2)))]
            findings[kind] = {"count": len(pointers), "confidence": 90, "pointers": pointers}
    model = "" if route.kind != "model" else MODELS[0] if mix.callers == 1 else dice.choice(MODELS)
    return Content("application/json", size, findings, {"model": model}, model if asked else "", False)
