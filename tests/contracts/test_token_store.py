"""What every store of tokens must do: keep all or none, per scope, for a time, within bounds, among processes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from lineage.errors import LogUnavailable
from lineage.postgres_tokens import PostgresTokens
from lineage.tokens import LARGEST_LOOSE, MOST_LOOSE, Kept, Scope, Tokens, TokensFull, TokenStore
from tests.support.postgres import Postgres, postgres

BOB = Scope("acme/bob", b"b" * 16)
TALK = Scope("acme/bob", b"t" * 16)
EVE = Scope("acme/eve", b"e" * 16)


class Opener(Protocol):
    """Opens the table once more, as another worker does."""

    def __call__(self, most: int = 50) -> Tokens: ...


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Tokens]:
    """Opens one and the same table, each time it is called, with a bound for a principal."""
    if request.param == "sqlite":
        return lambda most: TokenStore(tmp_path / "side.db", most=most)
    database = request.getfixturevalue("server").database()
    return lambda most: PostgresTokens(database, most=most)


@pytest.fixture
def opened(opening: Callable[[int], Tokens]) -> Iterator[Opener]:
    stores: list[Tokens] = []

    def open_one(most: int = 50) -> Tokens:
        stores.append(opening(most))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def kept(token: str, value: str = "", *, loose: bool = False) -> Kept:
    return Kept(token, (value or token).encode().ljust(16, b"."), loose, b"sealed " + (value or token).encode())


def test_what_is_kept_is_found_in_its_scope_until_it_expires_by_every_process(opened: Opener) -> None:
    one, two = opened(), opened()
    assert one.keep(BOB, [kept("a"), kept("b")], 100, 200) == []
    for store in (one, two):
        assert store.find(BOB, "a", 199) == kept("a")
        assert store.find(BOB, "a", 200) is None
        assert store.find(BOB, "c", 100) is None
        assert store.find(TALK, "a", 100) is None
        assert store.find(EVE, "a", 100) is None


def test_use_prolongs_and_what_has_most_of_its_time_left_is_not_written_again(opened: Opener) -> None:
    store = opened()
    store.keep(BOB, [kept("a")], 0, 100)
    store.keep(BOB, [kept("a")._replace(sealed=b"again")], 20, 120)
    assert store.find(BOB, "a", 0) == kept("a")
    assert store.find(BOB, "a", 100) is None
    store.keep(BOB, [kept("a")], 60, 160)
    assert store.find(BOB, "a", 159) == kept("a")


def test_the_first_value_has_the_token_and_nothing_of_the_second_is_kept(opened: Opener) -> None:
    one, two = opened(), opened()
    one.keep(BOB, [kept("a", "first")], 0, 100)
    assert two.keep(BOB, [kept("a", "second"), kept("b")], 0, 100) == ["a"]
    assert two.find(BOB, "a", 0) == kept("a", "first")
    assert two.find(BOB, "b", 0) is None
    assert two.keep(BOB, [kept("a", "second")], 100, 200) == []
    assert one.find(BOB, "a", 100) == kept("a", "second")


def test_workers_that_come_at_once_agree_on_who_has_a_token(opened: Opener) -> None:
    stores = [opened() for _ in range(4)]
    taken: dict[int, list[str]] = {}
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        taken[number] = stores[number].keep(BOB, [kept("a", f"value {number}")], 0, 100)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (winner,) = (number for number, clashes in taken.items() if not clashes)
    assert stores[0].find(BOB, "a", 0) == kept("a", f"value {winner}")


def test_loose_tokens_are_listed_and_bounded(opened: Opener) -> None:
    store = opened()
    store.keep(BOB, [kept("a", loose=True), kept("b")], 0, 100)
    assert store.loose(BOB, 0) == [kept("a", loose=True)]
    assert store.loose(BOB, 100) == store.loose(TALK, 0) == store.loose(EVE, 0) == []
    wide = opened(MOST_LOOSE + 10)
    with pytest.raises(TokensFull, match="context"):
        wide.keep(BOB, [kept(f"t{number}", loose=True) for number in range(MOST_LOOSE + 1)], 0, 100)
    assert wide.loose(BOB, 0) == [kept("a", loose=True)]


def test_a_principal_has_a_bounded_number_and_what_expires_first_goes(opened: Opener) -> None:
    store = opened()
    for number in range(70):
        store.keep(BOB if number % 2 else TALK, [kept(f"t{number}")], 0, 1_000 + number)
    store.keep(EVE, [kept("e")], 0, 500)
    live = [n for n in range(70) if store.find(BOB if n % 2 else TALK, f"t{n}", 0)]
    assert live == list(range(20, 70))
    assert store.find(EVE, "e", 0) is not None
    with pytest.raises(TokensFull, match="per_principal"):
        store.keep(BOB, [kept(f"n{number}") for number in range(51)], 0, 100)
    assert store.find(BOB, "n0", 0) is None


def test_what_has_expired_is_forgotten_in_portions(opened: Opener) -> None:
    store = opened()
    store.keep(BOB, [kept(f"t{number}") for number in range(30)], 0, 100)
    store.keep(BOB, [kept("later")], 0, 300)
    assert [store.forget(150, limit=20), store.forget(150, limit=20), store.forget(150)] == [20, 10, 0]
    assert store.find(BOB, "later", 150) is not None


def test_a_table_that_cannot_be_written_or_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "side.db"
    store = TokenStore(path, most=5)
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE tokens")
    for use in (
        lambda: store.keep(BOB, [kept("a")], 0, 9),
        lambda: store.find(BOB, "a", 0),
        lambda: store.loose(BOB, 0),
        lambda: store.forget(9),
    ):
        with pytest.raises(LogUnavailable, match=r"side\.db"):
            use()
    store.close()
    os.unlink(path)
    path.mkdir()
    with pytest.raises(LogUnavailable):
        TokenStore(path, most=5)


def test_a_tenant_s_tokens_are_erased_in_portions_and_no_other_s(opened: Opener) -> None:
    store = opened()
    names = ("acme/bob", "acme/\u010denda", "acme/0", "acme0/bob", "acm/bob", "acmes/bob", "acme.eu/bob", "acme-eu/bob")
    scopes = [Scope(name, name.encode()[:16].ljust(16)) for name in names]
    for scope in scopes:
        store.keep(scope, [kept("a"), kept("b")], 0, 100)
    assert [store.erase("acme", limit=4) for _ in range(3)] == [4, 2, 0]
    assert [store.find(scope, "a", 0) is not None for scope in scopes] == [False] * 3 + [True] * 5


def test_loose_values_of_a_scope_are_bounded_together(opened: Opener) -> None:
    """All of them are looked for in each request: the time that takes is bounded by their size."""
    store = opened()
    large = [Kept(f"t{number}", b"m" * 16, True, b"x" * (LARGEST_LOOSE // 4)) for number in range(5)]
    store.keep(BOB, large[:4], 0, 100)
    with pytest.raises(TokensFull, match="context"):
        store.keep(BOB, large[4:], 0, 100)
    assert len(store.loose(BOB, 0)) == 4


def test_a_token_that_was_loose_counts_once_when_it_is_written_again(opened: Opener) -> None:
    store = opened(2_000)
    full = [Kept(f"t{number}", b"m" * 16, True, b"x" * (LARGEST_LOOSE // 4)) for number in range(4)]
    store.keep(BOB, full, 0, 100)
    assert store.keep(BOB, full, 60, 160) == []
    assert len(store.loose(BOB, 150)) == 4


def test_bounds_hold_for_workers_that_come_at_once(opened: Opener) -> None:
    stores = [opened() for _ in range(4)]
    start = threading.Barrier(4)
    refused: list[int] = []

    def work(number: int) -> None:
        start.wait()
        for turn in range(5):
            name = f"w{number}t{turn}"
            stores[number].keep(BOB, [kept(f"{name}n{each}") for each in range(10)], 0, 100 + turn)
            try:
                stores[number].keep(EVE, [Kept(name, b"m" * 16, True, b"x" * (LARGEST_LOOSE // 8))], 0, 100)
            except TokensFull:
                refused.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    names = [f"w{number}t{turn}n{each}" for number in range(4) for turn in range(5) for each in range(10)]
    assert sum(stores[0].find(BOB, name, 0) is not None for name in names) <= 50
    assert len(refused) == 12 and len(stores[0].loose(EVE, 0)) == 8


def test_many_workers_keep_overlapping_tokens_without_a_deadlock(opened: Opener) -> None:
    stores = [opened(1_000) for _ in range(4)]
    failed: list[Exception] = []

    def work(number: int) -> None:
        tokens = [kept(f"t{each}") for each in range(40)]
        try:
            for turn in range(10):
                stores[number].keep(BOB if number % 2 else TALK, tokens[:: -1 if number > 1 else 1], turn, turn + 2)
                stores[number].forget(turn)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed


def test_who_reads_from_a_file_waits_for_no_writer(tmp_path: Path) -> None:
    """A worker reads in its event loop: a table that somebody holds must not hold up all its calls."""
    store = TokenStore(tmp_path / "side.db", most=50)
    store.keep(BOB, [kept("a", loose=True)], 0, 100)
    with sqlite3.connect(tmp_path / "side.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = threading.Thread(target=store.keep, args=(BOB, [kept("b")], 0, 100))
        writing.start()
        time.sleep(0.2)
        began = time.monotonic()
        assert store.find(BOB, "a", 0) is not None and len(store.loose(BOB, 0)) == 1
        assert time.monotonic() - began < 1 and writing.is_alive()
        other.execute("COMMIT")
    writing.join(10)
    assert store.find(BOB, "b", 0) is not None
    store.close()
