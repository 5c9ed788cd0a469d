"""Ways around inspection, decision or record, tried on the whole way of a call: seen from both ends and the log."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.content.patterns import PatternScanner
from gateway.content.scanner import Match
from gateway.settings import Endpoint, Limits, Route
from policies.bundle import make_bundle
from policies.embedded import EmbeddedEngine
from policies.settings import Policy
from tests.support.in_process import (
    ALLOW_ALL,
    INSPECT_ALL,
    STREAM_END,
    STREAM_HEAD,
    Answer,
    InProcess,
    answer,
    chat,
    chunk,
    completion,
    delta,
    play,
    read_answer,
    request_rule,
    response_rule,
)

CHAT = "/openai/chat/completions"
SECRET = "jane.doe@example.org"


def says(world: InProcess, *pieces: bytes, keep: bool = True, upstream: int = 0) -> None:
    """Let the upstream answer every request with these pieces."""

    async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
        for piece in pieces:
            send(piece)
            await asyncio.sleep(0.005)
        return keep

    world.upstreams[upstream].script = script


async def sent_raw(world: InProcess, raw: bytes) -> Answer:
    reader, writer = await world.send(raw)
    async with asyncio.timeout(10):
        reply = await read_answer(reader)
    writer.close()
    return reply


async def ended(world: InProcess, count: int = 1) -> list[dict[str, Any]]:
    """The outcomes, as soon as there are `count`."""
    async with asyncio.timeout(5):
        while len(found := world.records("call.outcome")) < count:
            await asyncio.sleep(0.01)
    return found


# What policy sees is what is forwarded --------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-ndjson", "application/octet-stream", ""])
def test_a_model_route_takes_json_under_no_other_name_on_any_of_its_paths(media_type: str) -> None:
    async def scene(world: InProcess) -> None:
        for path in (CHAT, "/openai/responses"):
            raw = world.request(path, b'{"model": "allowed", "model": "forbidden"}')
            field = f"content-type: {media_type}\r\n".encode() if media_type else b""
            reply = await sent_raw(world, raw.replace(b"content-type: application/json\r\n", field))
            assert reply.status == 400
        assert world.upstream.received == []

    play(scene)


def test_json_in_a_form_reaches_a_connector_as_a_form_only() -> None:
    async def scene(world: InProcess) -> None:
        raw = world.request("/crm/x", b'{"role":"admin"}')
        form = b"content-type: application/x-www-form-urlencoded"
        assert (await sent_raw(world, raw.replace(b"content-type: application/json", form))).status == 200
        assert world.upstream.received[0].endswith(b"\r\n\r\n%7B%22role%22%3A%22admin%22%7D=")

    play(scene)


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'{"a": 1} {"b": 2}', b"\x00{}"])
def test_json_that_lenient_readers_repair_is_refused(body: bytes) -> None:
    async def scene(world: InProcess) -> None:
        assert (await sent_raw(world, world.request("/crm/x", body))).status == 400
        assert world.upstream.received == []

    play(scene)


@pytest.mark.parametrize(
    "body",
    [
        {"MODEL": "forbidden", "messages": []},
        {"model": ["forbidden"], "messages": []},
        {"model": "gpt-test", "stream": 1},
        {"model": "gpt-test", "stream": "true"},
        {"model": "gpt-test", "\u017ftream": True},
    ],
)
def test_model_and_stream_cannot_hide_from_policy_in_another_type_or_letter_case(body: dict[str, Any]) -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.call(CHAT, body)).status == 400
        assert world.upstream.received == []

    play(scene)


def test_a_model_call_may_leave_out_model_and_stream_or_say_null() -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.call(CHAT, {"messages": []})).status == 200
        assert (await world.call(CHAT, {"model": None, "stream": None, "messages": []})).status == 200

    play(scene)


def test_a_limit_on_bytes_cannot_be_passed_under_by_compressing() -> None:
    async def scene(world: InProcess) -> None:
        body = gzip.compress(json.dumps({"text": "a" * 50_000}).encode())
        assert (await sent_raw(world, world.request("/crm/x", body, extra="content-encoding: gzip\r\n"))).status == 403

    play(scene, request_rule('{"allow": true}', "input.content.bytes < 1000"))


def test_a_client_cannot_fetch_a_finding_in_pieces() -> None:
    async def scene(world: InProcess) -> None:
        await world.call("/crm/x", method="GET", extra="range: bytes=0-5\r\nif-range: x\r\n")
        assert b"range" not in world.upstream.received[0].lower()

    play(scene)


def test_a_query_of_very_many_fields_is_decided_like_any_other() -> None:
    async def scene(world: InProcess) -> None:
        query = "&".join("a" for _ in range(3_000))
        assert (await world.call(f"/crm/x?{query}", method="GET")).status == 200

    play(scene)


def test_a_body_on_a_get_is_inspected() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.call("/crm/x", {"mail": SECRET}, method="GET")
        assert reply.status == 200
        assert world.upstream.received[0].endswith(b'{"mail":"[EMAIL]"}')

    play(scene)


def test_what_cannot_be_read_is_policys_to_refuse() -> None:
    async def scene(world: InProcess) -> None:
        raw = world.request("/crm/x", b"\x00\x01" + SECRET.encode())
        reply = await sent_raw(world, raw.replace(b"application/json", b"application/octet-stream"))
        assert reply.status == 403
        assert world.upstream.received == []

    play(scene, request_rule('{"allow": true}', "not input.content.findings.unreadable"))


def test_an_unreadable_finding_cannot_be_promised_to_be_redacted() -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.chat("Hi")).status == 403
        assert world.upstream.received == []

    play(scene, request_rule('{"allow": true, "redact": {"unreadable": "mask"}}'))


def test_policy_cannot_bring_a_contained_endpoint_back() -> None:
    async def scene(world: InProcess) -> None:
        await world.contain("e0", "endpoint")
        assert (await world.chat("Hi")).status == 403
        assert world.upstream.received == []

    play(scene, request_rule('{"allow": true, "endpoints": ["e0"]}'), endpoints=2)


# Credentials ----------------------------------------------------------------------------------------------------


def test_a_cordon_key_never_leaves_even_where_the_clients_own_authorization_passes() -> None:
    def routes(endpoints: list[Endpoint]) -> list[Route]:
        own = tuple(endpoint.model_copy(update={"credential": ""}) for endpoint in endpoints)
        return [Route(id="crm", kind="http", prefix="/crm", key_header="x-cordon-key", endpoints=own)]

    async def scene(world: InProcess) -> None:
        extra = f"x-cordon-key: {world.key}\r\nx-api-key: {world.key}\r\ncookie: kept=1\r\n"
        assert (await world.call("/crm/x", {}, key="", extra=extra + "authorization: Bearer theirs\r\n")).status == 200
        assert (await world.call("/crm/x", {}, key=world.key, extra=extra)).status == 200
        assert b"authorization: Bearer theirs" in world.upstream.received[0]
        assert b"cookie: kept=1" in world.upstream.received[0]
        assert not any(world.key.encode() in request for request in world.upstream.received)

    play(scene, routes=routes)


def test_an_answers_headers_cannot_bind_the_client_or_speak_in_the_gateways_name() -> None:
    async def scene(world: InProcess) -> None:
        extra = (
            'set-cookie: session=of-the-gateway\r\nalt-svc: h3=":443"\r\nstrict-transport-security: max-age=1\r\n'
            "x-cordon-call: forged\r\nx-cordon-decision: forged\r\nx-cordon-other: forged\r\nx-kept: yes\r\n"
        )
        says(world, answer(b"{}", extra=extra))
        headers = (await world.call("/crm/x", {})).headers
        assert headers["x-kept"] == "yes"
        assert not {"set-cookie", "alt-svc", "strict-transport-security", "x-cordon-other"} & headers.keys()
        assert "forged" not in json.dumps(headers)

    play(scene)


def test_a_model_route_passes_no_redirect_on_and_follows_none() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(b"", "307 Temporary Redirect", extra="location: http://elsewhere.test/v1\r\n"))
        reply = await world.chat("Hi")
        assert (reply.status, reply.json()["error"]["code"]) == (502, "redirect")
        assert "elsewhere" not in json.dumps(reply.headers)
        assert world.records("call.outcome")[0]["verdict"] == "blocked"

    play(scene)


# Findings stay out of records -----------------------------------------------------------------------------------


def test_the_name_of_a_model_can_carry_no_finding_into_the_log() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(json.dumps({"model": SECRET, "choices": []}).encode()))
        await world.call(CHAT, chat("Hi") | {"model": SECRET})
        says(world, answer(json.dumps({"model": "x" * 100 + " " + SECRET * 2, "choices": []}).encode()))
        await world.call(CHAT, chat("Hi") | {"model": "x" * 115 + " " + SECRET})
        assert "jane" not in json.dumps(world.records())
        assert world.records("call.intent")[0]["model"] == "[MODEL]"

    play(scene)


def test_a_very_long_name_of_a_model_does_not_fill_the_log() -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.call(CHAT, chat("Hi") | {"model": "m" * 70_000})).status == 200
        assert all(len(json.dumps(record)) < 2_000 for record in world.records())

    play(scene)


@pytest.mark.parametrize("body", [b'{"model":"\\ud800","n":1234567890123456789}', b'{"n":123456789012345678901234}'])
def test_an_answer_that_cannot_be_written_again_is_refused_and_recorded(body: bytes) -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(body))
        assert (await world.chat("Hi")).status == 502
        assert world.records("call.outcome")[0]["verdict"] == "failed"

    play(scene)


def test_an_unforeseen_error_refuses_leaves_an_outcome_and_tells_no_content(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(world: InProcess) -> None:
        def broken(*_: object, **__: object) -> None:
            raise ValueError(SECRET)

        world.gateway._services.pool.request = broken  # type: ignore[assignment]
        reply = await world.chat("Hi")
        assert (reply.status, reply.json()["error"]["code"]) == (500, "internal")
        outcome = (await ended(world))[0]
        assert (outcome["verdict"], outcome["reasons"][0]["rule"]) == ("cut", "internal")
        assert SECRET.encode() not in reply.body

    play(scene)
    told = capsys.readouterr()
    assert "ValueError" in told.out + told.err
    assert SECRET not in told.out + told.err


def test_a_policy_input_too_large_to_keep_is_left_out_and_the_call_goes_on() -> None:
    def routes(endpoints: list[Endpoint]) -> list[Route]:
        return [Route(id="crm", kind="http", prefix="/crm", body_limit=8 << 20, endpoints=tuple(endpoints))]

    async def scene(world: InProcess) -> None:
        assert (await world.call("/crm/x", {"text": "word " * 1_000_000})).status == 200
        assert "side" not in world.records("call.intent")[0]

    reads_all = {"request.rego": 'package cordon.request\ndecision := {"allow": true} if { input.parsed_body }\n'}
    play(scene, reads_all, routes=routes)


# The answer's shape ---------------------------------------------------------------------------------------------


def head_of(*fields: str) -> bytes:
    return ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + "".join(f"{f}\r\n" for f in fields) + "\r\n").encode()


@pytest.mark.parametrize("fields", [(), ("content-type: text/plain",), ("content-type: application/octet-stream",)])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_answers_in_json_or_events_or_not_at_all(fields: tuple[str, ...], streamed: bool) -> None:
    async def scene(world: InProcess) -> None:
        split = delta("jane.d") + delta("oe@example.org", "stop") + STREAM_END
        whole = chunk(completion("jane.d\\u006fe@example.org")) + b"0\r\n\r\n"
        says(world, head_of(*fields), split if streamed else whole)
        reply = await world.call(CHAT, chat("Hi", stream=streamed))
        assert reply.status == 502
        assert b"jane" not in reply.body
        assert world.records("call.outcome")[0]["verdict"] == "failed"

    play(scene)


@pytest.mark.parametrize("media_type", ["Text/Event-Stream", "text/event-stream; charset=UTF-8", "TEXT/EVENT-STREAM;"])
@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_is_a_stream_however_its_type_is_written_and_whether_it_was_asked_for(
    media_type: str, asked: bool
) -> None:
    async def scene(world: InProcess) -> None:
        says(
            world, head_of(f"content-type: {media_type}"), delta("jane.d") + delta("oe@example.org", "stop"), STREAM_END
        )
        reply = await world.call(CHAT, chat("Hi", stream=asked))
        assert reply.complete
        assert b"[EMAIL]" in reply.body and b"jane" not in reply.body

    play(scene)


def test_policy_reads_an_answers_type_in_one_spelling() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(b"{}", media_type="Application/JSON; charset=UTF-8"))
        assert (await world.call("/crm/x", {})).status == 200

    play(scene, response_rule('decision := {"allow": true} if { input.answer.media_type == "application/json" }'))


@pytest.mark.parametrize(
    "fields",
    [
        ("content-type: image/png", "content-type: application/json"),
        ("content-type: application/json", "content-encoding: identity", "content-encoding: gzip"),
    ],
)
def test_an_answer_with_two_types_or_codings_is_refused(fields: tuple[str, ...]) -> None:
    async def scene(world: InProcess) -> None:
        says(world, head_of(*fields), chunk(completion(SECRET)) + b"0\r\n\r\n")
        assert (await world.chat("Hi")).status == 502

    play(scene)


def test_an_error_from_the_upstream_is_inspected_like_an_answer() -> None:
    async def scene(world: InProcess) -> None:
        error = json.dumps({"error": {"message": f"no such user: {SECRET}"}}).encode()
        for media_type in ("application/json", "text/html", "text/plain"):
            says(world, answer(error, "500 Internal Server Error", media_type))
            reply = await world.chat("Hi")
            assert (reply.status, b"jane" in reply.body, b"[EMAIL]" in reply.body) == (500, False, True)

    play(scene)


def test_a_compressed_answer_is_read_and_arrives_plain() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(gzip.compress(completion(SECRET)), extra="content-encoding: gzip\r\n"))
        reply = await world.chat("Hi")
        assert "content-encoding" not in reply.headers
        assert reply.json()["choices"][0]["message"]["content"] == "[EMAIL]"

    play(scene)


def test_a_compressed_answer_that_stops_early_is_no_answer() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(gzip.compress(completion("x"))[:-6], extra="content-encoding: gzip\r\n"))
        assert (await world.chat("Hi")).status == 502

    play(scene)


@pytest.mark.parametrize("length", ["", "content-length: 1234\r\n"])
def test_an_answer_to_head_is_held_until_recorded_and_invents_no_length(length: str) -> None:
    async def scene(world: InProcess) -> None:
        says(world, f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}\r\n".encode())
        reader, writer = await world.send(world.request("/crm/x", method="HEAD"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert len(world.records("call.outcome")) == 1
        assert b"content-length" not in head and b"transfer-encoding" not in head
        writer.write(world.request("/crm/x", method="HEAD"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()

    play(scene)


def test_interim_answers_reach_nobody_and_the_final_one_counts() -> None:
    async def scene(world: InProcess) -> None:
        says(world, b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", answer(b'{"a": 1}'))
        reply = await world.call("/crm/x", {})
        assert (reply.status, reply.json()) == (200, {"a": 1})
        assert "link" not in reply.headers

    play(scene)


# Later decisions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late",
    [
        '{"allow": true, "redact": {"email": "mask"}}',
        '{"allow": true, "plan": "buffer"}',
        '{"allow": true, "output": {"max_chars": 1}}',
        '{"allow": true, "output": {"block": [{"id": "b", "pattern": "doe"}]}}',
        '{"allow": true, "output": {"schema": {"type": "object"}}}',
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_policy_asks_when_it_is_too_late_refuses_the_answer(late: str, streamed: bool) -> None:
    async def scene(world: InProcess) -> None:
        stream = STREAM_HEAD + delta(f"Ask {SECRET} now.") + delta("", "stop") + STREAM_END
        says(world, stream if streamed else answer(completion(f"Ask {SECRET} now.")))
        reply = await world.call(CHAT, chat("Hi", stream=streamed))
        assert reply.status == 403 or b"[DONE]" not in reply.body
        assert b"policy_failed" in reply.body
        assert world.records("call.outcome")[0]["verdict"] == "blocked"

    rules = f'decision := {late} if {{ input.phase == "answer_end" }} else := {{"allow": true}}'
    play(scene, response_rule(rules))


def test_a_call_is_decided_by_one_bundle_which_is_the_one_in_its_records() -> None:
    async def scene(world: InProcess) -> None:
        first = world.policy.engine.revision

        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            files = {"request.rego": ALLOW_ALL.encode(), "response.rego": INSPECT_ALL.encode() + b"# another\n"}
            world.policy.engine = EmbeddedEngine(make_bundle(files), Policy())
            send(answer(completion(SECRET)))
            return True

        world.upstream.script = script
        reply = await world.chat("Hi")
        assert SECRET.encode() in reply.body
        assert world.records("call.outcome")[0]["policy"] == first != world.policy.engine.revision

    play(scene, response_rule('decision := {"allow": true}'))


# No complete answer without its outcome -------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_whose_outcome_the_log_does_not_take_is_never_complete(streamed: bool) -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
            send(STREAM_HEAD + delta("Some words that may leave early. ") if streamed else b"")
            await asyncio.sleep(0.05)
            await world.log.close()
            send(delta("More.", "stop") + STREAM_END if streamed else answer(completion("Hello.")))
            return True

        world.upstream.script = script
        reply = await world.call(CHAT, chat("Hi", stream=streamed))
        assert reply.status == 503 or not reply.complete
        assert b"[DONE]" not in reply.body and b"Hello." not in reply.body
        assert not world.records("call.outcome")

    play(scene)


def test_whenever_the_client_leaves_the_call_has_one_intent_and_one_outcome_or_a_refusal() -> None:
    async def scene(world: InProcess) -> None:
        says(world, STREAM_HEAD, delta("Good "), delta("day."), delta("", "stop"), STREAM_END)
        body = json.dumps(chat("Hi", stream=True)).encode()
        for step in range(40):
            _, writer = await world.send(world.request(CHAT, body))
            await asyncio.sleep(step * 0.001)
            writer.transport.abort()
        async with asyncio.timeout(5):
            while world.gateway._live:
                await asyncio.sleep(0.01)
        await world.settle()
        calls: dict[str, list[str]] = {}
        for record in world.records("call.intent", "call.outcome", "call.refused"):
            calls.setdefault(record["call"], []).append(record["kind"])
        for kinds in calls.values():
            assert kinds.count("call.intent") == kinds.count("call.outcome") <= 1
            assert kinds.count("call.refused") <= 1
        assert world.budget.held == 0

    play(scene)


@pytest.mark.parametrize("how", ["contain", "revoke"])
def test_what_ends_the_caller_while_its_intent_is_committed_keeps_the_request_from_the_upstream(how: str) -> None:
    async def scene(world: InProcess) -> None:
        append = world.log.append
        ending: list[asyncio.Task[Any]] = []

        def overtaken(record: bytes, *, side: bytes | None = None) -> asyncio.Future[int]:
            if b'"call.intent"' in record:
                world.log.append = append  # type: ignore[method-assign]
                act = world.contain("acme/bot") if how == "contain" else world.revoke(world.key_id)
                ending.append(asyncio.ensure_future(act))
            return append(record, side=side)

        world.log.append = overtaken  # type: ignore[method-assign]
        reply = await world.chat("Hi")
        await asyncio.gather(*ending)
        assert reply.status in {401, 403}
        assert world.upstream.received == []
        (outcome,) = await ended(world)
        assert outcome["verdict"] == "cut"

    play(scene)


def test_a_call_cut_between_two_attempts_says_so() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(b"{}", "503 Service Unavailable"))
        append = world.log.append
        ending: list[asyncio.Task[Any]] = []

        def overtaken(record: bytes, *, side: bytes | None = None) -> asyncio.Future[int]:
            if b'"call.outcome"' in record:
                world.log.append = append  # type: ignore[method-assign]
                ending.append(asyncio.ensure_future(world.contain("acme/bot")))
                future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                append(record, side=side).add_done_callback(lambda _: None)
                return future
            return append(record, side=side)

        world.log.append = overtaken  # type: ignore[method-assign]
        assert (await world.chat("Hi")).status == 403
        await asyncio.gather(*ending)
        assert world.upstreams[1].received == []
        kinds = [record["kind"] for record in world.records("call.intent", "call.outcome", "call.refused")]
        assert kinds == ["call.intent", "call.outcome", "call.refused"]

    play(scene, endpoints=2)


def test_pipelined_calls_are_answered_in_order_each_with_its_own_records() -> None:
    async def scene(world: InProcess) -> None:
        async def script(request: bytes, send: Callable[[bytes], None]) -> bool:
            send(answer(json.dumps({"path": request.split(b" ")[1].decode()}).encode()))
            return True

        world.upstream.script = script
        requests = [world.request(f"/crm/{number}", method="GET") for number in range(5)]
        reader, writer = await world.send(b"".join(requests))
        replies = [await read_answer(reader) for _ in requests]
        assert [reply.json()["path"] for reply in replies] == [f"/v1/{number}" for number in range(5)]
        assert len(world.records("call.outcome")) == 5
        writer.close()

    play(scene)


def test_a_contained_caller_cannot_go_on_over_its_open_connection() -> None:
    async def scene(world: InProcess) -> None:
        reader, writer = await world.send(world.request("/crm/1", method="GET"))
        assert (await read_answer(reader)).status == 200
        await world.contain("acme/bot")
        writer.write(world.request("/crm/2", method="GET"))
        assert (await read_answer(reader)).status == 403
        assert len(world.upstream.received) == 1
        writer.close()

    play(scene)


def test_a_second_answer_on_a_connection_is_nobodys() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(b'{"mine": 1}') + answer(b'{"forged": 1}'))
        for _ in range(2):
            assert (await world.call("/crm/x", {})).json() == {"mine": 1}

    play(scene)


def test_an_answer_that_comes_before_the_whole_request_was_sent_is_an_answer() -> None:
    async def scene(world: InProcess) -> None:
        async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(b'{"early": 1}', "413 Content Too Large"))
            await writer.drain()
            await asyncio.sleep(0.2)
            writer.close()

        server = await asyncio.start_server(early, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        slow = Endpoint(id="slow", url=f"http://127.0.0.1:{port}")
        world.gateway.setup = type(world.gateway.setup).of(
            [Route(id="crm", kind="http", prefix="/crm", endpoints=(slow,))],
            list(world.gateway.setup.tenants.values()),
            world.gateway.setup.limits,
        )
        reply = await world.call("/crm/x", {"text": "word " * 400_000})
        assert (reply.status, reply.json()) == (413, {"early": 1})
        assert (await ended(world))[0]["verdict"] == "allowed"
        server.close()

    play(scene)


# Bounds ---------------------------------------------------------------------------------------------------------


def test_answers_that_are_held_count_against_the_workers_memory() -> None:
    async def scene(world: InProcess) -> None:
        says(world, answer(json.dumps({"text": "word " * 300_000}).encode()))
        reply = await world.call("/crm/x", {})
        assert (reply.status, reply.json()["type"]) == (503, "urn:cordon:refusal:memory")
        assert (await ended(world))[0]["reasons"][0]["rule"] == "memory"
        says(world, answer(json.dumps({"text": "word " * 100_000}).encode()))
        assert (await world.call("/crm/x", {})).status == 200
        async with asyncio.timeout(5):
            while world.budget.held:
                await asyncio.sleep(0.01)

    play(scene, limits=Limits(buffered=1_048_576))


def test_very_many_findings_are_redacted_in_time_that_grows_with_the_body() -> None:
    async def scene(world: InProcess) -> None:
        body = {f"user{number}@example.org": number for number in range(20_000)}
        began = time.perf_counter()
        assert (await world.call("/crm/x", body)).status == 200
        assert time.perf_counter() - began < 5
        sent = json.loads(world.upstream.received[0].partition(b"\r\n\r\n")[2])
        assert len(sent) == 20_000
        assert list(sent.values()) == list(body.values())
        assert b"example.org" not in world.upstream.received[0]
        intent = world.records("call.intent")[0]
        assert intent["findings"] == {"email": 20_000}
        assert len(json.dumps(intent)) < 2_000

    play(scene)


class SlowScanner(PatternScanner):
    """Takes as long for a large text as `go_on` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def scan(self, text: str, start: int = 0) -> list[Match]:
        if len(text) > 65_536:
            assert self.go_on.wait(5)
        return super().scan(text, start)


def test_a_body_made_to_be_scanned_slowly_does_not_hold_up_other_calls() -> None:
    async def scene(world: InProcess) -> None:
        scanner = world.gateway._services.scanner = SlowScanner()
        slow = asyncio.create_task(world.call("/crm/slow", {"text": f"{SECRET} " * 5_000}))
        async with asyncio.timeout(5):
            while not world.gateway._live:
                await asyncio.sleep(0.001)
            assert (await world.chat("Hi")).status == 200
        scanner.go_on.set()
        assert (await slow).status == 200
        assert b"jane" not in world.upstream.received[1]

    play(scene)


def test_a_call_that_takes_too_long_is_ended_and_recorded() -> None:
    async def scene(world: InProcess) -> None:
        async def script(_request: bytes, _send: Callable[[bytes], None]) -> bool:
            await asyncio.sleep(5)
            return False

        world.upstream.script = script
        assert (await world.chat("Hi")).status == 504
        assert (await ended(world))[0]["verdict"] == "cut"

    play(scene, limits=Limits(total_time=0.2))


def test_calls_that_are_closed_have_left_their_records_when_the_gateway_is_settled() -> None:
    async def scene(world: InProcess) -> None:
        says(world, STREAM_HEAD, *[delta(f"word {number} and more of them. ") for number in range(200)])
        body = json.dumps(chat("Hi", stream=True)).encode()
        reader, writer = await world.send(world.request(CHAT, body))
        await reader.readuntil(b"word 3 ")
        writer.transport.abort()
        async with asyncio.timeout(5):
            while not any(call.cut for call in world.gateway._live.values()):
                await asyncio.sleep(0)
            await world.gateway.settled()
        await world.settle()
        kinds = [record["kind"] for record in world.records("call.intent", "call.outcome", "process.started")]
        assert kinds == ["call.intent", "call.outcome", "process.started"]

    play(scene)


@pytest.mark.parametrize(
    ("media_type", "body"), [("text/event-stream", completion(SECRET)), ("application/json", None)]
)
def test_an_answer_that_is_not_of_its_type_is_refused(media_type: str, body: bytes | None) -> None:
    async def scene(world: InProcess) -> None:
        stream = delta("jane.d") + delta("oe@example.org", "stop") + STREAM_END
        says(world, head_of(f"content-type: {media_type}"), stream if body is None else chunk(body) + b"0\r\n\r\n")
        reply = await world.chat("Hi")
        assert (reply.status, b"jane" in reply.body) == (502, False)

    play(scene)


def test_no_label_of_a_metric_is_the_clients_to_choose() -> None:
    async def scene(world: InProcess) -> None:
        for number in range(20):
            await world.call(f"/nowhere{number}", {}, method=f"M{chr(65 + number)}")
            await sent_raw(world, f"GET /{number} HTTP/1.1\r\nhost: a{number}\r\nx_{number}: 1\r\n\r\n".encode())
        labels = [tally["labels"] for tally in world.gateway._services.meter.snapshot()["tallies"]]
        assert sorted(labels) == [("", "refused")]

    play(scene)


def test_line_ends_and_controls_in_what_a_client_says_make_no_second_record() -> None:
    async def scene(world: InProcess) -> None:
        forged = 'x"}\n{"v":1,"kind":"containment.released","containment":"c"}'
        await world.call(CHAT, chat(forged) | {"model": forged}, extra="traceparent: \"}{'kind'\r\n")
        assert world.records("containment.released") == []
        assert world.records("call.intent")[0]["model"] == forged[:128]

    play(scene)
