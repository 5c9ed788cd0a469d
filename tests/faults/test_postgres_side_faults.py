"""Tenants' keys, blobs and tokens on PostgreSQL under faults: refused, never held up, and there again by themselves."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gateway.content.tokens import TOKEN
from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.postgres_pool import PATIENCE, REST_SECONDS
from lineage.postgres_side import PostgresSide
from lineage.postgres_tokens import PostgresTokens
from lineage.settings import Lineage
from lineage.side import TenantKeys, blob_digest
from lineage.side_writer import SideWriter
from lineage.tokens import Kept, Scope
from tests.support.distance import at_a_distance
from tests.support.echo import echo
from tests.support.in_process import INSPECT_ALL, InProcess, play
from tests.support.postgres import Postgres, postgres
from tests.support.relay import relay

BOB = Scope("acme/bob", b"b" * 16)
ONE = Kept("[EMAIL_BCDFGHJKLMNP]", b"m" * 16, False, b"sealed")
MAIL = "jana.novak@example.com"
RULE = 'package cordon.request\ndecision := {"allow": true, "redact": {"email": "tokenise"}}\n'


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def database(server: Postgres) -> str:
    return server.database()


def test_a_restart_of_the_server_is_not_noticed(server: Postgres, database: str) -> None:
    with closing(PostgresSide(database)) as side, closing(PostgresTokens(database, most=50, connections=3)) as tokens:
        side.add_wrapped_key("acme", b"key")
        tokens.keep(BOB, [ONE], 0, 100)
        server.kill()
        with pytest.raises(LogUnavailable) as told:
            tokens.find(BOB, ONE.token, 0)
        assert server.password not in str(told.value)
        began = time.monotonic()
        with pytest.raises(LogUnavailable):
            tokens.find(BOB, ONE.token, 0)
        assert time.monotonic() - began < 0.1, "who comes next is told at once"
        server.start()
        time.sleep(REST_SECONDS)
        assert side.wrapped_key("acme") == (b"key",)
        tokens.keep(BOB, [ONE], 0, 100)
        assert tokens.find(BOB, ONE.token, 0) == ONE
        # Every session of the pool was cut; each of them is replaced when it is its turn.
        with server.connect(database) as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cordon%'")
        assert side.wrapped_key("acme") == (b"key",)
        assert tokens.keep(BOB, [ONE], 60, 160) == [] and tokens.find(BOB, ONE.token, 150) == ONE


def test_a_connection_cut_before_or_after_a_commit_keeps_tokens_once(server: Postgres, database: str) -> None:
    with (
        relay(server.port) as between,
        closing(PostgresTokens(server.through(database, between.port), most=50)) as tokens,
    ):
        tokens.keep(BOB, [ONE], 0, 100)
        for number, where in enumerate(("before", "after", "before", "after")):
            other = ONE._replace(token=f"t{number}")
            between.cut = where
            assert tokens.keep(BOB, [other], 0, 100) == []
            assert tokens.find(BOB, other.token, 0) == other
        assert between.cuts == 4


def test_what_a_call_asks_for_is_one_round_trip_each(server: Postgres, database: str) -> None:
    with (
        at_a_distance(server.port, 0.1) as port,
        closing(PostgresTokens(server.through(database, port), most=1_000)) as tokens,
    ):
        taken: dict[str, float] = {}
        for number in range(4):
            for name, use in (
                ("keep", partial(tokens.keep, BOB, [ONE._replace(token=f"{number}{n}") for n in range(20)], 0, 100)),
                ("find", partial(tokens.find, BOB, ONE.token, 0)),
                ("loose", partial(tokens.loose, BOB, 0)),
            ):
                began = time.monotonic()
                use()
                taken[name] = time.monotonic() - began
        assert all(0.1 <= each < 0.18 for each in taken.values()), taken


def test_a_server_that_hangs_costs_each_thread_its_patience_once(server: Postgres, database: str) -> None:
    with closing(PostgresSide(database)) as side, closing(PostgresTokens(database, most=50)) as tokens:
        side.add_wrapped_key("acme", b"key")
        tokens.keep(BOB, [ONE], 0, 100)
        with server.hanging():
            for use in (
                partial(side.wrapped_key, "acme"),
                partial(tokens.keep, BOB, [ONE._replace(token="t")], 0, 100),
            ):
                began = time.monotonic()
                with pytest.raises(LogUnavailable):
                    use()
                assert time.monotonic() - began < PATIENCE + 1.5
                began = time.monotonic()
                with pytest.raises(LogUnavailable):
                    use()
                assert time.monotonic() - began < 0.2
        time.sleep(REST_SECONDS)
        assert side.wrapped_key("acme") == (b"key",)
        assert tokens.find(BOB, ONE.token, 0) == ONE


def test_a_database_that_is_not_there_is_an_error_without_the_password(server: Postgres, database: str) -> None:
    missing = database + "x"
    with closing(PostgresSide(missing)) as side, pytest.raises(LogUnavailable, match="does not exist") as told:
        side.wrapped_key("acme")
    assert server.password not in str(told.value) + repr(told.value.__cause__) + repr(side)


def test_tables_are_made_once_by_those_who_come_at_once(database: str) -> None:
    failed: list[Exception] = []
    start = threading.Barrier(6)

    def use() -> None:
        with closing(PostgresSide(database)) as side:
            start.wait()
            try:
                side.save([(1, b"blob")])
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not failed


def test_a_save_that_fails_in_its_middle_keeps_nothing(server: Postgres, database: str) -> None:
    with closing(PostgresSide(database)) as side:
        side.save([(1, b"first")])
        with server.connect(database) as db:
            db.execute("ALTER TABLE cordon.side_blobs ADD CHECK (at <> 13)")
        with pytest.raises(LogUnavailable):
            side.save([(12, b"x" * (9 << 20)), (13, b"y" * (9 << 20)), (14, b"z")])
        assert side.load(blob_digest(b"z")) is None and side.load(blob_digest(b"x" * (9 << 20))) is None
        side.save([(14, b"z")])
        assert side.load(blob_digest(b"z")) == b"z"


def test_a_destroyed_key_is_gone_from_the_table_s_file(server: Postgres, database: str) -> None:
    with closing(PostgresSide(database)) as side:
        keys = TenantKeys(side, bytes(range(32)))
        keys.get("globex")
        side.add_wrapped_key("acme", b"the wrapped key of acme, which is to be destroyed")
        side.erase_key("acme")
        with server.connect(database) as db:
            db.execute("CHECKPOINT")
            path = db.execute("SELECT pg_relation_filepath('cordon.tenant_keys')").fetchone()
        assert path is not None
        assert b"which is to be destroyed" not in (Path(server.data) / path[0]).read_bytes()
        keys.close()


def test_blobs_lost_in_a_fault_are_counted_and_later_ones_are_written(server: Postgres, database: str) -> None:
    meter = Meter("log")
    writer = SideWriter(partial(PostgresSide, database), Lineage(), meter)
    now = time.time_ns() // 1_000_000

    def until(name: str, value: int) -> None:
        deadline = time.monotonic() + 10
        while meter.counter(name).value != value:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    writer.put([(now, b"first")])
    until("cordon_side_blobs_total", 1)
    time.sleep(1)  # Blobs are not waited for until they are on the disk.
    server.kill()
    writer.put([(now, b"lost")])
    until("cordon_side_failures_total", 1)
    server.start()
    time.sleep(REST_SECONDS)
    writer.put([(now, b"later")])
    until("cordon_side_blobs_total", 2)
    writer.close()
    assert writer.waiting_bytes == 0
    with closing(PostgresSide(database)) as side:
        assert [side.load(blob_digest(blob)) for blob in (b"first", b"lost", b"later")] == [b"first", None, b"later"]


# A worker ----------------------------------------------------------------------------------------------------------


def tokenising(scene: Callable[[InProcess], Awaitable[None]], database: str) -> None:
    async def echoed(world: InProcess) -> None:
        world.upstream.script = echo
        await scene(world)

    gc.collect()  # Engines of earlier scenes belong to this thread, and must not be found by another one.
    play(echoed, {"request.rego": RULE, "response.rego": INSPECT_ALL}, database=database)


async def longest_stall(stop: asyncio.Event) -> float:
    """The longest time in s that the loop did not come round."""
    longest = 0.0
    while not stop.is_set():
        before = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - before - 0.01)
    return longest


def test_calls_are_refused_and_the_loop_goes_on_while_the_server_hangs(server: Postgres, database: str) -> None:
    async def scene(world: InProcess) -> None:
        assert (await world.chat(f"I am {MAIL}")).status == 200
        stop = asyncio.Event()
        watching = asyncio.create_task(longest_stall(stop))
        with server.hanging():
            began = time.monotonic()
            answers = await asyncio.gather(*(world.chat(f"I am {MAIL} and {n}@example.com") for n in range(12)))
            assert {answer.status for answer in answers} == {503}
            told = b"".join(answer.body for answer in answers).decode()
            assert str(server.port) not in told and database.rpartition("/")[2] not in told, "callers learn no address"
            # From here on the tenant's key, too, is older than it may be.
            await asyncio.sleep(max(0.0, 5.5 - (time.monotonic() - began)))
            late = await world.chat("Hi")
            assert late.status == 503 and late.json()["error"]["code"] in {"keys_unavailable", "tokens_unavailable"}
        stop.set()
        assert await watching < 0.5
        assert len(world.upstream.received) == 1, "nothing was sent"
        deadline = time.monotonic() + 15
        while (await world.chat(f"I am {MAIL}")).status != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)

    tokenising(scene, database)


def test_a_token_that_cannot_be_asked_for_in_mid_answer_stays_one(server: Postgres, database: str) -> None:
    async def scene(world: InProcess) -> None:
        await world.chat(f"I am {MAIL}")
        (token,) = TOKEN.findall(world.upstream.received[0].decode())
        assert MAIL in (await world.chat(f"Who is {token}?")).body.decode()
        # The request's own values are known; what was issued before cannot be asked for.
        real = world.tokens.find

        def cut(scope: Scope, wanted: str, now: int) -> Kept | None:
            with server.connect(database) as db:
                db.execute("ALTER TABLE cordon.tokens RENAME TO away")
            try:
                return real(scope, wanted, now)
            finally:
                with server.connect(database) as db:
                    db.execute("ALTER TABLE cordon.away RENAME TO tokens")

        world.tokens.find = cut  # type: ignore[method-assign]
        answer = (await world.chat(f"Who is {token}? says eve@example.com")).body.decode()
        assert token in answer and MAIL not in answer and "eve@example.com" in answer
        assert world.meter.counter("cordon_tokens_failures_total").value == 1

    tokenising(scene, database)
