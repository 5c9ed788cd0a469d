"""Pieces of texts."""

from __future__ import annotations

from typing import Any

from gateway.content.pieces import Piece, grow, is_json_text, tokens


def test_every_string_grows_but_names_ids_and_what_comes_whole() -> None:
    pieces: list[Piece] = []
    delta: dict[str, Any] = {"id": "x", "text": "a", "deep": [{"index": 7, "more": "b"}], "annotations": [{"t": "c"}]}
    grow(pieces, ("at",), delta)
    assert [(piece.key, piece.text) for piece in pieces] == [(("at", "text"), "a"), (("at", "deep", 7, "more"), "b")]


def test_tokens_are_a_text_beside_the_one_that_they_repeat() -> None:
    pieces: list[Piece] = []
    tokens(pieces, ("at",), {"logprobs": [{"token": "a"}, "strange", {"token": "b"}]})
    assert [(piece.key, piece.text) for piece in pieces] == [(("at", "logprobs", "content"), text) for text in "ab"]
    tokens(pieces, ("at",), {"logprobs": None})
    assert len(pieces) == 2


def test_arguments_are_json_text() -> None:
    assert is_json_text(("choices", 0, "delta", "tool_calls", 0, "function", "arguments"))
    assert is_json_text(("content", 0, "partial_json"))
    assert is_json_text(("output", 0, "arguments"))
    assert not is_json_text(("content", 0, "text"))
