"""Documents of realistic size and shape, to try out what a bundle costs before it serves anything."""

from __future__ import annotations

import json
from typing import Final

_PRINCIPAL: Final = {"id": "acme/ci-bot", "tenant": "acme", "roles": ["developer", "payments"], "key": "01J0000000"}
_CERTIFICATE: Final = {
    "subject": "CN=ci-bot,O=Acme",
    "sans": ["URI:spiffe://acme/ci-bot", "DNS:ci-bot.acme.example"],
    "digest": "0123456789abcdef" * 4,
    "not_after": 1_800_000_000_000,
}
_ROUTE: Final = {"id": "openai", "kind": "model", "dialect": "openai", "risk": "low"}
_FINDING: Final = {"count": 3, "confidence": 95, "pointers": [f"/messages/{place}/content" for place in range(10)]}
_FINDINGS: Final = dict.fromkeys(("email", "phone", "payment_card", "api_key"), _FINDING)


def named() -> dict[str, str]:
    """JSON texts by name: nothing at all, a common request, a large one, an answer."""
    documents = {"nothing": {}, "request": request(2), "large request": request(400), "answer": answer()}
    return {name: json.dumps(document) for name, document in documents.items()}


def samples() -> list[str]:
    """The texts alone."""
    return list(named().values())


def request(messages: int) -> dict[str, object]:
    """A chat request with so many messages, at the moment of its decision."""
    texts = [
        {"role": "user", "content": f"Question {place}: " + "what is it about? " * 12} for place in range(messages)
    ]
    http = {
        "id": "01JD0000000000000000000000",
        "method": "POST",
        "path": "/openai/v1/chat/completions",
        "host": "gateway.example",
        "headers": {"content-type": "application/json", "accept": "application/json", "user-agent": "OpenAI/Python"},
    }
    return {
        "phase": "request",
        "principal": {**_PRINCIPAL, "certificate": _CERTIFICATE},
        "tenant": {"id": "acme", "residency": ["EU"]},
        "route": _ROUTE,
        "call": {
            "id": "01JD0000000000000000000000",
            "attempt": 1,
            "method": "POST",
            "dialect": "openai",
            "operation": "chat",
        },
        "attributes": {"request": {"http": http}, "source": {"address": {"socketAddress": {"address": "192.0.2.7"}}}},
        "parsed_path": ["openai", "v1", "chat", "completions"],
        "parsed_query": {},
        "parsed_body": {"model": "gpt-5-mini", "messages": texts, "stream": False, "max_tokens": 512},
        "candidates": [_endpoint("openai-eu", "EU"), _endpoint("openai-us", "US")],
        "content": {"media_type": "application/json", "bytes": 250 * messages, "findings": _FINDINGS, "labels": {}},
        "model": {"requested": "gpt-5-mini", "stream": False},
    }


def answer(phase: str = "answer_head") -> dict[str, object]:
    """An answer to such a request."""
    asked = request(1)
    content = {"media_type": "application/json", "bytes": 600, "findings": _FINDINGS, "labels": {}}
    return {
        "phase": phase,
        **{name: asked[name] for name in ("principal", "tenant", "route", "call", "model")},
        "endpoint": _endpoint("openai-eu", "EU"),
        "request_content": asked["content"],
        "content": content,
        "answer": {"status": 200, "media_type": "application/json", "model": "gpt-5-mini"},
    }


def _endpoint(name: str, jurisdiction: str) -> dict[str, object]:
    return {
        "id": name,
        "region": f"{jurisdiction.lower()}-1",
        "jurisdiction": jurisdiction,
        "provider": "openai",
        "model": "",
        "healthy": True,
    }
