"""A call of a tenant with a bundle of its own, and a call that bundles in shadow look on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from policies.combine import CombinedEngine
from policies.embedded import EmbeddedEngine
from policies.engine import Moment, PolicyEngine
from policies.errors import BundleUnavailable, PolicyError
from policies.settings import Policy
from policies.watched import Make, Mix, Watched
from tests.support.in_process import InProcess, answer, completion, play
from tests.support.policies import bundle
from tests.support.rollouts import request

READS_NOTHING: dict[str, frozenset[str] | None] = {
    Policy().request_rule: frozenset({"phase"}),
    Policy().response_rule: frozenset({"phase"}),
}
LARGE = 1e300
"""A number that the inspection takes, and that the engine cannot hold exactly."""


def engine(reads: dict[str, frozenset[str] | None] | None = None, **modules: str) -> EmbeddedEngine:
    return EmbeddedEngine(bundle(**modules), Policy(), reads)


def response(result: str) -> str:
    return f"package cordon.response\n\ndecision := {result}\n"


def both(world: InProcess, own: EmbeddedEngine) -> CombinedEngine:
    """From now on the tenant has this bundle beside the one that allows all and masks addresses."""
    combined = CombinedEngine(world.policy.engine, own)
    world.policy.engine = combined  # type: ignore[assignment]
    return combined


def test_both_bundles_stand_in_the_records_and_the_stricter_redaction_is_done() -> None:
    async def scene(world: InProcess) -> None:
        combined = both(world, engine(request=request('{"allow": true, "redact": {"email": "drop"}}')))
        assert (await world.chat("Mail jane@example.org now.")).status == 200
        assert b"Mail  now." in world.upstream.received[0]
        intent, outcome = world.records("call.intent", "call.outcome")
        for record in (intent, outcome):
            assert (record["policy"], record["tenant_policy"]) == (combined.revision, combined.tenant_revision)
        assert intent["redacted"] == {"email": "drop"}

    play(scene)


def test_a_refusal_says_that_the_tenants_own_bundle_refused() -> None:
    async def scene(world: InProcess) -> None:
        rule = '{"allow": false, "reasons": [{"rule": "night", "detail": "closed"}]}'
        combined = both(world, engine(request=request(rule)))
        refused = await world.call("/crm/customers")
        assert refused.status == 403
        assert refused.json()["reasons"] == [{"rule": "tenant:night", "detail": "closed"}]
        (record,) = world.records("call.refused")
        assert record["tenant_policy"] == combined.tenant_revision

    play(scene)


def test_an_answer_that_only_the_tenants_own_bundle_blocks_is_blocked() -> None:
    async def scene(world: InProcess) -> None:
        rule = '{"allow": true, "output": {"block": [{"id": "word", "pattern": "Hello"}]}}'
        both(world, engine(response=response(rule)))
        assert (await world.chat("x")).status == 403
        (record,) = world.records("call.outcome")
        assert (record["verdict"], record["findings"]) == ("blocked", {"blocked_pattern:word": 1})

    play(scene)


def test_what_either_asks_only_at_the_head_holds_to_the_end() -> None:
    """At the end each bundle alone asks for less than both asked at the head: that is no new demand."""
    once = """package cordon.response

import rego.v1

decision := {"allow": true, "output": {"max_chars": 10, "schema": {"type": "object"}}} if input.phase == "answer_head"

else := {"allow": true}
"""

    async def scene(world: InProcess) -> None:
        always = '{"allow": true, "output": {"max_chars": 100, "schema": {"maxProperties": 1}}}'
        common, own = engine(response=response(always)), engine(response=once)
        world.policy.engine = common
        both(world, own)

        async def says(text: str) -> int:
            async def script(_request: bytes, send: Any) -> bool:
                send(answer(completion(text)))
                return True

            world.upstream.script = script
            return (await world.chat("x")).status

        assert await says('{"a": 1}') == 200
        assert await says('{"a":1,"b":2}') == 403
        assert await says('{"a": "12345"}') == 403

    play(scene)


def test_without_the_bundle_that_decides_the_call_is_refused_with_a_code() -> None:
    async def scene(world: InProcess) -> None:
        async def choose(_tenant: str, _call: str) -> PolicyEngine:
            raise BundleUnavailable("the bundle that is live (rollout_1) cannot be taken up: it is gone")

        world.policy.choose = choose  # type: ignore[method-assign]
        refused = await world.call("/crm/customers")
        assert refused.status == 503
        assert refused.json()["type"] == "urn:cordon:refusal:bundle_unavailable"
        assert world.upstream.received == []
        (record,) = world.records("call.refused")
        assert (record["stage"], record["reasons"][0]["rule"]) == ("decision", "bundle_unavailable")

    play(scene)


def test_all_moments_of_a_call_are_decided_by_what_was_chosen_at_its_begin() -> None:
    async def scene(world: InProcess) -> None:
        first = world.policy.engine
        chosen: list[tuple[str, str]] = []

        async def choose(tenant: str, call: str) -> PolicyEngine:
            chosen.append((tenant, call))
            return first

        async def script(_request: bytes, send: Any) -> bool:
            world.policy.engine = engine(response=response('{"allow": false}'))
            send(answer(completion("Hello.")))
            return True

        world.policy.choose = choose  # type: ignore[method-assign]
        world.upstream.script = script
        done = await world.chat("x")
        assert done.status == 200
        assert chosen == [("acme", done.headers["x-cordon-call"])]

    play(scene)


class Looking:
    """Takes what is handed over, in the place of the shadow process."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.seen: list[tuple[Moment, bytes | None, bool]] = []

    def has_room(self, _size: int) -> bool:
        if self.fails:
            raise RuntimeError("no")
        return True

    def offer(self, _rollout: str, _call: str, moment: Moment, document: bytes | None, common: Any, _own: Any) -> None:
        self.seen.append((moment, document, common.allow))


def watch(world: InProcess, looking: Looking, common: EmbeddedEngine) -> None:
    """Every call is looked on by a bundle that reads everything."""
    mix = Mix(looking, common, None, {"r": (None, None)})  # type: ignore[arg-type]

    async def choose(_tenant: str, call: str) -> PolicyEngine:
        return Watched(mix, call)

    world.policy.choose = choose  # type: ignore[method-assign]


def test_the_shadow_is_handed_each_decision_with_a_document_of_its_own() -> None:
    async def scene(world: InProcess) -> None:
        looking = Looking()
        watch(world, looking, engine(READS_NOTHING))
        assert (await world.chat("jane@example.org")).status == 200
        assert [moment for moment, *_ in looking.seen] == [Moment.REQUEST, Moment.ANSWER_HEAD, Moment.ANSWER_END]
        assert all(allowed for *_, allowed in looking.seen)
        assert b"parsed_body" in (looking.seen[0][1] or b"")

    play(scene)


def test_what_only_the_shadow_reads_cannot_refuse_a_call() -> None:
    """The bundle that decides does not read the body, so it does not matter that the engine could not."""

    async def scene(world: InProcess) -> None:
        looking = Looking()
        watch(world, looking, engine(READS_NOTHING))
        assert (await world.call("/crm/customers", {"n": LARGE})).status == 200
        document = looking.seen[0][1] or b""
        with pytest.raises(PolicyError):
            await engine().decide(Moment.REQUEST, document)

    play(scene)


def test_a_shadow_that_fails_touches_no_call() -> None:
    async def scene(world: InProcess) -> None:
        looking = Looking(fails=True)
        watch(world, looking, engine(READS_NOTHING))
        assert (await world.chat("x")).status == 200
        assert [document for _, document, _ in looking.seen] == [None] * 3

    play(scene)


def test_a_call_that_nobody_could_decide_counts_as_refused_for_the_shadow() -> None:
    async def scene(world: InProcess) -> None:
        looking = Looking()
        watch(world, looking, engine(request=request('{"allow": true} if to_number(input.parsed_body.x) == 1')))
        assert (await world.call("/crm/customers", {"x": "junk"})).status == 403
        assert [(moment, allowed) for moment, _, allowed in looking.seen] == [(Moment.REQUEST, False)]

    play(scene)


def test_a_long_body_is_not_made_into_a_document_twice() -> None:
    made: list[frozenset[str] | None] = []

    def make(*, reads: frozenset[str] | None) -> bytes:
        made.append(reads)
        return b"{}"

    class Small(Looking):
        def has_room(self, size: int) -> bool:
            return size < 100

    async def scene() -> None:
        looking, maker = Small(), cast(Make, make)
        watched = Watched(Mix(looking, engine(), None, {"r": (None, None)}), "c")  # type: ignore[arg-type]
        watched.tell(Moment.REQUEST, 10, maker)
        assert looking.seen == []  # nothing was decided yet
        await watched.decide(Moment.REQUEST, b"{}")
        watched.tell(Moment.REQUEST, 1_000, maker)
        assert made == []
        watched.tell(Moment.REQUEST, 10, maker)
        assert made == [None]
        assert [document for _, document, _ in looking.seen] == [None, b"{}"]

    asyncio.run(scene())
