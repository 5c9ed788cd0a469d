"""Which route an address names, and which endpoints may be tried in which order."""

from __future__ import annotations

import pytest

from gateway.routing import Health, Routes, ordered, repeatable, upstream_target
from gateway.settings import Endpoint, Route


def endpoint(name: str, url: str = "http://127.0.0.1:9/v1") -> Endpoint:
    return Endpoint(id=name, url=url)


def http(name: str, prefix: str = "", host: str = "") -> Route:
    return Route(id=name, kind="http", prefix=prefix, host=host, endpoints=(endpoint(f"{name}-1"),))


ROUTES = Routes([http("crm", "/crm"), http("deep", "/crm/deep"), http("saas", host="Saas.example")])


@pytest.mark.parametrize(
    ("path", "route", "prefix"),
    [
        ("/crm", "crm", 4),
        ("/crm/", "crm", 4),
        ("/crm/customers/7", "crm", 4),
        ("/crm/deep", "deep", 9),
        ("/crm/deep/er", "deep", 9),
        ("/crm/deeper", "crm", 4),
    ],
)
def test_the_longest_prefix_that_ends_at_a_segment_wins(path: str, route: str, prefix: int) -> None:
    found = ROUTES.find("gateway.example", path)
    assert found is not None
    assert (found[0].id, found[1]) == (route, prefix)


@pytest.mark.parametrize("path", ["/", "/crmx", "/CRM", "/x/crm", "//crm"])
def test_an_address_that_only_resembles_a_prefix_names_no_route(path: str) -> None:
    assert ROUTES.find("gateway.example", path) is None


def test_a_host_route_takes_every_path_and_keeps_it() -> None:
    found = ROUTES.find("saas.example", "/crm/7")
    assert found is not None
    assert (found[0].id, found[1]) == ("saas", 0)


def test_policy_can_narrow_and_order_the_candidates_but_never_add_one() -> None:
    candidates = [endpoint("a"), endpoint("b"), endpoint("c")]
    assert [e.id for e in ordered(candidates, ("c", "evil", "a", "c"))] == ["c", "a"]
    assert ordered(candidates, ()) == []
    assert ordered(candidates, None) == candidates


def test_three_failures_in_a_row_make_an_endpoint_unhealthy_and_one_answer_heals_it() -> None:
    health = Health()
    health.failed("a")
    health.failed("a")
    assert health.healthy("a")
    health.failed("a")
    assert not health.healthy("a")
    assert health.healthy("b")
    health.succeeded("a")
    assert health.healthy("a")


def test_failures_that_are_not_in_a_row_do_not_add_up() -> None:
    health = Health()
    for _ in range(5):
        health.failed("a")
        health.failed("a")
        health.succeeded("a")
    assert health.healthy("a")


def test_what_an_upstream_declined_is_repeated_only_where_that_does_no_harm() -> None:
    model = Route(id="m", kind="model", dialect="openai", prefix="/m", endpoints=(endpoint("m-1"),))
    connector = http("crm", "/crm")
    assert repeatable(model, "POST", False)
    assert repeatable(connector, "GET", False)
    assert repeatable(connector, "POST", True)
    assert not repeatable(connector, "POST", False)
    assert not repeatable(connector, "PATCH", False)


@pytest.mark.parametrize(
    ("url", "rest", "target"),
    [
        ("http://a/v1", b"/chat/completions", b"/chat/completions"),
        ("http://a/v1/", b"/models?limit=2", b"/models?limit=2"),
        ("http://a/v1", b"?q=1", b"?q=1"),
        ("http://a", b"", b"/"),
        ("http://a/", b"?q=1", b"/?q=1"),
    ],
)
def test_the_target_is_what_followed_the_prefix(url: str, rest: bytes, target: bytes) -> None:
    assert upstream_target(endpoint("a", url), rest) == target
