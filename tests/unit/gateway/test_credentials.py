"""An upstream's secret comes from where the configuration points, or the configuration is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.credentials import CredentialError, Credentials
from gateway.settings import Endpoint, Route


def route(credential: str, dialect: str = "openai", credential_header: str = "") -> Route:
    endpoint = Endpoint(id="eu", url="http://127.0.0.1:9", credential=credential, credential_header=credential_header)
    return Route.model_validate(
        {
            "id": "r",
            "kind": "model" if dialect else "http",
            "dialect": dialect,
            "prefix": "/r",
            "endpoints": (endpoint,),
        }
    )


def secret_file(folder: Path, text: str) -> str:
    path = folder / "secret"
    path.write_text(text)
    return f"file:{path}"


@pytest.mark.parametrize(
    ("dialect", "header"),
    [
        ("openai", (b"authorization", b"Bearer s3cret")),
        ("anthropic", (b"x-api-key", b"s3cret")),
        ("", (b"authorization", b"Bearer s3cret")),
    ],
)
def test_the_secret_goes_where_the_dialect_expects_it(
    tmp_path: Path, dialect: str, header: tuple[bytes, bytes]
) -> None:
    assert Credentials([route(secret_file(tmp_path, "s3cret\n"), dialect)]).of("eu") == (header,)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("api-key", (b"api-key", b"s3cret")),
        ("private-token", (b"private-token", b"s3cret")),
        ("authorization", (b"authorization", b"Bearer s3cret")),
    ],
)
def test_the_secret_goes_where_the_endpoint_says(tmp_path: Path, name: str, header: tuple[bytes, bytes]) -> None:
    for dialect in ("openai", "anthropic", ""):
        made = route(secret_file(tmp_path, "s3cret\n"), dialect, credential_header=name)
        assert Credentials([made]).of("eu") == (header,)


@pytest.mark.parametrize(
    "name",
    [
        *("host", "content-length", "transfer-encoding", "connection", "cookie", "x-cordon-key", "traceparent", "te"),
        *("Api-Key", "api_key", "api key", "a:b", "a\r\nb", "-a", "x" * 65),
    ],
)
def test_a_header_with_a_meaning_of_its_own_or_no_proper_name_carries_no_secret(name: str) -> None:
    with pytest.raises(ValidationError, match="credential_header"):
        route("env:SECRET", credential_header=name)


def test_an_endpoint_without_a_secret_adds_nothing() -> None:
    assert Credentials([route("")]).of("eu") == ()


@pytest.mark.parametrize("text", ["", "\n", "two words", "line\nbreak", "ümlaut"])
def test_a_secret_that_no_header_can_carry_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(CredentialError) as error:
        Credentials([route(secret_file(tmp_path, text))])
    assert "endpoint eu" in str(error.value)
    assert not text.strip() or text.strip() not in str(error.value)


def test_a_secret_that_is_not_there_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORDON_TEST_SECRET", raising=False)
    with pytest.raises(CredentialError, match="CORDON_TEST_SECRET"):
        Credentials([route("env:CORDON_TEST_SECRET")])
    monkeypatch.setenv("CORDON_TEST_SECRET", "s3cret")
    assert Credentials([route("env:CORDON_TEST_SECRET")]).of("eu")[0][1] == b"Bearer s3cret"
    with pytest.raises(CredentialError, match="missing"):
        Credentials([route(f"file:{tmp_path}/missing")])
