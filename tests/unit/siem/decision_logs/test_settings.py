"""What a destination's settings take, and refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from siem.decision_logs.settings import DecisionLog


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either url or file"),
        ({"url": "https://c.example", "file": "x"}, "either url or file"),
        ({"url": "http://c.example"}, "plain http beyond loopback"),
        ({"url": "http://127.0.0.1.example"}, "plain http beyond loopback"),
        ({"url": "https://user:word@c.example"}, "must not carry a user"),
        ({"url": "https://c.example", "credential": "s3cret"}, "env:NAME or file:PATH"),
        ({"url": "https://c.example", "resource": "/logs?token=1"}, "without a query"),
        ({"url": "https://c.example", "resource": "//x y"}, "pattern"),
        ({"file": "x", "credential": "env:TOKEN"}, "belong to url"),
        ({"file": "x", "labels": ["nothing"]}, "NAME=VALUE"),
        ({"file": "x", "labels": ["a=b\nc"]}, "NAME=VALUE"),
        ({"file": "x", "min_delay_seconds": 90}, "more than max_delay_seconds"),
        ({"id": "x/../y", "file": "x"}, "pattern"),
    ],
)
def test_what_would_go_wrong_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        DecisionLog(**{"id": "siem", **settings})
    assert said in str(error.value)


def test_plain_http_is_for_loopback_or_said_to_be_unsafe() -> None:
    for url in ("http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000", "https://c.example"):
        assert DecisionLog(id="siem", url=url).endpoint.url == url
    assert DecisionLog(id="siem", url="http://c.example", unsafe_plain_http=True)


def test_labels_by_name() -> None:
    assert DecisionLog(id="siem", file="x", labels=["site=a=b", "team="]).own_labels == {"site": "a=b", "team": ""}
