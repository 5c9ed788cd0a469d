"""The engine that asks an OPA server, against what may stand between the two."""

from __future__ import annotations

import asyncio
import gc

import orjson
import pytest

from lineage.metrics import Meter
from policies.engine import Moment
from policies.opa.engine import Link, OpaEngine
from policies.opa.wire import Answer, Headers, ServerError
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


class Silent:
    """Answers nothing within any deadline, or holds no bundle."""

    def __init__(self, empty: bool) -> None:
        self._empty = empty

    async def send(self, method: str, target: bytes, body: bytes, limit: int, headers: Headers = ()) -> Answer:
        if not self._empty:
            await asyncio.sleep(5)
        return Answer(200, b"{}")


@pytest.mark.parametrize(("empty", "reason"), [(False, "timeout"), (True, "empty")])
def test_a_decision_that_failed_leaves_its_input_to_nobody(empty: bool, reason: str) -> None:
    """A server that is slow fails many calls: what each of them held is not to wait for the collector."""
    link = Link(Policy(engine="opa", url="http://127.0.0.1:1", deadline_ms=20), Silent(empty), Meter("t"))
    link.current = MARK
    engine = OpaEngine(link, MARK)

    async def scene() -> str:
        try:
            await engine.decide(Moment.REQUEST, b"{}")
        except ServerError as error:
            return error.reason
        return ""

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(scene()) == reason
        assert not any(isinstance(each, ServerError) for each in gc.get_objects())
    finally:
        gc.enable()
