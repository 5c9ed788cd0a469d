"""What a path asks for: generous where it makes the reading stricter, exact where policy may allow by it."""

from __future__ import annotations

import pytest

from gateway.operations import OPERATIONS, operation_of
from policies import schemas


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/chat/completions", "chat"),
        ("/v1/chat/completions", "chat"),
        ("/openai/deployments/x/chat/completions", "chat"),
        ("/v1/Chat/Completions/", "chat"),
        ("/v1/chat/completions/chatcmpl_1/messages", "chat"),
        ("/v1/completions", "completions"),
        ("/responses", "responses"),
        ("/v1/responses/resp_1", "responses"),
        ("/v1/responses/resp_1/cancel", "responses"),
        ("/v1/responses/resp_1/input_items", "responses"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/files", ""),
        ("/v1/my-responses", ""),
        ("/v1/messages", ""),
        ("", ""),
    ],
)
def test_operations_of_openai(path: str, operation: str) -> None:
    assert operation_of("openai", "POST", path) == operation


def test_operations_of_anthropic() -> None:
    assert operation_of("anthropic", "POST", "/v1/messages") == "messages"
    assert operation_of("anthropic", "POST", "/v1/messages/count_tokens") == ""
    assert operation_of("anthropic", "GET", "/v1/models") == "models"


@pytest.mark.parametrize("path", ["/models", "/v1/models", "/v1/models/gpt-5-mini", "/models/ft:gpt-5:acme::1"])
def test_models_are_read(path: str) -> None:
    assert operation_of("openai", "GET", path) == "models"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/models/ft:gpt-5:acme::1"),
        ("POST", "/v1/models"),
        ("HEAD", "/v1/models"),
        ("GET", "/v1/files/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/a/permissions"),
        ("GET", "/v1/models/a/../../files"),
        ("GET", "/v1/Models"),
        ("GET", "/v1x/models"),
        ("GET", "/v1/models\n"),
        ("GET", "/x/v1/models"),
    ],
)
def test_nothing_else_passes_for_reading_models(method: str, path: str) -> None:
    assert operation_of("openai", method, path) == ""


def test_a_route_without_a_model_has_none() -> None:
    assert operation_of("", "GET", "/v1/models") == ""
    assert operation_of("", "POST", "/v1/chat/completions") == ""


@pytest.mark.parametrize("name", ["input.request", "input.response"])
def test_policy_is_told_of_all_of_them(name: schemas.Name) -> None:
    call = schemas.load(name)["properties"]["call"]["properties"]
    assert tuple(call["operation"]["enum"]) == OPERATIONS
