"""The policy input: what the gateway knows of a call at a moment, as the JSON document that Rego reads as `input`.

Parts that do not change between calls are encoded once per configuration. Credentials never enter the document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import attrgetter
from typing import NamedTuple
from urllib.parse import parse_qs, unquote_plus

import orjson

from gateway.identity import CORDON_HEADER, SDK_HEADERS, Principal
from gateway.settings import Endpoint, Route, Tenant
from policies.reads import Tree, narrow, touches, tree

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
    operation: str


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
    candidates: tuple[tuple[str, bool], ...] = ()
    mask: Callable[[str], str] | None = None
    request: Content | None = None
    endpoint: str = ""
    status: int = 0
    model: str = ""


class _Made(NamedTuple):
    """A value that is made of the moment. `of`: the attribute that it is a function of; None where it is of many."""

    make: Callable[[_Moment], object]
    of: str | None


Part = str | _Made
"""One value of a document: the path of an attribute of the moment, or what is made of one."""

Parts = Mapping[str, Part | Mapping[str, Part]]
"""What a document is made of, by name: a value, or an object by its keys."""

Maker = Callable[[_Moment], object]


class _Recipe:
    """The parts of a document that a bundle can read.

    Where they are all functions of a few attributes, documents are remembered by these: most calls have an equal one.
    """

    __slots__ = ("_key", "_known", "_parts")

    def __init__(self, parts: Parts, reads: frozenset[str] | None) -> None:
        self._parts: list[tuple[str, Maker | tuple[tuple[str, Maker], ...]]] = []
        wanted = tree(reads)
        used: list[Part] = []
        for name, part in parts.items():
            if wanted is not None and name not in wanted:
                continue
            below = None if wanted is None else wanted[name]
            if isinstance(part, Mapping):
                read = {key: each for key, each in part.items() if below is None or key in below}
                used += read.values()
                makers = [(key, _maker(each, None if below is None else below[key])) for key, each in read.items()]
                self._parts.append((name, tuple(makers)))
            else:
                used.append(part)
                self._parts.append((name, _maker(part, below)))
        attributes = {part if isinstance(part, str) else part.of for part in used}
        paths = sorted(path for path in attributes if path is not None)
        self._key = attrgetter("phase", *paths) if len(paths) == len(attributes) else None
        self._known: dict[tuple[object, ...], bytes] = {}

    def write(self, moment: _Moment) -> bytes:
        """The document, JSON."""
        request = moment.request
        if self._key is None or moment.content.findings or (request is not None and request.findings):
            return self._write(moment)
        key = self._key(moment)
        document = self._known.get(key)
        if document is None:
            document = self._write(moment)
            if len(document) <= _LONGEST_KNOWN and _length(key) <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[key] = document
        return document

    def _write(self, moment: _Moment) -> bytes:
        document: dict[str, object] = {}
        for name, part in self._parts:
            document[name] = {key: make(moment) for key, make in part} if isinstance(part, tuple) else part(moment)
        return orjson.dumps(document)


def _length(key: tuple[object, ...]) -> int:
    """Characters and bytes of what a document is remembered by: of a long query it may show little."""
    return sum(len(part) for part in key if isinstance(part, str | bytes))


class Documents:
    """Builds the documents for one configuration of tenants and routes.

    `reads` says what of a document the bundle can read (`policies.engine`); the rest is left out. None: everything.
    """

    def __init__(self, tenants: Mapping[str, Tenant], routes: Sequence[Route]) -> None:
        # A client may well show a secret of its own where an upstream wants one.
        own = {each.credential_header.encode() for route in routes for each in route.endpoints}
        hidden = frozenset(SECRET_HEADERS | own)
        endpoints = {
            (endpoint.id, healthy): orjson.Fragment(orjson.dumps(_endpoint(endpoint) | {"healthy": healthy}))
            for route in routes
            for endpoint in route.endpoints
            for healthy in (True, False)
        }
        tenant: Mapping[str, Part] = {
            "id": "subject.principal.tenant",
            "residency": _Made(
                lambda at: tenants[at.subject.principal.tenant].residency, "subject.principal.tenant"
            ),
        }  # fmt: skip
        common: dict[str, Part | Mapping[str, Part]] = {
            "phase": "phase",
            "principal": _CERTIFIED,
            "tenant": tenant,
            "route": _ROUTE,
            "call": _CALL,
            "content": _CONTENT,
        }
        request: Parts = common | {
            "attributes": _Made(partial(_attributes, hidden), None),
            "parsed_path": _Made(lambda at: at.subject.path.split("/")[1:], "subject.path"),
            "parsed_query": _Made(_parsed_query, "subject.query"),
            "parsed_body": _Made(lambda at: at.content.body, None),
            "candidates": _Made(lambda at: [endpoints[each] for each in at.candidates], "candidates"),
            "model": _MODEL,
        }
        answer: Parts = common | {
            "endpoint": _Made(lambda at: endpoints[at.endpoint, True], "endpoint"),
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
        choice = tuple([(each.id, healthy(each.id)) for each in candidates])
        recipe = self._request(reads, subject.principal.certificate is not None)
        return recipe.write(_Moment("request", subject, content, choice, mask))

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
        moment = _Moment(phase, subject, answer, (), None, request, endpoint, status, model)
        return self._answer(reads, subject.principal.certificate is not None).write(moment)


@lru_cache(64)
def shows_headers(reads: frozenset[str] | None) -> bool:
    """Whether the document of a bundle that reads this holds the request's headers."""
    return touches(reads, "attributes.request.http.headers")


def _recipe(parts: Parts, reads: frozenset[str] | None, certified: bool) -> _Recipe:
    """What a bundle is shown of a caller with or without a certificate.

    Without one there is no `principal.certificate`: in Rego, a null would count as there.
    """
    return _Recipe(parts if certified else {**parts, "principal": _PRINCIPAL}, reads)


def _maker(part: Part, wanted: Tree | None) -> Maker:
    """What makes a part, with only what is `wanted` below it."""
    make: Maker = attrgetter(part) if isinstance(part, str) else part.make
    return make if wanted is None else lambda at: narrow(make(at), wanted)


_LONGEST_KNOWN, _MOST_KNOWN = 4_096, 2_048

_PRINCIPAL: Mapping[str, Part] = {
    "id": "subject.principal.id",
    "tenant": "subject.principal.tenant",
    "roles": "subject.principal.roles",
    "key": "subject.principal.key",
}
_CERTIFIED: Mapping[str, Part] = {**_PRINCIPAL, "certificate": "subject.principal.certificate"}
_ROUTE: Mapping[str, Part] = {
    "id": "subject.route.id",
    "kind": "subject.route.kind",
    "dialect": "subject.route.dialect",
    "risk": "subject.route.risk",
}
_CALL: Mapping[str, Part] = {
    "id": _Made(attrgetter("subject.call"), None),
    "attempt": "subject.attempt",
    "method": "subject.method",
    "dialect": "subject.dialect",
    "operation": "subject.operation",
}
_MODEL: Mapping[str, Part] = {
    "requested": "content.requested_model",
    "stream": "content.stream",
}
_CONTENT: Mapping[str, Part] = {
    "media_type": "content.media_type",
    "bytes": _Made(attrgetter("content.size"), None),
    # Only documents without findings are remembered.
    "findings": _Made(attrgetter("content.findings"), "phase"),
    "labels": _Made(lambda at: {}, "phase"),
}
_ANSWER: Mapping[str, Part] = {
    "status": "status",
    "media_type": "content.media_type",
    "model": "model",
}


def _of_request(part: Part) -> Part:
    """The same of the request's content, for the document of an answer."""
    if isinstance(part, str):
        return part.replace("content.", "request.", 1)

    def make(at: _Moment) -> object:
        assert at.request is not None
        return part.make(replace(at, content=at.request))

    return _Made(make, part.of)


def _parsed_query(at: _Moment) -> object:
    return parse_qs(at.subject.query, keep_blank_values=True) if at.subject.query else {}


def _attributes(hidden: frozenset[bytes], at: _Moment) -> object:
    subject = at.subject
    http = {
        "id": subject.call,
        "method": subject.method,
        "path": f"{subject.path}?{subject.query}" if subject.query else subject.path,
        "host": subject.host,
        "headers": _headers([field for field in subject.headers if field[0] not in hidden], at.mask),
    }
    return {"request": {"http": http}, "source": {"address": {"socketAddress": {"address": subject.source}}}}


def _headers(headers: Iterable[tuple[bytes, bytes]], mask: Callable[[str], str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
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
