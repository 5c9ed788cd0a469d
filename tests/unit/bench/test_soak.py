from __future__ import annotations

import pytest

from bench.soak import FEWEST, restarted, slope, trends


def readings(sizes, every=10_000):
    """Readings of one process, in MB, after each so many calls."""
    return [(every * (number + 1), {"gateway-0 (7)": int(size * 1e6)}) for number, size in enumerate(sizes)]


def test_the_slope_is_of_the_straight_line():
    assert slope([(1, 5), (2, 7), (3, 9)]) == pytest.approx(2)


def test_a_slope_needs_calls_between_the_readings():
    with pytest.raises(ValueError, match="same number"):
        slope([(1, 5), (1, 7)])


def test_steady_memory_is_flat_and_a_leak_is_not():
    (steady,) = trends(readings([80.0, 80.3, 79.8] * 5))
    assert steady.flat(2.0)
    (leak,) = trends(readings([80 + 0.3 * number for number in range(15)]))
    assert leak.slope == pytest.approx(3.0)
    assert not leak.flat(2.0)


def test_a_slow_leak_is_seen_at_a_lower_limit():
    (leak,) = trends(readings([80 + 0.1 * number for number in range(15)]))
    assert leak.flat(2.0)
    assert not leak.flat(0.5)


def test_filling_caches_at_the_beginning_are_not_counted():
    (warm,) = trends(readings([40.0, 70.0] + [80.0] * 13))
    assert warm.slope == pytest.approx(0)
    assert warm.first == pytest.approx(40)


def test_too_few_readings_say_nothing():
    with pytest.raises(ValueError, match="too few"):
        trends(readings([80.0] * (FEWEST - 1)))
    with pytest.raises(ValueError, match="too few"):
        trends([])


def test_a_process_that_was_replaced_is_told_and_has_no_trend():
    found = readings([80.0] * 15)
    found[7:] = [(calls, {"gateway-0 (8)": sizes["gateway-0 (7)"]}) for calls, sizes in found[7:]]
    assert restarted(found) == {"gateway-0 (7)", "gateway-0 (8)"}
    assert trends(found) == []
    assert restarted(readings([80.0] * 3)) == set()
