"""What somebody may have meant by a key or a value that is not known."""

from __future__ import annotations

import pytest

from cordon.config import Config
from cordon.suggestions import nearest, of_key
from cordon.yaml_file import Place
from tests.support.cli import ROOT, Installation


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("gatway",), "did you mean gateway?"),
        (("routes", 0, "endpoints", 0, "juristiction"), "did you mean jurisdiction?"),
        (("gateway", "drain-time"), "known here"),
        (("gateway", "limits", "drain-time"), "did you mean drain_time?"),
        (("workers",), "it belongs into gateway"),
        (("routes", 0, "url"), "it belongs into policy or decision_logs[] or routes[].endpoints[]"),
        (("gateway", "drain_time"), "it belongs into gateway.limits"),
        (("gateway", "routes"), "it belongs into the top level"),
    ],
)
def test_a_key_is_corrected_or_sent_to_its_section(place: Place, words: str) -> None:
    assert words in of_key(Config, place)


def test_nothing_is_suggested_for_what_is_like_nothing() -> None:
    assert nearest("zzzz", ["http", "model"]) == ""
    assert nearest("HTTP", ["http", "model", ""]) == "http"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("log: {level: warn}", "log.level: should be 'debug', 'info', 'warning' or 'error'; did you mean warning?"),
        ("log: {format: Json}", "did you mean json?"),
        ("gateway: {limits: {total_time: 10s}}", "write the number alone, times in seconds and sizes in bytes"),
        ("gateway: {workers: two}", "write the number alone"),
    ],
)
def test_a_value_is_corrected(tmp_path, line: str, words: str) -> None:  # type: ignore[no-untyped-def]
    cordon = Installation(tmp_path, f"policy: {{bundle: {ROOT / 'policies/bundles/starter'}}}\n{line}\n")
    result = cordon("config", "check", str(cordon.file))
    assert result.code == 1
    assert words in result.out


def test_a_value_from_the_environment_is_not_shown_by_a_suggestion(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("CORDON_TEST_LEVEL", "wrning")
    cordon = Installation(tmp_path, "log: {level: '${CORDON_TEST_LEVEL}'}\n")
    result = cordon("config", "check", str(cordon.file))
    assert "did you mean warning?" in result.out
    assert "wrning" not in result.out
