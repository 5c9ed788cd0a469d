"""The demanded shape of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.content.errors import ContentError
from gateway.content.schema import accepts, check_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["a"],
    "properties": {"a": {"type": "integer"}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("texts", "accepted"),
    [
        (['{"a":1}'], True),
        (['{"a":1}', '{"a":2}'], True),
        (['{"a":1}', '{"a":"x"}'], False),
        (['{"a":1} and more'], False),
        (['{"a":1,"b":2}'], False),
        (["not json"], False),
        ([""], False),
        ([], False),
        (["[" * 5000], False),
    ],
)
def test_texts_are_json_of_the_shape_or_refused(texts: list[str], accepted: bool) -> None:
    assert accepts(SCHEMA, texts) is accepted


def test_what_is_no_schema_is_refused() -> None:
    check_schema(SCHEMA)
    for schema in ({"type": "wrong"}, {"properties": 5}):
        with pytest.raises(ContentError) as error:
            check_schema(schema)
        assert error.value.code == "not_enforced"


def test_another_document_is_never_fetched() -> None:
    with pytest.raises(ContentError) as error:
        accepts({"$ref": "http://127.0.0.1:9/schema.json"}, ["{}"])
    assert error.value.code == "not_enforced"
