"""The quickstart, typed word for word on the starter configuration and the starter bundle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pages import typed


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block printed, in the order of the page, all in one shell."""
    with typed("docs/quickstart.md", tmp_path_factory.mktemp("q")) as printed:
        yield printed


def test_the_allowed_call_is_redacted_and_recorded(session: list[str]) -> None:
    text = session[1]
    assert "HTTP/1.1 200 OK" in text
    assert "x-cordon-decision: redacted" in text
    assert "call.intent" in text
    assert "call.outcome" in text
    assert "4111" not in text


def test_the_refused_call_names_its_rule(session: list[str]) -> None:
    assert '"type":"permission_error"' in session[2]
    assert "residency.no_endpoint" in session[2]


def test_the_starter_bundle_passes_its_checks_and_tests(session: list[str]) -> None:
    assert "fail" not in session[3].lower() or "0 failed" in session[3].lower()


def test_containment_refuses_and_a_release_undoes_it(session: list[str]) -> None:
    refused, _, after = session[4].partition("isolated")
    assert refused and after
    assert "jana" in session[4].lower() or "1001" in session[4]


def test_a_record_is_proved_and_the_log_verified(session: list[str]) -> None:
    assert "c2sp.org/tlog-proof@v1" in session[5]
    assert "records" in session[5]
