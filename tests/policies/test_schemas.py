"""What goes into a decision and what comes out has the shape that the schemas say."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from gateway.document import Content, Documents, Subject
from gateway.identity import Principal
from gateway.peer import Certificate
from gateway.settings import Endpoint, Route, Tenant
from policies import schemas
from policies.bundle import load_bundle
from policies.embedded import EmbeddedEngine
from policies.errors import PolicyError
from policies.result import read_answer, read_request
from tests.support.policies import (
    REQUEST_RULE,
    RESPONSE_RULE,
    SETTINGS,
    STARTER,
    answer_document,
    damaged,
    request_document,
)

EU = Endpoint(id="eu", url="http://127.0.0.1:9", jurisdiction="EU", region="eu-west-1", provider="p", model="m")
US = Endpoint(id="us", url="http://127.0.0.1:9")
MODEL = Route(id="openai", kind="model", dialect="openai", prefix="/openai", risk="high", endpoints=(EU, US))
HTTP = Route(id="crm", kind="http", prefix="/crm", endpoints=(US.model_copy(update={"id": "crm-1"}),))
TENANTS = {"acme": Tenant(id="acme", residency=("EU", "US")), "globex": Tenant(id="globex")}
DOCUMENTS = Documents(TENANTS, [MODEL, HTTP])
CERTIFICATE = Certificate("ab" * 32, "CN=bot", ("DNS:a.example",), 1_800_000_000_000)
FOUND = {"email": {"count": 2, "confidence": 90, "pointers": ["/messages/0/content"]}}


def faults(name: schemas.Name, value: object) -> list[str]:
    return [f"{each.json_path}: {each.message}" for each in Draft202012Validator(schemas.load(name)).iter_errors(value)]


def subject(route: Route, tenant: str) -> Subject:
    return Subject(
        call="01JCALL",
        attempt=1,
        method="POST",
        host="gateway.example",
        path="/a/b c",
        query="a=1&a=2&b=" if route is MODEL else "",
        headers=[(b"accept", b"*/*"), (b"accept", b"text/html")],
        source="192.0.2.1",
        principal=Principal(
            f"{tenant}/bot", tenant, ("agent",), "k1", certificate=CERTIFICATE if tenant == "acme" else None
        ),
        route=route,
        dialect=route.dialect,
        operation="chat" if route is MODEL else "",
    )


@pytest.mark.parametrize("route", [MODEL, HTTP], ids=lambda route: route.id)
@pytest.mark.parametrize("tenant", sorted(TENANTS))
@pytest.mark.parametrize("body", [None, {"model": "m", "n": 1.5}, ["x"], "text"])
def test_the_gateways_requests_have_the_shape(route: Route, tenant: str, body: object) -> None:
    content = Content("application/json", 12, FOUND if body else {}, body, "m" if route is MODEL else "", True)
    document = DOCUMENTS.request(
        subject(route, tenant), content, route.endpoints, lambda name: name == "eu", reads=None
    )
    assert faults("input.request", orjson.loads(document)) == []


@pytest.mark.parametrize("phase", ["answer_head", "finding", "answer_end"])
def test_the_gateways_answers_have_the_shape(phase: str) -> None:
    asked = Content("application/json", 12, FOUND, {"x": 1}, "m", True)
    answer = Content(
        "text/event-stream", 0, FOUND | {"blocked_pattern:x": {"count": 1, "confidence": 100, "pointers": []}}
    )
    document = DOCUMENTS.answer(phase, subject(MODEL, "acme"), "eu", asked, answer, 200, "m", reads=None)
    assert faults("input.response", orjson.loads(document)) == []


def test_the_starter_bundles_results_have_the_shape() -> None:
    engine = EmbeddedEngine(load_bundle(STARTER), SETTINGS)
    dice = random.Random("shapes")
    for number in range(200):
        for rule, make, name in (
            (REQUEST_RULE, request_document, "result.request"),
            (RESPONSE_RULE, answer_document, "result.response"),
        ):
            document = make(dice)
            document = damaged(dice, document) if number % 4 == 0 else document
            try:
                result = json.loads(engine.evaluate(rule, json.dumps(document).encode()))
            except PolicyError:
                continue
            assert faults(name, result) == [], document  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"allow": 1},
        {"allow": "true"},
        {"allow": True, "redcat": {}},
        {"allow": True, "redact": {"email": "x"}},
        True,
    ],
)
def test_what_the_parser_refuses_the_schemas_refuse(value: Any) -> None:
    text = json.dumps(value)
    assert not read_request(text).allow
    assert not read_answer(text).allow
    assert faults("result.request", value)
    assert faults("result.response", value)
