from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from cordon.config import Log
from cordon.logs import Rate, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was for the tests after this one."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def started(**settings: Any) -> io.StringIO:
    stream = io.StringIO()
    configure("gateway-0", Log(**settings), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_and_names_process_call_and_time() -> None:
    stream = started()
    structlog.contextvars.bind_contextvars(call="01J")
    structlog.get_logger("gateway").info("policy loaded", revision="r1")
    (line,) = lines(stream)
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {"event": "policy loaded", "revision": "r1", "process": "gateway-0", "call": "01J", "level": "info"}


def test_the_standard_library_s_loggers_end_up_in_the_same_place() -> None:
    stream = started()
    logging.getLogger("cordon.lineage.writer").warning("a client was cut off: %s", "why")
    assert lines(stream)[0]["event"] == "a client was cut off: why"
    assert lines(stream)[0]["process"] == "gateway-0"


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_the_configured_level_and_above_is_written(level: str, count: int) -> None:
    stream = started(level=level)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert len(lines(stream)) == count


def test_the_level_can_change_while_it_runs() -> None:
    first = started()
    second = started(level="error")
    structlog.get_logger().info("a")
    structlog.get_logger().error("b")
    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["b"]


def test_text_is_for_people() -> None:
    stream = started(format="text")
    structlog.get_logger().warning("it happened", process="writer-0", seconds=2)
    text = stream.getvalue()
    assert "it happened" in text
    assert "writer-0" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_carries_no_values_of_variables(form: str) -> None:
    stream = started(format=form)
    secret = "sk-" + "live"
    try:
        assert secret
        raise ValueError("it broke")
    except ValueError:
        structlog.get_logger().exception("ended")
    assert "ValueError: it broke" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_a_flood_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("cordon.logs.time.monotonic", lambda: now[0])
    stream = started(lines_per_second=5)
    for number in range(12):
        structlog.get_logger().info("again", number=number)
    assert len(lines(stream)) == 5
    now[0] += 1
    structlog.get_logger().info("later")
    assert lines(stream)[-1]["lines_left_out"] == 7
    structlog.get_logger().info("still later")
    assert "lines_left_out" not in lines(stream)[-1]


def test_the_rate_counts_lines_of_other_libraries_too() -> None:
    rate = Rate(2)
    record = logging.LogRecord("x", logging.INFO, "", 0, "text", None, None)
    assert [rate.filter(record) for _ in range(4)] == [True, True, False, False]


def test_odd_values_are_written_in_some_form() -> None:
    stream = started()
    structlog.get_logger().info("odd", value={1: object()}, data=b"x")
    assert lines(stream)[0]["event"] == "odd"
