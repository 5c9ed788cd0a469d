"""Bundles to try out, documents that policy could be asked about, and the real OPA as the judge of what they mean."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policies.admission import Admission, admit_now
from policies.bundle import Bundle, make_bundle
from policies.embedded import EmbeddedEngine
from policies.engine import AnswerMoment, Moment
from policies.result import AnswerDecision, RequestDecision
from policies.settings import Policy
from tests.support.servers import require_binary

STARTER = Path(__file__).parents[2] / "policies/bundles/starter"
SETTINGS = Policy(bundle=STARTER)
REQUEST_RULE = SETTINGS.request_rule
RESPONSE_RULE = SETTINGS.response_rule
MINIMAL = {
    "request.rego": 'package cordon.request\n\ndecision := {"allow": true}\n',
    "response.rego": 'package cordon.response\n\ndecision := {"allow": true}\n',
}


def bundle(files: Mapping[str, str] | None = None, **modules: str) -> Bundle:
    """A bundle of `files`, or the minimal one with the modules named (`request="…"`) in place of its own."""
    texts = dict(files) if files is not None else MINIMAL | {f"{name}.rego": text for name, text in modules.items()}
    return make_bundle({path: text.encode() for path, text in texts.items()})


def write(folder: Path, files: Mapping[str, str] = MINIMAL) -> Path:
    """Write a bundle into `folder`."""
    for place, text in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def examined(files: Mapping[str, str] | None = None, settings: Policy = SETTINGS, **modules: str) -> Admission:
    """What admission says of a bundle; starts a process."""
    return admit_now(bundle(files, **modules), settings)


def ask(engine: EmbeddedEngine, document: object) -> RequestDecision:
    """The decision on a request; bytes are taken as they are, anything else is written as JSON."""
    return asyncio.run(engine.decide(Moment.REQUEST, as_json(document)))


def ask_answer(engine: EmbeddedEngine, document: object, moment: AnswerMoment = Moment.ANSWER_HEAD) -> AnswerDecision:
    """The decision on an answer."""
    return asyncio.run(engine.decide(moment, as_json(document)))


def as_json(document: object) -> bytes:
    """The document as the engine gets it."""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def opa_results(folder: Path, rule: str, documents: Sequence[object], scratch: Path) -> list[Any]:
    """What OPA gives for `rule` on each document, in one process; "<undefined>" where the rule is not defined."""
    (scratch / "documents.json").write_text(json.dumps({"each": documents}), encoding="utf-8")
    run = subprocess.run(
        [
            str(require_binary("opa")),
            "eval",
            f"--data={folder}",
            f"--input={scratch / 'documents.json'}",
            "--format=json",
            f"{{place: result | some place, document in input.each; result := {rule} with input as document}}",
        ],
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = json.loads(run.stdout)["result"][0]["expressions"][0]["value"]
    return [found.get(str(place), "<undefined>") for place in range(len(documents))]


TENANTS = ("acme", "globex", "initech", "")
ROUTES = (
    {"id": "openai", "kind": "model", "dialect": "openai", "risk": "low"},
    {"id": "anthropic", "kind": "model", "dialect": "anthropic", "risk": "low"},
    {"id": "crm", "kind": "http", "dialect": "", "risk": "low"},
    {"id": "payments", "kind": "http", "dialect": "", "risk": "high"},
    {"id": "crm", "kind": "http", "dialect": "", "risk": "high"},
    {"id": "elsewhere", "kind": "http", "dialect": "", "risk": "low"},
)
MODELS = ("gpt-5-mini", "gpt-", "o3", "claude-opus", "llama-4", "GPT-5", "", "gpt\u20115", "日本語")
FINDINGS = ("email", "phone", "payment_card", "iban", "us_ssn", "ip_address", "api_key", "unreadable", "dna")
ANSWER_FINDINGS = (*FINDINGS, "blocked_pattern:private_key", "too_long", "wrong_shape")
JURISDICTIONS = ("EU", "US", "CH", "")


def request_document(dice: random.Random) -> dict[str, Any]:
    """A document about a request, as the gateway would build it."""
    return _common(dice) | {
        "phase": "request",
        "candidates": [_endpoint(dice, place) for place in range(dice.choice((0, 1, 2, 2, 3)))],
        "content": _content(dice, FINDINGS),
        "model": {"requested": dice.choice((*MODELS, "gpt-5-mini", "gpt-5-mini")), "stream": dice.random() < 0.5},
    }


def answer_document(dice: random.Random) -> dict[str, Any]:
    """A document about an answer."""
    return _common(dice) | {
        "phase": dice.choice(("answer_head", "finding", "answer_end")),
        "endpoint": _endpoint(dice, 0),
        "request_content": _content(dice, FINDINGS),
        "content": _content(dice, ANSWER_FINDINGS),
        "model": {"requested": dice.choice(MODELS), "stream": dice.random() < 0.5},
        "answer": {"status": dice.choice((200, 204, 399, 400, 404, 502)), "media_type": "text/plain", "model": "m"},
    }


def damaged(dice: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    """The document without some part, or with it in another type, at the top or one level below."""
    holder = document
    key = dice.choice(sorted(holder))
    if isinstance(holder[key], dict) and holder[key] and dice.random() < 0.7:
        holder = holder[key]
        key = dice.choice(sorted(holder))
    if dice.random() < 0.5:
        del holder[key]
    else:
        holder[key] = dice.choice((None, True, 0, "text", [], {}, ["EU"], {"EU": "EU"}))
    return document


def _common(dice: random.Random) -> dict[str, Any]:
    tenant = dice.choice((*TENANTS, "acme", "acme", "globex", "globex"))
    return {
        "principal": {
            "id": f"{tenant}/bot",
            "tenant": tenant,
            "roles": dice.choice(([], ["developer"], ["payments"], ["developer", "payments"])),
            "key": "k1",
        },
        "tenant": {"id": tenant, "residency": dice.sample(JURISDICTIONS, dice.choice((0, 1, 2, 2, 3)))},
        "route": dict(dice.choice((*ROUTES, *ROUTES[:4]))),
        "call": {
            "id": "c1",
            "attempt": 1,
            "method": dice.choice(("GET", "POST", "DELETE")),
            "dialect": "openai",
            "operation": dice.choice(("chat", "models", "")),
        },
    }


def _endpoint(dice: random.Random, place: int) -> dict[str, Any]:
    return {
        "id": f"endpoint-{place}",
        "region": "somewhere-1",
        "jurisdiction": dice.choice(("EU", "US", *JURISDICTIONS)),
        "provider": "p",
        "model": "",
        "healthy": dice.random() < 0.7,
    }


def _content(dice: random.Random, types: Sequence[str]) -> dict[str, Any]:
    found = {
        name: {"count": 1, "confidence": "high", "pointers": [f"/{name}", "/ü\"'\\"][: dice.randrange(3)]}
        for name in dice.sample(types, dice.choice((0, 0, 1, 1, 2, 4)))
    }
    return {"media_type": "application/json", "bytes": dice.randrange(10_000), "findings": found, "labels": {}}
