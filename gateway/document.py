"""The policy input: what the gateway knows of a call at a moment, as the JSON document that Rego reads as `input`.

Parts that do not change between calls are encoded once per configuration. Credentials never enter the document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
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


@dataclass(slots=True)
class _Moment:
    """Everything that a document can be made of, at one moment of a call."""

    phase: str
    subject: Subject
    content: Content
    candidates: Sequence[Endpoint] = ()
    healthy: Callable[[str], bool] = bool
    mask: Callable[[str], str] | None = None
    request: Content | None = None
    endpoint: str = ""
    status: int = 0
    model: str = ""


Part = Callable[[_Moment], object]


class Documents:
    """Builds the documents for one configuration of tenants and routes.

    `reads` says what of a document the bundle can read (`policies.engine`); the rest is left out. None: everything.
    """

    def __init__(self, tenants: Mapping[str, Tenant], routes: Sequence[Route]) -> None:
        self._tenants = {tenant.id: {"id": tenant.id, "residency": tenant.residency} for tenant in tenants.values()}
        self._routes = {
            route.id: {"id": route.id, "kind": route.kind, "dialect": route.dialect, "risk": route.risk}
            for route in routes
        }
        self._endpoints = {
            (endpoint.id, healthy): orjson.Fragment(orjson.dumps(_endpoint(endpoint) | {"healthy": healthy}))
            for route in routes
            for endpoint in route.endpoints
            for healthy in (True, False)
        }
        common: dict[str, Part] = {
            "phase": lambda at: at.phase,
            "principal": _principal,
            "tenant": lambda at: self._tenants[at.subject.principal.tenant],
            "route": lambda at: self._routes[at.subject.route.id],
            "call": _call,
            "content": lambda at: _content(at.content),
        }
        self._request: dict[str, Part] = common | {
            "attributes": _attributes,
            "parsed_path": lambda at: at.subject.path.split("/")[1:],
            "parsed_query": lambda at: parse_qs(at.subject.query, keep_blank_values=True) if at.subject.query else {},
            "parsed_body": lambda at: at.content.body,
            "candidates": lambda at: [self._endpoints[each.id, at.healthy(each.id)] for each in at.candidates],
            "model": lambda at: _model(at.content),
        }
        self._answer: dict[str, Part] = common | {
            "endpoint": lambda at: self._endpoints[at.endpoint, True],
            "request_content": lambda at: _content(at.request) if at.request is not None else {},
            "model": lambda at: _model(at.request) if at.request is not None else {},
            "answer": lambda at: {"status": at.status, "media_type": at.content.media_type, "model": at.model},
        }

    def request(
        self,
        subject: Subject,
        content: Content,
        candidates: Sequence[Endpoint],
        healthy: Callable[[str], bool],
        *,
        reads: frozenset[str] | None = None,
        mask: Callable[[str], str] | None = None,
    ) -> bytes:
        """The document of `data.cordon.request.decision`; `mask` rewrites address and headers for a copy to be kept."""
        if mask is not None:
            subject = replace(subject, path=mask(subject.path), query=mask(unquote_plus(subject.query)))
        return _encode(self._request, reads, _Moment("request", subject, content, candidates, healthy, mask))

    def answer(
        self,
        phase: str,
        subject: Subject,
        endpoint: str,
        request: Content,
        answer: Content,
        status: int,
        model: str,
        *,
        reads: frozenset[str] | None = None,
    ) -> bytes:
        """The document of `data.cordon.response.decision` at `phase`: `answer_head`, `finding` or `answer_end`."""
        moment = _Moment(phase, subject, answer, request=request, endpoint=endpoint, status=status, model=model)
        return _encode(self._answer, reads, moment)


def _encode(parts: Mapping[str, Part], reads: frozenset[str] | None, moment: _Moment) -> bytes:
    if reads is None:
        return orjson.dumps({name: make(moment) for name, make in parts.items()})
    document: dict[str, object] = {}
    for name, keys in _keys_by_part(reads):
        make = parts.get(name)
        if make is not None:
            value = make(moment)
            if keys and isinstance(value, dict):
                value = {key: value[key] for key in keys if key in value}
            document[name] = value
    return orjson.dumps(document)


@lru_cache(maxsize=64)
def _keys_by_part(reads: frozenset[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Parts with the keys below them that are read; no keys where a part is read as a whole."""
    parts: dict[str, list[str]] = {}
    for entry in sorted(reads):
        name, _, key = entry.partition(".")
        parts.setdefault(name, []).append(key)
    return tuple((name, () if "" in keys else tuple(keys)) for name, keys in parts.items())


def _principal(at: _Moment) -> object:
    principal = at.subject.principal
    return {"id": principal.id, "tenant": principal.tenant, "roles": principal.roles, "key": principal.key}


def _call(at: _Moment) -> object:
    subject = at.subject
    return {"id": subject.call, "attempt": subject.attempt, "method": subject.method, "dialect": subject.dialect}


def _model(request: Content) -> object:
    return {"requested": request.requested_model, "stream": request.stream}


def _attributes(at: _Moment) -> object:
    subject = at.subject
    http = {
        "id": subject.call,
        "method": subject.method,
        "path": f"{subject.path}?{subject.query}" if subject.query else subject.path,
        "host": subject.host,
        "headers": _headers(subject.headers, at.mask),
    }
    return {"request": {"http": http}, "source": {"address": {"socketAddress": {"address": subject.source}}}}


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
