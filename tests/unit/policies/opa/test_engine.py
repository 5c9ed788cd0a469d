"""The engine that asks an OPA server, against what may stand between the two."""

from __future__ import annotations

import asyncio

import orjson

from lineage.metrics import Meter
from policies.engine import Moment
from policies.opa.engine import Link, OpaEngine
from policies.opa.wire import Answer, Headers
from policies.opa.wrapper import Mark
from policies.settings import Policy

MARK = Mark("m", "r")


class ReplayingProxy:
    """Answers a request whose idempotency key it has seen as it answered the first one, as some API gateways do."""

    def __init__(self) -> None:
        self._answers: dict[bytes, Answer] = {}

    async def send(self, method: str, target: bytes, body: bytes, limit: int, headers: Headers = ()) -> Answer:
        key = dict(headers)[b"idempotency-key"]
        if key not in self._answers:
            decision = {"allow": orjson.loads(body)["input"]["fine"]}
            result = {"mark": MARK.mark, "revision": MARK.revision, "result": decision}
            self._answers[key] = Answer(200, orjson.dumps({"result": result}))
        return self._answers[key]


def test_no_decision_is_answered_with_that_of_another_by_a_proxy_that_knows_idempotency_keys() -> None:
    link = Link(Policy(engine="opa", url="http://127.0.0.1:1"), ReplayingProxy(), Meter("t"))
    link.current = MARK
    engine = OpaEngine(link, MARK)

    async def decided(fine: bool) -> bool:
        return (await engine.decide(Moment.REQUEST, orjson.dumps({"fine": fine}))).allow

    async def scene() -> None:
        assert await decided(True)
        assert not await decided(False)
        assert await decided(True)

    asyncio.run(scene())
