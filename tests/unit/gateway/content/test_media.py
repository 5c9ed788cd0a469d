"""Media types are read strictly."""

from __future__ import annotations

import pytest

from gateway.content.errors import ContentError
from gateway.content.media import read_media_type


@pytest.mark.parametrize(
    ("value", "name", "shape"),
    [
        ("application/json", "application/json", "json"),
        ("Application/JSON; charset=UTF-8", "application/json", "json"),
        ("application/problem+json", "application/problem+json", "json"),
        ("text/event-stream; charset=utf-8", "text/event-stream", "events"),
        ("application/x-ndjson", "application/x-ndjson", "lines"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded", "form"),
        ('text/plain;charset="us-ascii"', "text/plain", "text"),
        ("text/html", "text/html", "text"),
        ("image/svg+xml", "image/svg+xml", "text"),
        ("application/octet-stream", "application/octet-stream", "opaque"),
        ("image/png; charset=binary", "image/png", "opaque"),
        ("", "", "opaque"),
        ("  application/json ; ", "application/json", "json"),
    ],
)
def test_types_are_told(value: str, name: str, shape: str) -> None:
    media = read_media_type(value)
    assert (media.name, media.shape) == (name, shape)


def test_the_boundary_is_kept() -> None:
    assert read_media_type('multipart/form-data; boundary="a b"').boundary == "a b"
    assert read_media_type("multipart/form-data; boundary=----x1").boundary == "----x1"


@pytest.mark.parametrize(
    "value",
    [
        "json",
        "application/json, text/plain",
        "application/json charset=utf-8",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json; Charset=utf-8; charset=utf-8",
        'application/json; charset="utf-8',
        "text/plain; charset=iso-8859-1",
        "text/plain; =x",
        "/",
    ],
)
def test_what_is_malformed_or_no_utf8_is_refused(value: str) -> None:
    with pytest.raises(ContentError):
        read_media_type(value)
