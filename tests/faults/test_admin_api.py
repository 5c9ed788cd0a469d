"""The admin API under requests made from its own description, and from all that it does not describe: never a 5xx."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode, SerializationContext

from tests.support import traffic
from tests.support.console import Console, Operator, running_console

EXAMPLES = 5
SECONDS = 90.0
"""For all operations together."""


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    with running_console() as running:
        traffic.hour(running)
        yield running


@schemathesis.serializer("application/gzip")
def archive(_: SerializationContext, value: Any) -> bytes:
    """What is no archive at all, as the body of a proposal."""
    return getattr(value, "data", None) or str(value).encode("utf-8", "replace")


class Fuzzer:
    """Sends cases as an administrator, and signs in again where a case ended the session."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._operator = console.signed_in("root", "admin")
        self.schema = schemathesis.openapi.from_dict(self._operator.get("/api/v1/openapi.json").json())
        self.statuses: dict[str, set[int]] = {}

    def send(self, operation: str, case: Case) -> None:
        answer = self._request(self._operator, case)
        if answer.status_code == 401 and self._operator.get("/api/v1/session").status_code == 401:
            self._operator = self._console.signed_in("root", "admin")
        self.statuses.setdefault(operation, set()).add(answer.status_code)
        assert answer.status_code < 500, f"{answer.status_code} {answer.text}\n{case.as_curl_command()}"
        if answer.status_code >= 400:
            assert "application/problem+json" in answer.headers["content-type"]
            assert "Traceback" not in answer.text

    def _request(self, operator: Operator, case: Case) -> Any:
        headers = {**dict(case.headers or {}), "x-csrf-token": operator.csrf}
        cookies = dict(operator.http.cookies)
        return case.call(base_url=self._console.url, headers=headers, cookies=cookies, timeout=20)


def exercise(fuzzer: Fuzzer, name: str, cases: SearchStrategy[Case], deadline: float) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def run(case: Case) -> None:
        if time.monotonic() < deadline:
            fuzzer.send(name, case)

    run()


def test_no_request_makes_the_admin_api_fail(console: Console) -> None:
    fuzzer = Fuzzer(console)
    operations = [found.ok() for found in fuzzer.schema.get_all_operations()]
    assert len(operations) > 15
    deadline = time.monotonic() + SECONDS
    for operation in operations:
        exercise(fuzzer, operation.label, operation.as_strategy(generation_mode=GenerationMode.POSITIVE), deadline)
        with suppress(Unsatisfiable):  # where an operation takes nothing that could be wrong
            exercise(fuzzer, operation.label, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), deadline)
    assert time.monotonic() < deadline, "not all was tried in time"
    assert fuzzer.statuses.keys() == {operation.label for operation in operations}
    reached = {status for statuses in fuzzer.statuses.values() for status in statuses}
    assert {200, 404, 422} <= reached, reached
