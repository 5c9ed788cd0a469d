"""The shape that policy demands of an answer: its text must be JSON that a JSON Schema accepts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import jsonschema
import jsonschema.protocols
import orjson
from referencing import Registry

from gateway.content.errors import ContentError
from gateway.content.json_text import Json, dump


@lru_cache(maxsize=64)
def _validator(source: bytes) -> jsonschema.protocols.Validator:
    schema = orjson.loads(source)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ContentError("not_enforced", "the shape that policy demands is not a JSON Schema") from error
    # An empty registry: a reference to another document is an error, never a download.
    return kind(schema, registry=Registry())


def check_schema(schema: dict[str, Json]) -> None:
    """Refuse what is not a JSON Schema; ContentError."""
    _validator(dump(schema))


def accepts(schema: dict[str, Json], texts: Iterable[str]) -> bool:
    """Whether there is a text, and each is JSON of the schema's shape."""
    validator = _validator(dump(schema))
    some = False
    for text in texts:
        some = True
        try:
            if not validator.is_valid(orjson.loads(text)):
                return False
        except (orjson.JSONDecodeError, RecursionError):
            return False
        except Exception as error:  # a reference that leads nowhere raises classes of another library
            raise ContentError("not_enforced", "the shape that policy demands cannot be checked") from error
    return some
