"""The bound on what a worker holds."""

from __future__ import annotations

from gateway.budget import Budget


def test_bytes_are_taken_up_to_the_limit_and_not_beyond() -> None:
    budget = Budget(10)
    assert budget.take(6)
    assert budget.take(4)
    assert not budget.take(1)
    assert budget.held == 10
    assert budget.take(-3)
    assert budget.take(3)


def test_giving_back_always_works_even_over_the_limit() -> None:
    budget = Budget(10)
    budget.force(20)
    assert not budget.take(1)
    assert budget.take(0)
    assert budget.take(-5)
    assert budget.held == 15
