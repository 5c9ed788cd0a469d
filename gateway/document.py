"""The policy input: what the gateway knows of a call at a moment, as the JSON document that Rego reads as `input`.

Parts that do not change between calls are encoded once per configuration. Credentials never enter the document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
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
Parts = Mapping[str, Part | Mapping[str, Part]]
"""What a document is made of, by name: a value, or an object by its keys."""

Recipe = tuple[tuple[str, Part | tuple[tuple[str, Part], ...]], ...]
"""The parts that a bundle can read."""


class Documents:
    """Builds the documents for one configuration of tenants and routes.

    `reads` says what of a document the bundle can read (`policies.engine`); the rest is left out. None: everything.
    """

    def __init__(self, tenants: Mapping[str, Tenant], routes: Sequence[Route]) -> None:
        self._tenants = tenants
        self._endpoints = {
            (endpoint.id, healthy): orjson.Fragment(orjson.dumps(_endpoint(endpoint) | {"healthy": healthy}))
            for route in routes
            for endpoint in route.endpoints
            for healthy in (True, False)
        }
        common: dict[str, Part | Mapping[str, Part]] = {
            "phase": lambda at: at.phase,
            "principal": _PRINCIPAL,
            "tenant": {
                "id": lambda at: at.subject.principal.tenant,
                "residency": lambda at: self._tenants[at.subject.principal.tenant].residency,
            },
            "route": _ROUTE,
            "call": _CALL,
            "content": _CONTENT,
        }
        request: Parts = common | {
            "attributes": _attributes,
            "parsed_path": lambda at: at.subject.path.split("/")[1:],
            "parsed_query": lambda at: parse_qs(at.subject.query, keep_blank_values=True) if at.subject.query else {},
            "parsed_body": lambda at: at.content.body,
            "candidates": lambda at: [self._endpoints[each.id, at.healthy(each.id)] for each in at.candidates],
            "model": _MODEL,
        }
        answer: Parts = common | {
            "endpoint": lambda at: self._endpoints[at.endpoint, True],
            "request_content": {name: _of_request(part) for name, part in _CONTENT.items()},
            "model": {name: _of_request(part) for name, part in _MODEL.items()},
            "answer": _ANSWER,
        }
        self._request, self._answer = lru_cache(64)(partial(_recipe, request)), lru_cache(64)(partial(_recipe, answer))

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
        return _encode(self._request(reads), _Moment("request", subject, content, candidates, healthy, mask))

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
        return _encode(self._answer(reads), moment)


@lru_cache(64)
def shows_headers(reads: frozenset[str] | None) -> bool:
    """Whether the document of a bundle that reads this holds the request's headers."""
    return reads is None or any(name.partition(".")[0] == "attributes" for name in reads)


def _encode(recipe: Recipe, moment: _Moment) -> bytes:
    document: dict[str, object] = {}
    for name, part in recipe:
        document[name] = {key: make(moment) for key, make in part} if part.__class__ is tuple else part(moment)  # type: ignore[operator]
    return orjson.dumps(document)


def _recipe(parts: Parts, reads: frozenset[str] | None) -> Recipe:
    """The parts to be made where a bundle reads these: `name` for all of a part, `name.key` for a key of it."""
    names = parts.keys() if reads is None else {entry.partition(".")[0] for entry in reads}
    return tuple(
        (name, part if callable(part) else tuple((key, part[key]) for key in part if _is_read(reads, name, key)))
        for name, part in parts.items()
        if name in names
    )


def _is_read(reads: frozenset[str] | None, name: str, key: str) -> bool:
    return reads is None or name in reads or f"{name}.{key}" in reads


_PRINCIPAL: Mapping[str, Part] = {
    "id": lambda at: at.subject.principal.id,
    "tenant": lambda at: at.subject.principal.tenant,
    "roles": lambda at: at.subject.principal.roles,
    "key": lambda at: at.subject.principal.key,
}
_ROUTE: Mapping[str, Part] = {
    "id": lambda at: at.subject.route.id,
    "kind": lambda at: at.subject.route.kind,
    "dialect": lambda at: at.subject.route.dialect,
    "risk": lambda at: at.subject.route.risk,
}
_CALL: Mapping[str, Part] = {
    "id": lambda at: at.subject.call,
    "attempt": lambda at: at.subject.attempt,
    "method": lambda at: at.subject.method,
    "dialect": lambda at: at.subject.dialect,
}
_MODEL: Mapping[str, Part] = {
    "requested": lambda at: at.content.requested_model,
    "stream": lambda at: at.content.stream,
}
_CONTENT: Mapping[str, Part] = {
    "media_type": lambda at: at.content.media_type,
    "bytes": lambda at: at.content.size,
    "findings": lambda at: at.content.findings,
    "labels": lambda at: {},
}
_ANSWER: Mapping[str, Part] = {
    "status": lambda at: at.status,
    "media_type": lambda at: at.content.media_type,
    "model": lambda at: at.model,
}


def _of_request(part: Part) -> Part:
    """The same of the request's content, for the document of an answer."""

    def make(at: _Moment) -> object:
        assert at.request is not None
        return part(replace(at, content=at.request))

    return make


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
