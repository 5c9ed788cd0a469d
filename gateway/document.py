"""The policy input: what the gateway knows of a call at a moment, as the JSON document that Rego reads as `input`.

Parts that do not change between calls are encoded once per configuration. Credentials never enter the document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote_plus

import orjson

from gateway.identity import CORDON_HEADER, SDK_HEADERS, Principal
from gateway.settings import Endpoint, Route, Tenant

SECRET_HEADERS = frozenset({*SDK_HEADERS, CORDON_HEADER, b"cookie", b"proxy-authorization", b"set-cookie"})
Summary = Mapping[str, Mapping[str, object]]


@dataclass(slots=True)
class Subject:
    """One call as policy sees it, apart from its content."""

    call: str
    attempt: int
    method: str
    host: str
    path: str
    query: str
    headers: Iterable[tuple[bytes, bytes]]
    source: str
    principal: Principal
    route: Route
    dialect: str


@dataclass(slots=True)
class Content:
    """A body as policy sees it: `body` is its JSON value where it has one, `findings` counts by type."""

    media_type: str
    size: int
    findings: Summary
    body: object = None
    requested_model: str = ""
    stream: bool = False


class Documents:
    """Builds the documents for one configuration of tenants and routes."""

    def __init__(self, tenants: Mapping[str, Tenant], routes: Sequence[Route]) -> None:
        self._tenants = {
            tenant.id: _fragment({"id": tenant.id, "residency": tenant.residency}) for tenant in tenants.values()
        }
        self._routes = {
            route.id: _fragment({"id": route.id, "kind": route.kind, "dialect": route.dialect, "risk": route.risk})
            for route in routes
        }
        self._endpoints = {
            (endpoint.id, healthy): _fragment(_endpoint(endpoint) | {"healthy": healthy})
            for route in routes
            for endpoint in route.endpoints
            for healthy in (True, False)
        }

    def request(
        self,
        subject: Subject,
        content: Content,
        candidates: Sequence[Endpoint],
        healthy: Callable[[str], bool],
        mask: Callable[[str], str] | None = None,
    ) -> bytes:
        """The document of `data.cordon.request.decision`; `mask` rewrites the address for a copy that is kept."""
        path, query = subject.path, subject.query
        if mask is not None:
            path, query = mask(path), mask(unquote_plus(query))
        document = self._common("request", subject) | {
            "attributes": {
                "request": {
                    "http": {
                        "id": subject.call,
                        "method": subject.method,
                        "path": f"{path}?{query}" if query else path,
                        "host": subject.host,
                        "headers": _headers(subject.headers, mask),
                    }
                },
                "source": {"address": {"socketAddress": {"address": subject.source}}},
            },
            "parsed_path": path.split("/")[1:],
            "parsed_query": parse_qs(query, keep_blank_values=True, max_num_fields=1_000) if query else {},
            "parsed_body": content.body,
            "candidates": [self._endpoints[endpoint.id, healthy(endpoint.id)] for endpoint in candidates],
            "content": _content(content),
            "model": {"requested": content.requested_model, "stream": content.stream},
        }
        return orjson.dumps(document)

    def answer(
        self, phase: str, subject: Subject, endpoint: str, request: Content, answer: Content, status: int, model: str
    ) -> bytes:
        """The document of `data.cordon.response.decision` at `phase`: `answer_head`, `finding` or `answer_end`."""
        document = self._common(phase, subject) | {
            "endpoint": self._endpoints[endpoint, True],
            "request_content": _content(request),
            "model": {"requested": request.requested_model, "stream": request.stream},
            "content": _content(answer),
            "answer": {"status": status, "media_type": answer.media_type, "model": model},
        }
        return orjson.dumps(document)

    def _common(self, phase: str, subject: Subject) -> dict[str, object]:
        principal = subject.principal
        return {
            "phase": phase,
            "principal": {
                "id": principal.id,
                "tenant": principal.tenant,
                "roles": principal.roles,
                "key": principal.key,
            },
            "tenant": self._tenants[principal.tenant],
            "route": self._routes[subject.route.id],
            "call": {
                "id": subject.call,
                "attempt": subject.attempt,
                "method": subject.method,
                "dialect": subject.dialect,
            },
        }


def _content(content: Content) -> dict[str, object]:
    return {"media_type": content.media_type, "bytes": content.size, "findings": content.findings, "labels": {}}


def _headers(headers: Iterable[tuple[bytes, bytes]], mask: Callable[[str], str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        if name in SECRET_HEADERS:
            continue
        key, text = name.decode("latin-1"), value.decode("latin-1")
        if mask is not None:
            text = mask(text)
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _endpoint(endpoint: Endpoint) -> dict[str, object]:
    return {
        "id": endpoint.id,
        "region": endpoint.region,
        "jurisdiction": endpoint.jurisdiction,
        "provider": endpoint.provider,
        "model": endpoint.model,
    }


def _fragment(value: object) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(value))
