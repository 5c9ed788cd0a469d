"""Bundles in the style of opa-envoy-plugin's examples decide unchanged, and alike on both engines."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import PolicyError
from policies.settings import Policy
from tests.support.opa import asking, bundle_folder, opa_server
from tests.support.policies import as_json, ask, examined

SETTINGS: dict[str, Any] = {
    "request_rule": "data.envoy.authz.allow",
    "result_style": "opa-envoy",
    "unsafe_pass_answers": True,
}

BOOLEAN = """package envoy.authz

import input.attributes.request.http as http_request

default allow := false

allow if {
    http_request.method == "GET"
    input.parsed_path[0] == "people"
    roles[http_request.headers["x-user"]] in {"guest", "admin"}
}

allow if {
    http_request.method == "POST"
    input.parsed_path == ["people"]
    roles[http_request.headers["x-user"]] == "admin"
    lower(input.parsed_body.firstname) != lower(http_request.headers["x-user"])
}

roles := {"alice": "guest", "bob": "admin"}
"""

OBJECT = """package envoy.authz

default allow := {
    "allowed": false,
    "headers": {"x-ext-auth-allow": "no"},
    "body": "Unauthorized Request",
    "http_status": 301,
}

allow := {"allowed": true} if {
    input.attributes.request.http.method == "GET"
    input.parsed_query.lang[0] == "en"
}

allow := {"allowed": true, "headers": {"x-current-user": "bob"}} if {
    input.attributes.request.http.method == "PUT"
}
"""

CLAIMS = """package envoy.authz

default allow := false

allow if {
    claims := yaml.unmarshal(input.attributes.request.http.headers["x-claims"])
    claims.role == "guest"
}
"""
GUEST = "role: guest"


def request(method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    http = {"id": "1", "method": method, "path": path, "host": "h", "headers": headers or {}}
    return {"attributes": {"request": {"http": http}}, "parsed_path": path.strip("/").split("/")} | more


CASES: list[tuple[str, dict[str, Any], bool, str]] = [
    (BOOLEAN, request("GET", "/people", {"x-user": "alice"}), True, ""),
    (BOOLEAN, request("GET", "/people/7", {"x-user": "bob"}), True, ""),
    (BOOLEAN, request("GET", "/people", {"x-user": "eve"}), False, ""),
    (BOOLEAN, request("GET", "/people"), False, ""),
    (BOOLEAN, request("POST", "/people", {"x-user": "bob"}, parsed_body={"firstname": "Charlie"}), True, ""),
    (BOOLEAN, request("POST", "/people", {"x-user": "bob"}, parsed_body={"firstname": "Bob"}), False, ""),
    (BOOLEAN, request("POST", "/people", {"x-user": "alice"}, parsed_body={"firstname": "Charlie"}), False, ""),
    (BOOLEAN, request("POST", "/people", {"x-user": "bob"}, parsed_body=None), False, ""),
    (OBJECT, request("GET", "/x", parsed_query={"lang": ["en"]}), True, ""),
    (OBJECT, request("GET", "/x", parsed_query={"lang": ["de"]}), False, "Unauthorized Request"),
    (OBJECT, request("PUT", "/x", parsed_query={}), False, "the result sets `headers`, which is not enforced yet"),
]


@pytest.mark.parametrize("policy", [BOOLEAN, OBJECT], ids=["boolean", "object"])
def test_both_engines_decide_alike(tmp_path: Path, policy: str) -> None:
    cases = [case for case in CASES if case[0] == policy]
    settings = Policy(**SETTINGS)
    verdict = examined({"policy.rego": policy}, settings)
    assert verdict.bundle is not None, verdict.errors
    local = EmbeddedEngine(verdict.bundle, settings, verdict.reads)
    remote = asyncio.run(by_opa(tmp_path, policy, [document for _, document, _, _ in cases]))
    for (_, document, allow, reason), found in zip(cases, remote, strict=True):
        decision = ask(local, document)
        assert decision.allow is found.allow is allow
        assert decision.reasons == found.reasons
        assert [each.detail for each in found.reasons] == ([reason] if reason else [])


def test_what_the_embedded_engine_lacks_decides_on_the_server_that_its_refusal_names(tmp_path: Path) -> None:
    verdict = examined({"policy.rego": CLAIMS}, Policy(**SETTINGS))
    assert verdict.bundle is None
    assert "policy.engine: opa" in verdict.errors[0].remedy
    documents = [request("GET", "/x", {"x-claims": GUEST}), request("GET", "/x")]
    assert [each.allow for each in asyncio.run(by_opa(tmp_path, CLAIMS, documents))] == [True, False]
    with pytest.raises(PolicyError, match=r"an error in yaml\.unmarshal at policy\.rego:6"):
        asyncio.run(by_opa(tmp_path, CLAIMS, [request("GET", "/x", {"x-claims": "["})]))


async def by_opa(tmp_path: Path, policy: str, documents: list[dict[str, Any]]) -> list[Any]:
    """The decisions of a real OPA."""
    folder = bundle_folder(tmp_path / "bundle", {"policy.rego": policy})
    with opa_server() as opa:
        async with asking(opa.url, folder, tmp_path / "run", watch=False, deadline_ms=5_000, **SETTINGS) as asked:
            engine = asked.source.engine
            return [await engine.decide(Moment.REQUEST, as_json(document)) for document in documents]
