"""Where a call may go: the route that its address names, that route's endpoints, and how they have done lately."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.settings import Endpoint, Route

FAILURES_TO_UNHEALTHY = 3
UNHEALTHY_SECONDS = 10.0
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
DECLINED = frozenset({429, 503})


class Routes:
    """The configured routes, looked up by host or by the longest path prefix that ends at a segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._hosts: dict[str, Route] = {}
        self._prefixes: dict[str, Route] = {}
        for route in routes:
            if route.host:
                self._hosts[route.host.lower()] = route
            else:
                self._prefixes[route.prefix] = route

    def find(self, host: str, path: str) -> tuple[Route, int] | None:
        """The route of a normalised `host` (without port) and `path`, and the length of its prefix in the path."""
        route = self._hosts.get(host)
        if route is not None:
            return route, 0
        end = path.find("/", 1)
        best: tuple[Route, int] | None = None
        while True:
            stop = len(path) if end < 0 else end
            route = self._prefixes.get(path[:stop])
            if route is not None:
                best = (route, stop)
            if end < 0:
                return best
            end = path.find("/", end + 1)


@dataclass(slots=True)
class _Record:
    failures: int = 0
    until: float = 0.0


class Health:
    """What calls themselves showed of the endpoints: three failures in a row make one unhealthy for ten seconds.

    Policy sees it and may order the candidates by it; nothing is taken away from policy's choice.
    """

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def succeeded(self, endpoint: str) -> None:
        """The endpoint answered."""
        self._records.pop(endpoint, None)

    def failed(self, endpoint: str) -> None:
        """The endpoint could not be reached, declined or broke off."""
        record = self._records.setdefault(endpoint, _Record())
        record.failures += 1
        if record.failures >= FAILURES_TO_UNHEALTHY:
            record.until = time.monotonic() + UNHEALTHY_SECONDS

    def healthy(self, endpoint: str) -> bool:
        """Whether the endpoint may be expected to answer."""
        record = self._records.get(endpoint)
        return record is None or record.until <= time.monotonic()


def ordered(candidates: Sequence[Endpoint], chosen: Sequence[str] | None) -> list[Endpoint]:
    """The candidates in policy's order; all of them as configured where policy named none.

    A name that is not a candidate is dropped: policy can narrow the choice, never widen it.
    """
    if chosen is None:
        return list(candidates)
    by_id = {endpoint.id: endpoint for endpoint in candidates}
    return [by_id[name] for name in dict.fromkeys(chosen) if name in by_id]


def repeatable(route: Route, method: str, idempotency_key: bool) -> bool:
    """Whether a call that an upstream declined (429, 503) may be sent to another one.

    A model endpoint that declines has not generated; on an HTTP route only what RFC 9110 §9.2.2 calls idempotent, or
    what the client marked with an idempotency key, is repeated.
    """
    return route.kind == "model" or method in IDEMPOTENT or idempotency_key


def upstream_target(endpoint: Endpoint, rest: bytes) -> bytes:
    """The target below the endpoint's base URL: what followed the route's prefix, path and query.

    Without a base path it begins with a slash, as RFC 9112 §3.2.1 asks.
    """
    return rest if rest.startswith(b"/") or urlsplit(endpoint.url).path.rstrip("/") else b"/" + rest
