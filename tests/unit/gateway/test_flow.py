"""The way of a call: each step's promise, seen from the client, the upstream and the log at once."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable

import pytest

from gateway.content.patterns import PatternScanner
from gateway.content.scanner import Match
from gateway.counted import SINGLE
from gateway.errors import Refusal
from gateway.exchange import Exchange
from gateway.settings import Endpoint, Route
from lineage.actions import Stamp, erase_tenant
from lineage.client import LogClient
from lineage.paths import Paths
from lineage.record import encode
from policies.bundle import make_bundle
from policies.embedded import EmbeddedEngine
from policies.settings import Policy
from tests.support.in_process import (
    ALLOW_ALL,
    STREAM_END,
    STREAM_HEAD,
    InProcess,
    answer,
    chat,
    completion,
    delta,
    play,
    read_answer,
    request_rule,
    response_events,
    response_rule,
)

# Allowed ----------------------------------------------------------------------------------------------------------


def test_an_allowed_call_is_answered_and_leaves_an_intent_and_an_outcome() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.chat("Good morning.")
        assert (reply.status, reply.json()["choices"][0]["message"]["content"]) == (200, "Hello.")
        intent, outcome = world.records("call.intent", "call.outcome")
        assert intent["call"] == outcome["call"] == reply.headers["x-cordon-call"]
        assert outcome["intent"] == intent["index"] == int(reply.headers["x-cordon-log-index"])
        assert (intent["principal"], intent["endpoint"], intent["model"]) == ("acme/bot", "e0", "gpt-test")
        assert (outcome["verdict"], outcome["status"], outcome["model"]) == ("allowed", 200, "gpt-test-2026")
        assert outcome["output"]["bytes"] == len(reply.body)
        assert reply.headers["x-cordon-decision"] == "allowed"

    play(scene)


def test_the_intent_is_in_the_log_before_the_upstream_sees_a_byte() -> None:
    async def scene(world: InProcess) -> None:
        seen: list[int] = []

        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            seen.append(len(world.records("call.intent")))
            send(answer(completion("x")))
            return True

        world.upstream.script = script
        await world.chat("Hi")
        assert seen == [1]

    play(scene)


def test_the_client_lacks_the_end_of_a_stream_until_the_outcome_is_in_the_log() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(STREAM_HEAD + delta("Good ") + delta("day.") + delta("", "stop") + STREAM_END)
            return True

        world.upstream.script = script
        body = json.dumps(chat("Hi", stream=True)).encode()
        reader, writer = await world.send(world.request("/openai/chat/completions", body))
        text = await reader.readuntil(b"[DONE]")
        assert len(world.records("call.outcome")) == 1
        assert b"Good " in text
        writer.close()

    play(scene)


def test_the_client_lacks_the_end_of_a_response_until_the_outcome_is_in_the_log() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            texts = [
                {"type": "response.output_text.delta", "output_index": 0, "delta": text} for text in ("Good ", "day.")
            ]
            send(
                STREAM_HEAD
                + response_events({"type": "response.created", "response": {"model": "gpt-test-2026"}}, *texts)
            )
            send(response_events({"type": "response.completed", "response": {"output": []}}) + b"0\r\n\r\n")
            return True

        world.upstream.script = script
        body = json.dumps({"model": "gpt-test", "input": "Hi", "stream": True}).encode()
        reader, writer = await world.send(world.request("/openai/responses", body))
        text = await reader.readuntil(b"response.completed")
        (outcome,) = world.records("call.outcome")
        assert (outcome["verdict"], outcome["model"]) == ("allowed", "gpt-test-2026")
        assert b"Good " in text
        writer.close()

    play(scene)


def test_the_clients_credentials_never_reach_the_upstream() -> None:
    async def scene(world: InProcess) -> None:
        extra = "cookie: session=1\r\nx-cordon-tenant: globex\r\nproxy-authorization: Basic eA==\r\nx-note: kept\r\n"
        await world.chat("Hi", extra=extra)
        head = world.upstream.received[0].partition(b"\r\n\r\n")[0].lower()
        assert world.key.lower().encode() not in head
        for name in (b"authorization", b"cookie", b"x-cordon", b"proxy-authorization"):
            assert name + b":" not in head and b"\r\n" + name not in head
        assert b"x-note: kept" in head
        assert head.startswith(b"post /v1/chat/completions http/1.1\r\nhost: 127.0.0.1:")

    play(scene)


def test_the_trace_is_continued_and_a_request_id_is_given() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"

    async def scene(world: InProcess) -> None:
        reply = await world.chat("Hi", extra=f"traceparent: 00-{trace}-b7ad6b7169203331-01\r\n")
        head = world.upstream.received[0].partition(b"\r\n\r\n")[0].decode()
        assert f"traceparent: 00-{trace}-" in head
        assert "b7ad6b7169203331" not in head
        assert f"x-request-id: {reply.headers['x-cordon-call']}" in head
        span = head.partition(f"traceparent: 00-{trace}-")[2][:16]
        for kind in ("call.intent", "call.outcome"):
            assert (world.records(kind)[0]["trace"], world.records(kind)[0]["span"]) == (trace, span)

    play(scene)


def test_records_tell_how_long_policy_took_over_the_request_and_over_the_answer() -> None:
    async def scene(world: InProcess) -> None:
        began = time.perf_counter()
        await world.chat("Hi")
        most = (time.perf_counter() - began) * 1e6
        intent, outcome = world.records("call.intent")[0], world.records("call.outcome")[0]
        assert 0 < intent["decided_us"] < most
        assert 0 < outcome["decided_us"] < most

    play(scene)


def test_findings_are_redacted_on_the_way_out_and_counted_in_the_log_without_being_quoted() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat("Write to jane.doe@example.org please.")
        sent = world.upstream.received[0]
        assert b"jane.doe" not in sent
        assert b"Write to [EMAIL] please." in sent
        intent = world.records("call.intent")[0]
        assert (intent["findings"], intent["redacted"]) == ({"email": 1}, {"email": "mask"})
        assert "jane" not in json.dumps(world.records())

    play(scene)


def test_an_answer_is_redacted_by_the_answers_own_decision() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(answer(completion("Ask joe.bloggs@example.org.")))
            return True

        world.upstream.script = script
        reply = await world.chat("Who?")
        assert reply.json()["choices"][0]["message"]["content"] == "Ask [EMAIL]."
        outcome = world.records("call.outcome")[0]
        assert (outcome["findings"], outcome["redacted"]) == ({"email": 1}, {"email": "mask"})

    play(scene)


def test_large_bodies_are_scanned_beside_the_event_loop() -> None:
    class Watched(PatternScanner):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[tuple[int, int]] = []

        def scan(self, text: str, start: int = 0) -> list[Match]:
            self.seen.append((len(text), threading.get_ident()))
            return super().scan(text, start)

    async def scene(world: InProcess) -> None:
        scanner = world.gateway._services.scanner = Watched()

        async def large(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(answer(completion("word " * 20_000 + "to a@b.org")))
            return True

        small, world.upstream.script = world.upstream.script, large
        done = await world.chat("word " * 20_000)
        assert done.json()["choices"][0]["message"]["content"].endswith("to [EMAIL]")
        threads = [who for size, who in scanner.seen if size > 65_536]
        assert len(threads) == 2 and threading.get_ident() not in threads
        scanner.seen.clear()
        world.upstream.script = small
        await world.chat("short")
        assert {who for _, who in scanner.seen} == {threading.get_ident()}

    play(scene)


def test_a_compressed_request_is_inspected_and_forwarded_plain() -> None:
    async def scene(world: InProcess) -> None:
        body = gzip.compress(json.dumps(chat("I am jane.doe@example.org")).encode())
        reader, writer = await world.send(
            world.request("/openai/chat/completions", body, extra="content-encoding: gzip\r\n")
        )
        assert (await read_answer(reader)).status == 200
        head, _, sent = world.upstream.received[0].partition(b"\r\n\r\n")
        assert b"content-encoding" not in head.lower()
        assert json.loads(sent)["messages"][0]["content"] == "I am [EMAIL]"
        writer.close()

    play(scene)


def test_an_http_connector_is_called_with_its_query_and_without_a_body() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(answer(b'{"name": "Jane", "mail": "jane.doe@example.org"}'))
            return True

        world.upstream.script = script
        reply = await world.call("/crm/customers/7?fields=name,mail", method="GET")
        assert reply.json() == {"name": "Jane", "mail": "[EMAIL]"}
        assert world.upstream.received[0].startswith(b"GET /v1/customers/7?fields=name,mail HTTP/1.1\r\n")

    play(scene)


def test_an_answer_without_a_body_is_held_until_its_outcome_is_recorded() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(b"HTTP/1.1 204 No Content\r\n\r\n")
            return True

        world.upstream.script = script
        reply = await world.call("/crm/customers/7", method="DELETE")
        assert (reply.status, reply.body) == (204, b"")
        assert world.records("call.outcome")[0]["status"] == 204

    play(scene)


# Refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "cordon_unknown", "sk-something"])
def test_no_identity_no_call(key: str) -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.chat("Hi", key=key)
        assert reply.status == 401
        assert reply.json()["error"]["code"] in {"no_key", "unknown_key"}
        assert world.upstream.received == []
        world.gateway.record_counted()
        await world.settle()
        (record,) = world.records("call.refused")
        assert (record["stage"], record["count"], record["source"]) == ("identity", 1, "127.0.0.1")

    play(scene)


def test_counted_refusals_that_the_log_does_not_take_are_recorded_when_it_does() -> None:
    async def scene(world: InProcess) -> None:
        services = world.gateway._services
        gone = await LogClient.connect(Paths(world.data_dir).socket)
        await gone.close()
        services.log = gone
        for _ in range(3):
            services.unknown.count("192.0.2.1", "no_key")
            world.gateway.record_counted()
            await asyncio.sleep(0)
        assert world.records("call.refused") == []
        services.log = world.log
        world.gateway.record_counted()
        world.gateway.record_counted()
        await world.settle()
        (record,) = world.records("call.refused")
        assert (record["source"], record["count"]) == ("192.0.2.1", 3)

    play(scene)


def test_an_address_that_no_route_has_is_refused() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.call("/nowhere", {})
        assert reply.status == 404
        assert reply.headers["content-type"] == "application/problem+json"
        await world.settle()
        assert world.records("call.refused")[0]["stage"] == "routing"

    play(scene)


@pytest.mark.parametrize(
    ("rule", "detail"),
    [
        ('{"allow": false, "reasons": [{"rule": "r1", "detail": "not today", "fix": "wait"}]}', "not today"),
        ('{"allow": "true"}', "allow"),
        ('{"allow": true, "redcat": {}}', "redcat"),
        ('{"allow": true, "redact": {"email": "tokenize"}}', "tokenise"),
        ('{"allow": true, "require_approval": true}', "require_approval"),
        ('{"reasons": []}', "allow"),
    ],
)
def test_anything_but_a_clear_yes_refuses_and_says_why(rule: str, detail: str) -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.chat("Hi")
        assert reply.status == 403
        assert detail in reply.json()["error"]["message"]
        assert world.upstream.received == []
        (record,) = world.records("call.refused")
        assert (record["stage"], record["principal"]) == ("decision", "acme/bot")
        assert detail in json.dumps(record["reasons"])
        assert not world.records("call.intent", "call.outcome")

    play(scene, request_rule(rule))


def test_an_undefined_result_refuses() -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.chat("Hi")).status == 403
        assert world.upstream.received == []

    play(scene, request_rule('{"allow": true}', "input.nothing"))


@pytest.mark.parametrize(
    ("body", "extra", "status"),
    [
        (b'{"model": "a", "model": "b"}', "", 400),
        (b'{"model": "a", "MODEL": "b"}', "", 400),
        (b'{"model": 1', "", 400),
        (b'{"n": 9007199254740993}', "", 400),
        (b'{"model": "a"}', "content-encoding: gzip\r\n", 400),
        (b'{"model": "a"}', "content-encoding: lzma\r\n", 415),
    ],
)
def test_a_body_that_two_readers_could_read_differently_is_refused(body: bytes, extra: str, status: int) -> None:
    async def scene(world: InProcess) -> None:
        reader, writer = await world.send(world.request("/openai/chat/completions", body, extra=extra))
        reply = await read_answer(reader)
        writer.close()
        assert (reply.status in {400, 415}) and world.upstream.received == []
        assert world.records("call.refused")[0]["stage"] == "inspection"
        assert status in {400, 415}

    play(scene)


def test_a_finding_in_the_address_that_policy_wants_redacted_refuses_since_an_address_cannot_be_rewritten() -> None:
    async def scene(world: InProcess) -> None:
        for path in ("/crm/customers/jane.doe@example.org", "/crm/find?mail=jane.doe%40example.org"):
            reply = await world.call(path, method="GET")
            assert reply.status == 403
            assert "address" in reply.json()["detail"]
        assert world.upstream.received == []
        assert "jane" not in json.dumps(world.records())

    play(scene)


def test_policy_can_name_no_endpoint_that_is_not_a_candidate() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.chat("Hi")
        assert (reply.status, reply.json()["error"]["code"]) == (403, "no_endpoint")

    play(scene, request_rule('{"allow": true, "endpoints": ["elsewhere"]}'))


# The answer refused -----------------------------------------------------------------------------------------------


def test_an_answer_refused_at_its_head_never_reaches_the_client() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.chat("Hi")
        assert reply.status == 403
        assert b"Hello." not in reply.body
        (outcome,) = world.records("call.outcome")
        assert (outcome["verdict"], outcome["reasons"][0]["rule"]) == ("blocked", "r")
        assert not world.records("call.refused")

    play(scene, response_rule('decision := {"allow": false, "reasons": [{"rule": "r", "detail": "no"}]}'))


NO_KEYS = """default decision := {"allow": true}
decision := {"allow": false, "reasons": [{"rule": "keys", "detail": "a key"}]} if { input.content.findings.api_key }
"""


def test_a_stream_with_a_finding_that_is_refused_ends_with_the_vendors_error_and_at_most_a_clean_prefix() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(STREAM_HEAD + delta("The key is "))
            await asyncio.sleep(0.02)
            send(delta("ghp_") + delta("a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8") + delta(" ok", "stop") + STREAM_END)
            return True

        world.upstream.script = script
        reply = await world.call("/openai/chat/completions", chat("Hi", stream=True))
        assert b"ghp_" not in reply.body
        assert b"[DONE]" not in reply.body
        last = reply.body.strip().split(b"\n\n")[-1]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "answer_refused"
        (outcome,) = world.records("call.outcome")
        assert (outcome["verdict"], outcome["findings"]) == ("blocked", {"api_key": 1})

    play(scene, response_rule(NO_KEYS))


def test_a_response_that_is_refused_in_mid_stream_ends_with_the_error_of_its_own_events() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            key = "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
            pieces = [
                {"type": "response.output_text.delta", "output_index": 0, "delta": text, "sequence_number": number}
                for number, text in enumerate(["The key ", "is ", key[:9], key[9:], " ok"])
            ]
            send(STREAM_HEAD + response_events(*pieces[:2]))
            await asyncio.sleep(0.02)
            send(response_events(*pieces[2:], {"type": "response.completed"}) + b"0\r\n\r\n")
            return True

        world.upstream.script = script
        reply = await world.call("/openai/responses", {"model": "gpt-test", "input": "Hi", "stream": True})
        assert b"ghp_" not in reply.body and b"response.completed" not in reply.body
        name, data = reply.body.strip().split(b"\n\n")[-1].split(b"\n")
        value = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: error"
        assert (value["type"], value["code"], value["error"]["code"]) == ("error", "answer_refused", "answer_refused")
        assert value["sequence_number"] > 1
        (outcome,) = world.records("call.outcome")
        assert (outcome["verdict"], outcome["findings"]) == ("blocked", {"api_key": 1})

    play(scene, response_rule(NO_KEYS))


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/openai/chat/completions", "chat"),
        ("POST", "/openai/v1/responses", "responses"),
        ("POST", "/openai/embeddings", "embeddings"),
        ("GET", "/openai/v1/models", "models"),
        ("GET", "/openai/files", ""),
        ("POST", "/crm/v1/responses", ""),
    ],
)
def test_policy_is_told_what_a_call_asks_for(method: str, path: str, operation: str) -> None:
    async def scene(world: InProcess) -> None:
        body = {"model": "gpt-test"} if method == "POST" else None
        assert (await world.call(path, body, method=method)).status == 200

    dialect = "openai" if operation else ""
    condition = f'input.call.operation == "{operation}"; input.call.dialect == "{dialect}"'
    play(scene, request_rule('{"allow": true}', condition))


def test_an_undefined_answer_decision_refuses_the_answer() -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.chat("Hi")).status == 403
        assert world.records("call.outcome")[0]["verdict"] == "blocked"

    play(scene, response_rule('decision := {"allow": true} if { input.phase == "answer_head" }'))


# Several endpoints ------------------------------------------------------------------------------------------------


async def _declines(_request: bytes, send: Callable[[bytes], None]) -> bool:
    send(answer(b"{}", "503 Service Unavailable"))
    return True


def test_the_next_candidate_is_tried_when_one_declines_each_with_its_own_records() -> None:
    async def scene(world: InProcess) -> None:
        world.upstreams[0].script = _declines
        assert (await world.chat("Hi")).status == 200
        records = world.records("call.intent", "call.outcome")
        assert [(r["kind"], r["attempt"], r["endpoint"]) for r in records] == [
            ("call.intent", 1, "e0"),
            ("call.outcome", 1, "e0"),
            ("call.intent", 2, "e1"),
            ("call.outcome", 2, "e1"),
        ]
        assert [r["final"] for r in records if r["kind"] == "call.outcome"] == [False, True]

    play(scene, endpoints=2)


def test_what_the_last_candidate_says_is_what_the_client_hears() -> None:
    async def scene(world: InProcess) -> None:
        world.upstreams[0].script = world.upstreams[1].script = _declines
        assert (await world.chat("Hi")).status == 503
        assert [r["final"] for r in world.records("call.outcome")] == [False, True]

    play(scene, endpoints=2)


def test_a_call_that_is_not_safe_to_repeat_is_not_repeated() -> None:
    async def scene(world: InProcess) -> None:
        world.upstreams[0].script = _declines
        assert (await world.call("/crm/orders", {"item": 1})).status == 503
        assert world.upstreams[1].received == []
        assert (await world.call("/crm/orders", {"item": 1}, extra="idempotency-key: 1\r\n")).status == 200

    play(scene, endpoints=2)


def test_a_dead_upstream_is_passed_over_and_one_that_is_alone_is_told() -> None:
    def routes(endpoints: list[Endpoint]) -> list[Route]:
        dead = Endpoint(id="dead", url="http://127.0.0.1:1/v1", jurisdiction="EU")
        return [
            Route(id="both", kind="http", prefix="/both", endpoints=(dead, endpoints[0])),
            Route(id="alone", kind="http", prefix="/alone", endpoints=(dead.model_copy(update={"id": "alone-1"}),)),
        ]

    async def scene(world: InProcess) -> None:
        assert (await world.call("/both", {"item": 1})).status == 200
        reply = await world.call("/alone", {"item": 1})
        assert (reply.status, reply.json()["type"]) == (502, "urn:cordon:refusal:upstream_failed")
        assert [r["verdict"] for r in world.records("call.outcome")] == ["failed", "allowed", "failed"]

    play(scene, routes=routes)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_breaks_off_never_looks_complete_and_is_recorded_as_failed(streamed: bool) -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(STREAM_HEAD + delta("Half ") if streamed else answer(completion("Half of it"))[:-10])
            return False

        world.upstream.script = script
        reply = await world.call("/openai/chat/completions", chat("Hi", stream=streamed))
        assert reply.status == 502 or not reply.complete
        assert world.records("call.outcome")[0]["verdict"] == "failed"

    play(scene)


# Containment ------------------------------------------------------------------------------------------------------


def test_a_contained_principal_is_refused_until_it_is_released() -> None:
    async def scene(world: InProcess) -> None:
        containment = await world.contain("acme/bot")
        reply = await world.chat("Hi")
        assert (reply.status, reply.json()["error"]["code"]) == (403, "contained")
        assert world.upstream.received == []
        await world.release(containment)
        assert (await world.chat("Hi")).status == 200

    play(scene)


def test_an_erased_tenant_is_cut_in_mid_call_and_its_key_is_unknown_afterwards() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            await world.log.append(encode(erase_tenant(Stamp.now("test"), tenant="acme", by="tester")))
            send(answer(completion("what nobody may have any more")))
            return True

        world.upstream.script = script
        reply = await world.chat("Hi")
        assert (reply.status, reply.json()["error"]["code"]) == (403, "tenant_erased")
        assert world.records("call.outcome")[0]["verdict"] == "cut"
        assert (await world.chat("Hi")).status == 401

    play(scene)


def test_a_contained_endpoint_is_no_candidate() -> None:
    async def scene(world: InProcess) -> None:
        await world.contain("e0", "endpoint")
        assert (await world.chat("Hi")).status == 200
        assert world.upstreams[0].received == []
        await world.contain("e1", "endpoint")
        reply = await world.chat("Hi")
        assert (reply.status, reply.json()["error"]["code"]) == (503, "contained")

    play(scene, endpoints=2)


async def _endless(_request: bytes, send: Callable[[bytes], None]) -> bool:
    send(STREAM_HEAD)
    for number in range(2_000):
        send(delta(f"word {number} of a long and harmless answer "))
        await asyncio.sleep(0.005)
    return False


@pytest.mark.parametrize("how", ["principal", "endpoint", "key"])
def test_a_live_stream_is_cut_when_its_principal_endpoint_or_key_goes(how: str) -> None:
    async def scene(world: InProcess) -> None:
        world.upstream.script = _endless
        body = json.dumps(chat("Hi", stream=True)).encode()
        reader, writer = await world.send(world.request("/openai/chat/completions", body))
        await reader.readuntil(b"word 30 ")
        if how == "principal":
            await world.contain("acme/bot")
        elif how == "endpoint":
            await world.contain("e0", "endpoint")
        else:
            await world.revoke(world.key_id)
        async with asyncio.timeout(1):
            rest = await reader.read()
        assert b"[DONE]" not in rest
        assert b'"error"' in rest
        writer.close()
        await world.settle()
        (outcome,) = world.records("call.outcome")
        assert outcome["verdict"] == "cut"

    play(scene)


def test_a_live_stream_is_cut_when_its_key_expires() -> None:
    async def scene(world: InProcess) -> None:
        world.upstream.script = _endless
        world.key = await world.new_key("short", expires=time.time_ns() // 1_000_000 + 2_000)
        body = json.dumps(chat("Hi", stream=True)).encode()
        reader, writer = await world.send(world.request("/openai/chat/completions", body))
        await reader.readuntil(b"word 30 ")
        world.gateway.check_live()
        await reader.readuntil(b"word 60 ")
        async with asyncio.timeout(10):
            while not reader.at_eof():
                world.gateway.check_live()
                await reader.read(65_536)
        writer.close()
        await world.settle()
        (outcome,) = world.records("call.outcome")
        assert outcome["verdict"] == "cut"
        assert outcome["reasons"][0]["rule"] == "expired_key"

    play(scene)


def test_a_known_callers_flood_of_refusals_is_recorded_one_by_one_only_at_first() -> None:
    async def scene(world: InProcess) -> None:
        await world.contain("acme/bot")
        for _ in range(SINGLE + 7):
            assert (await world.chat("Hi")).status == 403
        world.gateway.record_counted()
        await world.settle()
        *single, counted = world.records("call.refused")
        assert len(single) == SINGLE
        assert all(record["reasons"][0]["rule"] == "contained" for record in single)
        assert (counted["principal"], counted["stage"], counted["reason"]) == ("acme/bot", "containment", "contained")
        assert (counted["count"], "call" in counted) == (7, False)

    play(scene)


def test_a_client_that_leaves_ends_the_upstream_call_and_the_log_says_so() -> None:
    async def scene(world: InProcess) -> None:
        gone = asyncio.Event()

        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            try:
                return await _endless(_request, send)
            finally:
                gone.set()

        world.upstream.script = script
        body = json.dumps(chat("Hi", stream=True)).encode()
        reader, writer = await world.send(world.request("/openai/chat/completions", body))
        await reader.readuntil(b"word 3 ")
        writer.close()
        async with asyncio.timeout(5):
            while not world.records("call.outcome"):
                await asyncio.sleep(0.02)
        (outcome,) = world.records("call.outcome")
        assert (outcome["verdict"], outcome["reasons"][0]["rule"]) == ("cut", "client_gone")

    play(scene)


def test_a_call_that_is_cut_before_its_first_step_is_answered_and_recorded() -> None:
    async def scene(world: InProcess) -> None:
        begin = world.gateway.on_request

        def cut_at_once(exchange: Exchange) -> None:
            begin(exchange)
            world.gateway._cut(exchange.context, Refusal(403, "containment", "contained", "This caller is isolated."))

        world.gateway.on_request = cut_at_once  # type: ignore[method-assign]
        reply = await world.chat("Hi")
        assert (reply.status, reply.json()["error"]["code"]) == (403, "contained")
        assert world.records("call.refused")[0]["stage"] == "containment"
        assert world.upstream.received == []

    play(scene)


def test_a_call_is_not_cut_any_more_while_its_refusal_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(world: InProcess) -> None:
        append, waiting = world.log.append, asyncio.Event()
        go_on = asyncio.get_running_loop().create_future()

        def held(record: bytes, *, side: bytes | None = None) -> asyncio.Future[int]:
            if b'"call.refused"' not in record:
                return append(record, side=side)
            append(record, side=side)
            waiting.set()
            return go_on

        world.log.append = held  # type: ignore[method-assign]
        call = asyncio.create_task(world.chat("Hi"))
        await waiting.wait()
        world.log.append = append  # type: ignore[method-assign]
        await world.contain("acme/bot")
        await asyncio.sleep(0.05)
        go_on.set_result(0)
        reply = await call
        assert (reply.status, reply.json()["error"]["code"]) == (403, "refused")

    play(scene, request_rule('{"allow": false}'))
    assert "could not be recorded" not in capsys.readouterr().out, "it is in the log"


# The log ----------------------------------------------------------------------------------------------------------


def test_without_a_log_nothing_passes() -> None:
    async def scene(world: InProcess) -> None:
        await world.log.close()
        reply = await world.chat("Hi")
        assert reply.status == 503
        assert world.upstream.received == []

    play(scene)


def test_a_new_bundle_decides_from_the_next_call_on() -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.chat("Hi")).status == 200
        files = {"request.rego": b'package cordon.request\ndecision := {"allow": false}\n'}
        world.policy.engine = EmbeddedEngine(make_bundle(files), Policy())
        assert (await world.chat("Hi")).status == 403
        first, second = (r["policy"] for r in world.records("call.intent", "call.refused"))
        assert first != second

    play(scene, {"request.rego": ALLOW_ALL})
