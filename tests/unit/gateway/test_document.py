"""What policy is shown of a call: the normalised form, without credentials."""

from __future__ import annotations

import gc
from dataclasses import replace

import orjson

from gateway.document import Content, Documents, Subject, _Recipe
from gateway.identity import Principal
from gateway.peer import Certificate
from gateway.settings import Endpoint, Route, Tenant

EU = Endpoint(id="eu", url="http://127.0.0.1:9", jurisdiction="EU", region="eu-west-1", provider="p", model="m")
US = Endpoint(id="us", url="http://127.0.0.1:9", jurisdiction="US")
ROUTE = Route(id="openai", kind="model", dialect="openai", prefix="/openai", risk="high", endpoints=(EU, US))
DOCUMENTS = Documents({"acme": Tenant(id="acme", residency=("EU",))}, [ROUTE])


def subject(**changes: object) -> Subject:
    values: dict[str, object] = {
        "call": "01JCALL",
        "attempt": 1,
        "method": "POST",
        "host": "gateway.example",
        "path": "/openai/v1/chat completions",
        "query": "a=1&a=2&b=",
        "headers": [
            (b"accept", b"text/html"),
            (b"accept", b"*/*"),
            (b"authorization", b"Bearer cordon_secret"),
            (b"x-api-key", b"cordon_secret"),
            (b"cookie", b"session=secret"),
            (b"x-tenant-note", b"jane@example.org"),
        ],
        "source": "192.0.2.1",
        "principal": Principal("acme/bot", "acme", ("agent",), "key_1"),
        "route": ROUTE,
        "dialect": "openai",
        "operation": "responses",
    }
    return Subject(**(values | changes))  # type: ignore[arg-type]


CONTENT = Content(
    "application/json", 12, {"email": {"count": 1, "confidence": 90, "pointers": ["/x"]}}, {"x": "y"}, "m1", True
)


def request(**changes: object) -> dict[str, object]:
    document: dict[str, object] = orjson.loads(
        DOCUMENTS.request(subject(**changes), CONTENT, [EU, US], lambda endpoint: endpoint == "eu")
    )
    return document


def test_policy_sees_who_calls_what_and_where_it_could_go() -> None:
    document = request()
    assert document["phase"] == "request"
    assert document["principal"] == {"id": "acme/bot", "tenant": "acme", "roles": ["agent"], "key": "key_1"}
    assert document["tenant"] == {"id": "acme", "residency": ["EU"]}
    assert document["route"] == {"id": "openai", "kind": "model", "dialect": "openai", "risk": "high"}
    assert [(c["id"], c["jurisdiction"], c["healthy"]) for c in document["candidates"]] == [  # type: ignore[attr-defined]
        ("eu", "EU", True),
        ("us", "US", False),
    ]
    assert document["model"] == {"requested": "m1", "stream": True}
    assert document["parsed_body"] == {"x": "y"}


def test_the_address_is_given_as_opa_envoy_gives_it() -> None:
    document = request()
    assert document["parsed_path"] == ["openai", "v1", "chat completions"]
    assert document["parsed_query"] == {"a": ["1", "2"], "b": [""]}
    http = document["attributes"]["request"]["http"]  # type: ignore[index]
    assert (http["method"], http["host"]) == ("POST", "gateway.example")
    assert http["path"] == "/openai/v1/chat completions?a=1&a=2&b="
    assert http["headers"] == {"accept": "text/html,*/*", "x-tenant-note": "jane@example.org"}


def test_no_credential_enters_a_document() -> None:
    text = orjson.dumps(request())
    assert b"secret" not in text


def test_the_copy_that_is_kept_is_masked_in_address_and_headers_too() -> None:
    document = DOCUMENTS.request(subject(), CONTENT, [EU], lambda _: True, mask=lambda text: text.replace("jane", "*"))
    assert b"jane" not in document


def test_an_answers_document_carries_the_endpoint_and_both_contents() -> None:
    answer = Content("text/event-stream", 99, {})
    document = orjson.loads(DOCUMENTS.answer("finding", subject(), "us", CONTENT, answer, 200, "m1-2026"))
    assert document["phase"] == "finding"
    assert document["endpoint"]["jurisdiction"] == "US"
    assert document["answer"] == {"status": 200, "media_type": "text/event-stream", "model": "m1-2026"}
    assert (document["content"]["bytes"], document["request_content"]["bytes"]) == (99, 12)
    assert document["request_content"]["findings"]["email"]["count"] == 1


def test_what_the_bundle_cannot_read_is_left_out() -> None:
    reads = frozenset({"tenant.id", "candidates", "content.findings", "content.nothing", "unknown"})
    text = DOCUMENTS.request(subject(), CONTENT, [EU], lambda _: True, reads=reads)
    document = orjson.loads(text)
    assert document.keys() == {"tenant", "candidates", "content"}
    assert document["tenant"] == {"id": "acme"}
    assert document["content"] == {"findings": {"email": {"count": 1, "confidence": 90, "pointers": ["/x"]}}}
    assert document["candidates"][0]["id"] == "eu"


def test_a_part_that_is_read_as_a_whole_stays_whole() -> None:
    reads = frozenset({"tenant", "tenant.id"})
    document = orjson.loads(DOCUMENTS.request(subject(), CONTENT, [EU], lambda _: True, reads=reads))
    assert document == {"tenant": {"id": "acme", "residency": ["EU"]}}


def test_a_body_that_is_no_object_is_shown_whole_to_a_bundle_that_reads_its_keys() -> None:
    content = Content("text/plain", 3, {}, "abc")
    reads = frozenset({"parsed_body.model"})
    document = orjson.loads(DOCUMENTS.request(subject(), content, [EU], lambda _: True, reads=reads))
    assert document == {"parsed_body": "abc"}


def test_an_answers_document_can_be_reduced_too() -> None:
    reads = frozenset({"answer.status", "parsed_body"})
    document = orjson.loads(DOCUMENTS.answer("finding", subject(), "us", CONTENT, CONTENT, 200, "m", reads=reads))
    assert document == {"answer": {"status": 200}}


def test_equal_documents_are_made_once_and_different_ones_never_mixed_up() -> None:
    reads = frozenset({"principal.id", "model", "candidates", "route.id", "content.findings"})
    clean = Content("application/json", 12, {}, None, "m1", True)

    def made(content: Content, healthy: bool = True, **changes: object) -> bytes:
        return DOCUMENTS.request(subject(**changes), content, [EU, US], lambda _: healthy, reads=reads)

    first = made(clean)
    assert made(clean, call="01JOTHER", path="/elsewhere") is first
    others = [
        made(Content("application/json", 12, {}, None, "m2", True)),
        made(Content("application/json", 12, {}, None, "m1", False)),
        made(clean, healthy=False),
        made(clean, principal=Principal("acme/other", "acme", ("agent",), "key_1")),
        made(CONTENT),
    ]
    assert len({first, *others}) == 6
    assert orjson.loads(others[-1])["content"]["findings"]["email"]["count"] == 1


def test_what_differs_with_every_call_is_never_remembered() -> None:
    clean = Content("application/json", 12, {}, {"x": "y"}, "m1", True)
    for names, change in (({"call.id"}, {"call": "01JOTHER"}), ({"attributes"}, {"headers": [(b"a", b"b")]})):
        first, second = (
            DOCUMENTS.request(subject(**changes), clean, [EU], lambda _: True, reads=frozenset(names))
            for changes in ({}, change)
        )
        assert first != second
    bodies = [Content("application/json", 12, {}, {"x": text}, "m1", True) for text in "yz"]
    made = [
        DOCUMENTS.request(subject(), body, [EU], lambda _: True, reads=frozenset({"parsed_body"})) for body in bodies
    ]
    assert made[0] != made[1]


def test_policy_sees_a_certificate_where_one_stands_for_the_caller_and_nothing_elsewhere() -> None:
    certificate = Certificate("ab" * 32, "CN=bot,O=Acme", ("URI:spiffe://acme/bot",), 1_800_000_000_000)
    known = Principal("acme/bot", "acme", ("agent",), "cert:" + "ab" * 8, certificate=certificate)
    for reads in (None, frozenset({"principal"}), frozenset({"principal.certificate"})):
        shown = orjson.loads(DOCUMENTS.request(subject(principal=known), CONTENT, [EU], lambda _: True, reads=reads))
        assert shown["principal"]["certificate"] == {
            "digest": "ab" * 32,
            "subject": "CN=bot,O=Acme",
            "sans": ["URI:spiffe://acme/bot"],
            "not_after": 1_800_000_000_000,
        }
        keyed = orjson.loads(DOCUMENTS.request(subject(), CONTENT, [EU], lambda _: True, reads=reads))
        assert "certificate" not in keyed["principal"]


def test_a_header_that_an_upstream_wants_its_secret_in_is_no_header_for_policy() -> None:
    endpoint = Endpoint(id="e", url="http://127.0.0.1:9", credential_header="private-token", credential="env:X")
    route = Route(id="r", kind="http", prefix="/r", endpoints=(endpoint,))
    documents = Documents({"acme": Tenant(id="acme")}, [route])
    headers = [(b"private-token", b"secret"), (b"accept", b"*/*")]
    shown = documents.request(subject(headers=headers, route=route), CONTENT, [endpoint], lambda _: True)
    assert b"secret" not in shown
    assert orjson.loads(shown)["attributes"]["request"]["http"]["headers"] == {"accept": "*/*"}


def test_what_documents_are_remembered_by_is_bounded_too() -> None:
    """Of a long query a bundle may read little; callers choose both."""
    documents = Documents({"acme": Tenant(id="acme")}, [ROUTE])
    content = replace(CONTENT, findings={})
    reads = frozenset({"parsed_query.a"})

    def ask(query: str) -> bytes:
        return documents.request(subject(query=query), content, [EU], lambda _: True, reads=reads)

    (short, long) = (ask("a=1&b=" + "x" * length) for length in (10, 100_000))
    assert orjson.loads(short) == orjson.loads(long) == {"parsed_query": {"a": ["1"]}}
    queries = [key for recipe in _recipes() for key in recipe._known if "a=1&b=xxxxxxxxxx" in str(key)]
    assert len(queries) == 1 and len(str(queries)) < 1_000


def _recipes() -> list[_Recipe]:
    return [each for each in gc.get_objects() if isinstance(each, _Recipe)]
