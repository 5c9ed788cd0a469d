"""Embeddings and token numbers."""

from __future__ import annotations

import base64
import random
import struct
from typing import Any

import pytest

from gateway.content.vectors import is_embeddings, is_vector, tokens_in


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_embeddings_of_any_usual_size_are_vectors() -> None:
    rng = random.Random(1)
    for size in (1, 16, 384, 1536, 3072):
        numbers = [rng.gauss(0, 1) for _ in range(size)]
        length = sum(number * number for number in numbers) ** 0.5
        assert is_vector(packed(*(number / length for number in numbers)))
        assert is_vector(packed(*numbers))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64!",
        "AAAA",
        base64.b64encode(b"the card is 4111 1111 1111 1111 ").decode(),
        base64.b64encode(b"4111111111111111").decode(),
        base64.b64encode(b"jane.doe@example.com and others.").decode(),
        packed(float("nan")),
        packed(0.5, float("inf")),
        packed(0.0, 0.0),
        packed(1e30),
        packed(0.5, 0.5)[:-1],
        packed(0.5) + "\n",
    ],
)
def test_what_is_no_vector_counts_as_text(text: str) -> None:
    assert not is_vector(text)


VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5, 1]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"data": [VECTOR, VECTOR | {"embedding": packed(0.5, -0.5)}]}, True),
        ({"data": [VECTOR, VECTOR | {"embedding": "some text"}]}, False),
        ({"data": [VECTOR | {"embedding": [0.5, "text"]}]}, False),
        ({"data": [VECTOR | {"embedding": [True]}]}, False),
        ({"data": [VECTOR | {"text": "x"}]}, False),
        ({"data": []}, False),
        ({"data": "x"}, False),
        ([], False),
    ],
)
def test_a_list_of_embeddings_has_nothing_beside_them(value: Any, expected: bool) -> None:
    assert is_embeddings(value) is expected


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({"input": "text"}, []),
        ({"input": ["a", "b"], "prompt": []}, []),
        ({"input": [{"role": "user", "content": [1, 2]}]}, []),
        ({"input": [15496, 995]}, ["input"]),
        ({"input": [[15496], [995]]}, ["input"]),
        ({"input": ["text", [995]]}, ["input"]),
        ({"input": ["text", 995]}, ["input"]),
        ({"input": [1.0]}, ["input"]),
        ({"prompt": [1], "input": [2]}, ["input", "prompt"]),
        ([1, 2], []),
    ],
)
def test_fields_that_say_their_text_in_numbers(value: Any, fields: list[str]) -> None:
    assert tokens_in(value) == fields
