"""Media types (RFC 9110 §8.3) and what Cordon reads of each."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from gateway.content.errors import ContentError

Shape = Literal["json", "form", "multipart", "text", "events", "lines", "opaque"]

_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_PARAMETER = re.compile(r';[ \t]*([\w!#$&^.+-]+)=(?:"([^"\\]*)"|([\w!#$&^.+*\'/:=?-]*))[ \t]*', re.ASCII)
_TEXT = frozenset(
    {"application/xml", "application/javascript", "application/graphql", "application/yaml", "application/sql"}
)
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class MediaType(NamedTuple):
    """`name` in lower case (empty: none was given), the shape it is read as, and the boundary of multipart."""

    name: str
    shape: Shape
    boundary: str = ""


@lru_cache(maxsize=256)
def read_media_type(content_type: str) -> MediaType:
    """Parse a Content-Type field value; ContentError when it is malformed or names a charset that is not UTF-8."""
    value = content_type.strip()
    if not value:
        return MediaType("", "opaque")
    match = _TYPE.match(value)
    if match is None:
        raise ContentError("malformed", "Content-Type is not a media type such as application/json")
    name = match.group().lower()
    parameters: dict[str, str] = {}
    position = match.end()
    rest = value[position:].rstrip(" \t;")
    position = 0
    while position < len(rest):
        parameter = _PARAMETER.match(rest, position)
        if parameter is None or parameter[1].lower() in parameters:
            raise ContentError("malformed", "Content-Type has parameters that are malformed or given twice")
        parameters[parameter[1].lower()] = parameter[2] if parameter[2] is not None else parameter[3]
        position = parameter.end()
    shape = _shape(name)
    if shape != "opaque" and parameters.get("charset", "utf-8").lower() not in _CHARSETS:
        raise ContentError("encoding", "the body's charset must be UTF-8")
    return MediaType(name, shape, parameters.get("boundary", ""))


def _shape(name: str) -> Shape:
    if name == "application/json" or name.endswith("+json"):
        return "json"
    if name == "text/event-stream":
        return "events"
    if name in ("application/x-ndjson", "application/jsonl", "application/json-lines", "application/jsonlines"):
        return "lines"
    if name == "application/x-www-form-urlencoded":
        return "form"
    if name == "multipart/form-data":
        return "multipart"
    if name.startswith("text/") or name.endswith("+xml") or name in _TEXT:
        return "text"
    return "opaque"
