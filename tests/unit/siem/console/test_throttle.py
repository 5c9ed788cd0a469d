"""The brake on guessing: bounded, not to be flooded, and not to be walked around by another address."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from siem.console.throttle import BUCKETS, Throttle, network


def test_after_the_limit_one_waits_until_the_window_is_over():
    throttle = Throttle(3, 1_000)
    assert [throttle.attempt("a", now) for now in (0, 1, 2)] == [0, 0, 0]
    assert throttle.attempt("a", 400) == 600
    assert throttle.wait_ms("a", 400) == 600
    assert throttle.wait_ms("a", 1_000) == 0
    assert throttle.attempt("a", 1_000) == 0


def test_waiting_costs_nothing_and_asking_counts_nothing():
    throttle = Throttle(1, 1_000)
    for _ in range(10):
        assert throttle.wait_ms("a", 0) == 0
    assert throttle.attempt("a", 0) == 0
    for _ in range(10):
        throttle.attempt("a", 500)
    assert throttle.attempt("a", 1_000) == 0, "attempts that were refused do not lengthen the wait"


def test_what_was_right_is_forgiven():
    throttle = Throttle(2, 1_000)
    for _ in range(20):
        assert throttle.attempt("a", 0) == 0
        throttle.forgive("a")
    throttle.forgive("a")
    assert throttle.attempt("a", 0) == 0


def test_a_flood_of_names_neither_grows_the_table_nor_frees_the_one_that_is_held():
    throttle = Throttle(1, 1_000_000)
    throttle.attempt("victim", 0)
    for number in range(20_000):
        throttle.attempt(f"made-up-{number}", 1)
    assert throttle.wait_ms("victim", 2) > 0
    assert len(throttle._counts) == len(throttle._starts) == BUCKETS


def test_nobody_can_know_which_names_share_a_bucket():
    first, second = Throttle(1, 1), Throttle(1, 1)
    names = [f"name-{number}" for number in range(64)]
    assert [first._bucket(name) for name in names] != [second._bucket(name) for name in names]


def test_attempts_at_the_same_moment_do_not_pass_together():
    throttle = Throttle(5, 1_000_000)
    start = threading.Barrier(16)

    def attempt(_: int) -> int:
        start.wait()
        return throttle.attempt("a", 0)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(attempt, range(16))).count(0) == 5


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_an_address_counts_by_the_part_that_its_owner_cannot_change(address, part):
    assert network(address) == part


def test_any_text_can_be_a_subject():
    assert Throttle(1, 1).attempt("\ud800\x00é", 0) == 0
