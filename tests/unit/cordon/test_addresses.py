"""Where refused callers are sent to read more: only to an address that they may know."""

from __future__ import annotations

import pytest

from cordon.addresses import error_pages
from cordon.config import Config

CASES = [
    ({}, {}, "http://127.0.0.1:8081/errors/"),
    ({}, {"public_url": "https://cordon.example/"}, "https://cordon.example/errors/"),
    ({"listen": "0.0.0.0:8080"}, {"public_url": "https://cordon.example"}, "https://cordon.example/errors/"),
    ({"listen": "0.0.0.0:8080"}, {}, ""),
    ({"listen": "[::]:8080"}, {"listen": "[::1]:8081"}, ""),
    ({"listen": "[::1]:8080"}, {"listen": "[::1]:8081"}, "http://[::1]:8081/errors/"),
    ({}, {"listen": "127.0.0.1:0"}, ""),
    ({"listen": "0.0.0.0:8080"}, {"listen": "10.0.0.7:8081", "unsafe_plain_http": True}, ""),
    ({}, {"listen": "10.0.0.7:8081", "unsafe_plain_http": True}, ""),
    ({}, {"listen": "0.0.0.0:1", "allowed_hosts": ["cordon.example"], "unsafe_plain_http": True}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("gateway", "control", "expected"), CASES)
def test_callers_are_sent_where_they_can_come(
    gateway: dict[str, object], control: dict[str, object], expected: str
) -> None:
    config = Config.model_validate({"gateway": gateway, "control": control})
    assert error_pages(config) == expected
