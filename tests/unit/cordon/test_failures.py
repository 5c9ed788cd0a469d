"""Errors of commands: each kind has a code, which `cordon errors` explains and `--json` tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from cordon import cli
from cordon.errors import CordonError
from cordon.explained import GROUPS
from cordon.failures import FAILURES, UNEXPECTED, failure
from gateway.client_trust import TrustError
from gateway.errors import GatewayError
from lineage.actions import UnknownTarget
from lineage.errors import LineageError, TenantErased
from playbooks.errors import PlaybookError
from policies.errors import BundleError, PolicyError
from policies.result import ResultError
from siem.console.errors import ConsoleError


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for each in kind.__subclasses__():
        yield from below(each)


def test_the_nearest_class_that_has_a_code_gives_it() -> None:
    assert failure(TenantErased("a")).code == "beside_the_log"
    assert failure(UnknownTarget("a", "b")).code == "refused_action"
    assert failure(BundleError([])).code == "bundle"
    assert failure(ResultError("a")).code == "policy"
    assert failure(TrustError("a", "b")).code == "gateway"
    assert failure(PermissionError(13, "no")).code == "system"
    assert failure(OperationalError("a", {}, Exception())).code == "state_database"
    assert failure(ZeroDivisionError()) is UNEXPECTED


@pytest.mark.parametrize(
    "base",
    [CordonError, PlaybookError, GatewayError, LineageError, PolicyError, ConsoleError],
    ids=lambda b: b.__name__,
)
def test_every_error_of_the_packages_has_a_code(base: type[Exception]) -> None:
    for kind in below(base):
        assert any(each in FAILURES for each in kind.__mro__), kind


def test_codes_are_unique_and_a_more_special_class_comes_before_its_base() -> None:
    assert len({each.code for each in FAILURES.values()}) == len(FAILURES)
    kinds = list(FAILURES)
    for at, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[at + 1 :]), kind


def test_an_error_tells_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.yaml")
    assert cli.run(["key", "list", "-c", missing]) == 1
    assert capsys.readouterr().err.endswith("[configuration]\n")
    assert cli.run(["key", "list", "-c", missing, "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["code"] == "configuration"
    assert cli.run(["key", "lisst", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["code"] == "usage"


def test_every_code_is_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["errors", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {title: sorted(group.pages) for title, group in GROUPS.items()} == listed
    for codes in listed.values():
        for code in codes:
            assert cli.run(["errors", code]) == 0
            text = capsys.readouterr().out
            assert "What to do." in text or "What the caller can do." in text, code
            assert "```" not in text and "**What" not in text, code


def test_a_code_of_several_places_shows_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["errors", "number"]) == 0
    text = capsys.readouterr().out
    assert "Findings about a bundle: number" in text and "Refused calls: number" in text


def test_an_unknown_code_is_told_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["errors", "unsav"]) == 2
    assert "there is no code 'unsav'; did you mean unsafe?" in capsys.readouterr().err
