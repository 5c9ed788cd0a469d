"""Tokenise and restore through a whole worker: what the upstream sees, what comes back, to whom, and for how long."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.content import tokens as content_tokens
from gateway.content.tokens import TOKEN
from gateway.settings import Tokens as TokenSettings
from lineage.paths import Paths
from lineage.sqlite_side import SqliteSide
from policies.bundle import make_bundle
from policies.embedded import EmbeddedEngine
from policies.settings import Policy
from tests.support.echo import echo, prompt
from tests.support.in_process import (
    INSPECT_ALL,
    Answer,
    InProcess,
    in_process,
)

MAIL = "bob@example.com"
RULE = """package cordon.request
decision := {"allow": true, "redact": {"email": "tokenise", "payment_card": "tokenise", "api_key": "tokenise"}}
"""
Scene = Callable[[InProcess], Awaitable[None]]


def play(scene: Scene, request: str = RULE, response: str = INSPECT_ALL, **options: Any) -> None:
    async def run() -> None:
        async with in_process({"request.rego": request, "response.rego": response}, **options) as world:
            world.upstream.script = echo
            await scene(world)

    asyncio.run(run())


def said(reply: Answer) -> str:
    assert reply.status == 200, reply.body
    return str(reply.json()["choices"][0]["message"]["content"])


def streamed(reply: Answer) -> str:
    events = [json.loads(line[6:]) for line in reply.body.split(b"\n") if line.startswith(b"data: {")]
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events)


def tokens_in(text: str) -> list[str]:
    return TOKEN.findall(text)


def test_the_upstream_sees_tokens_the_client_its_values_and_the_log_counts() -> None:
    async def scene(world: InProcess) -> None:
        text = f"Write to {MAIL}, then to {MAIL} and eve@example.org."
        assert said(await world.chat(text)) == text
        (sent,) = world.upstream.received
        one, two, three = tokens_in(prompt(sent))
        assert one == two != three and MAIL.encode() not in sent
        intent, outcome = world.records("call.intent", "call.outcome")
        assert intent["redacted"] == {"email": "tokenise"} and outcome["restored"] == 3
        assert outcome["findings"] == {}
        everything = json.dumps(world.records())
        assert "bob" not in everything and one not in everything
        counts = {name: world.meter.counter(f"cordon_tokens_{name}_total").value for name in ("issued", "restored")}
        assert counts == {"issued": 2, "restored": 3}
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            rows = db.execute("SELECT * FROM tokens").fetchall()
        assert len(rows) == 2 and "bob" not in repr(rows)

    play(scene)


def test_a_stream_is_restored_across_its_events_and_the_next_turn_has_the_same_tokens() -> None:
    async def scene(world: InProcess) -> None:
        body = {"model": "gpt-test", "stream": True, "messages": [{"role": "user", "content": f"It is {MAIL} ok."}]}
        reply = await world.call("/openai/chat/completions", body)
        assert streamed(reply) == f"It is {MAIL} ok."
        body["messages"] = [*body["messages"], {"role": "assistant", "content": streamed(reply)}]  # type: ignore[misc]
        await world.call("/openai/chat/completions", body)
        first, second = (tokens_in(request.decode()) for request in world.upstream.received)
        assert first * 2 == second and len(second) == 2

    play(scene)


def test_a_token_of_an_earlier_call_is_restored_for_its_caller_only() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat(f"I am {MAIL}")
        (token,) = tokens_in(prompt(world.upstream.received[0]))
        assert said(await world.chat(f"Who is {token}?")) == f"Who is {MAIL}?"
        for name, tenant in (("eve", "acme"), ("bot", "globex")):
            key = await world.another_key(name, tenant)
            assert said(await world.chat(f"Who is {token}?", key=key)) == f"Who is {token}?"
            # Neither gets the same token for the same value, so that a caller cannot test what others have sent.
            await world.chat(f"I am {MAIL}", key=key)
            assert tokens_in(prompt(world.upstream.received[-1])) != [token]

    play(scene)


def test_a_conversation_narrows_the_scope() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat(f"I am {MAIL}", extra="x-cordon-conversation: one\r\n")
        (token,) = tokens_in(prompt(world.upstream.received[0]))
        assert b"x-cordon" not in world.upstream.received[0].lower()
        question = f"Who is {token}?"
        assert said(await world.chat(question, extra="x-cordon-conversation: one\r\n")) == f"Who is {MAIL}?"
        assert said(await world.chat(question, extra="x-cordon-conversation: two\r\n")) == question
        assert said(await world.chat(question)) == question
        for extra in ("x-cordon-conversation: \r\n", f"x-cordon-conversation: {'x' * 129}\r\n",
                      "x-cordon-conversation: a\r\nx-cordon-conversation: b\r\n"):  # fmt: skip
            assert (await world.chat("Hi", extra=extra)).status == 400

    play(scene)


def test_an_expired_token_is_text() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat(f"I am {MAIL}")
        (token,) = tokens_in(prompt(world.upstream.received[0]))
        await asyncio.sleep(0.15)
        assert said(await world.chat(f"Who is {token}?")) == f"Who is {token}?"
        while world.tokens.forget(2**52):
            pass
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            assert db.execute("SELECT count(*) FROM tokens").fetchone() == (0,)

    play(scene, tokens=TokenSettings(time=0.1))


def test_made_up_tokens_and_a_swapped_table_give_nothing() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat(f"I am {MAIL}, she is eve@example.org")
        bob, eve = tokens_in(prompt(world.upstream.received[0]))
        text = "[EMAIL_BCDFGHJKLMNQ] [EMAIL_1] <EMAIL_1> [PHONE_" + bob[7:]
        assert said(await world.chat(text)) == text
        # Whoever can write to the table but has no key cannot make a token stand for another's value.
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            sealed = dict(db.execute("SELECT token, sealed FROM tokens").fetchall())
            db.execute("UPDATE tokens SET sealed = ? WHERE token = ?", (sealed[eve], bob))
        assert said(await world.chat(f"Who is {bob}?")) == f"Who is {bob}?"
        assert world.meter.counter("cordon_tokens_failures_total").value == 1

    play(scene)


def test_a_value_in_the_address_is_refused_and_a_token_there_is_text() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.call(f"/openai/models?user={MAIL}", method="GET")
        assert reply.status == 403 and "address" in reply.json()["error"]["message"]
        await world.chat(f"I am {MAIL}")
        (token,) = tokens_in(prompt(world.upstream.received[0]))
        await world.chat(f"again {MAIL}")
        await world.call(f"/openai/models?user={token}", method="GET")
        assert MAIL.encode() not in b"".join(world.upstream.received)

    play(scene)


def test_a_secret_is_tokenised_again_where_nothing_but_the_earlier_turn_tells_that_it_is_one() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat("password = hunter2-Xy77-Qq91")
        (token,) = tokens_in(prompt(world.upstream.received[0]))
        reply = said(await world.chat(f"So it is {token} then"))
        assert reply == "So it is hunter2-Xy77-Qq91 then"
        assert said(await world.chat(reply)) == reply
        assert prompt(world.upstream.received[-1]) == f"So it is {token} then"
        # In an address, too, it is what it is.
        assert (await world.call("/openai/models?q=hunter2-Xy77-Qq91", method="GET")).status == 403
        assert b"hunter2" not in b"".join(world.upstream.received)
        assert "hunter2" not in json.dumps(world.records())

    play(scene)


def test_a_table_that_is_gone_refuses_the_call_and_says_so() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat(f"I am {MAIL}")
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON tokens BEGIN SELECT RAISE(FAIL, 'no'); END")
        reply = await world.chat("I am eve@example.org")
        assert reply.status == 503 and "tokens" in reply.json()["error"]["message"]
        assert said(await world.chat(f"I am {MAIL}")) == f"I am {MAIL}", "what is kept already needs no write"
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            db.execute("DROP TABLE tokens")
        assert (await world.chat(f"I am {MAIL}")).status == 503
        assert (await world.chat("Hi")).status == 503
        assert len(world.upstream.received) == 2
        assert world.meter.counter("cordon_tokens_failures_total").value == 3

    play(scene)


def test_two_values_with_one_token_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: InProcess) -> None:
        texts = [f"a{number}@example.com" for number in range(30)]
        assert said(await world.chat(" ".join(texts))) == " ".join(texts)
        assert len(set(tokens_in(prompt(world.upstream.received[0])))) == 30
        for text in texts:
            assert said(await world.chat(f"to {text}")) == f"to {text}"

    # One letter and as many turns as it takes: every call meets tokens that other values have.
    monkeypatch.setattr(content_tokens, "LETTERS", 2)
    monkeypatch.setattr(content_tokens, "TOKEN", re.compile(r"\[EMAIL_[B-Z]{2}\]"))
    monkeypatch.setattr("gateway.content.walk.TOKEN", re.compile(r"\[EMAIL_[B-Z]{2}\]"))
    monkeypatch.setattr(f"{__name__}.TOKEN", re.compile(r"\[EMAIL_[B-Z]{2}\]"))
    play(scene)


def test_ten_thousand_values_in_one_call_and_one_more() -> None:
    async def scene(world: InProcess) -> None:
        text = " ".join(f"a{number}@example.com" for number in range(10_000))
        assert said(await world.chat(text)) == text
        assert len(set(tokens_in(prompt(world.upstream.received[0])))) == 10_000
        reply = await world.chat(f"{text} b@example.com")
        assert reply.status == 413 and len(world.upstream.received) == 1
        await world.chat("b@example.com")
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            assert 10_000 <= db.execute("SELECT count(*) FROM tokens").fetchone()[0] <= 10_100

    play(scene)


def test_an_answer_is_left_alone_where_policy_tokenised_nothing() -> None:
    async def scene(world: InProcess) -> None:
        await world.chat(f"I am {MAIL}")
        (token,) = tokens_in(prompt(world.upstream.received[0]))
        files = {"request.rego": RULE.replace("tokenise", "mask").encode(), "response.rego": INSPECT_ALL.encode()}
        world.policy.engine = EmbeddedEngine(make_bundle(files), Policy())
        assert said(await world.chat(f"Who is {token}?")) == f"Who is {token}?"

    play(scene)


def test_an_answer_that_policy_would_tokenise_is_refused() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.chat("Hi")
        assert reply.status == 403 and "only values of a request are tokenised" in reply.json()["error"]["message"]

    play(scene, response='package cordon.response\ndecision := {"allow": true, "redact": {"email": "tokenise"}}\n')


def test_a_bundle_that_makes_the_word_up_is_refused() -> None:
    async def scene(world: InProcess) -> None:
        reply = await world.chat(f"I am {MAIL}")
        assert reply.status == 403 and "write it out" in reply.json()["error"]["message"]
        assert not world.upstream.received

    play(
        scene,
        'package cordon.request\ndecision := {"allow": true, "redact": {"email": concat("", ["token", "ise"])}}\n',
    )


def test_the_input_of_a_call_whose_values_could_not_be_kept_is_named_by_no_later_one() -> None:
    """The refused call sealed its input, and never sent it: a record that named it could not be replayed."""

    async def scene(world: InProcess) -> None:
        files = {"request.rego": RULE.encode(), "response.rego": INSPECT_ALL.encode()}
        reads = {Policy().request_rule: frozenset({"phase"})}
        world.policy.engine = EmbeddedEngine(make_bundle(files), Policy(), reads)
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON tokens BEGIN SELECT raise(ABORT, 'no room'); END")
        assert (await world.chat(f"I am {MAIL}")).status == 503
        with sqlite3.connect(Paths(world.data_dir).side) as db:
            db.execute("DROP TRIGGER full")
        for _ in range(2):
            assert (await world.chat(f"I am {MAIL}")).status == 200
        first, second = (str(record["side"]) for record in world.records("call.intent"))
        assert first == second
        side = SqliteSide(Paths(world.data_dir).side)
        for _ in range(100):
            if (blob := side.load(first)) is not None:
                break
            await asyncio.sleep(0.05)
        side.close()
        assert blob is not None

    play(scene)
