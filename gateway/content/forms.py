"""Form bodies: application/x-www-form-urlencoded (WHATWG URL §5) and multipart/form-data (RFC 7578).

Both are read strictly into values by name and written again from what was read, so that what Cordon has seen is all
that the upstream gets.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote_plus, unquote_to_bytes

from gateway.content.errors import ContentError
from gateway.content.json_text import Json

FIELDS = 1_000
"""Most fields of a form."""

_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_DISPOSITION = re.compile(r'form-data; ?name="([^"\\\r\n]*)"(?:; ?filename="([^"\\\r\n]*)")?', re.IGNORECASE)
_PART_HEADERS = frozenset({"content-disposition", "content-type", "content-length"})


def utf8(data: bytes) -> str:
    """Text of UTF-8 bytes; ContentError."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ContentError("encoding", "the content is not UTF-8") from error


def read_form(text: str) -> dict[str, Json]:
    """Values by name, in order, of a form body or a query."""
    values: dict[str, Json] = {}
    pieces = [piece for piece in text.split("&") if piece]
    if len(pieces) > FIELDS:
        raise ContentError("too_large", f"the form has more than {FIELDS} fields")
    for piece in pieces:
        name, _, value = piece.partition("=")
        items = values.setdefault(_unescape(name), [])
        assert isinstance(items, list)
        items.append(_unescape(value))
    return values


def _unescape(text: str) -> str:
    if _PERCENT.search(text):
        raise ContentError("malformed", "the form has a % that is not followed by two hexadecimal digits")
    return utf8(unquote_to_bytes(text.replace("+", " ")))


def write_form(values: Json) -> str:
    """The form body or query with these values."""
    assert isinstance(values, dict)
    pairs: list[str] = []
    for name, items in values.items():
        assert isinstance(items, list)
        pairs += [f"{quote_plus(name)}={quote_plus(str(item))}" for item in items]
    return "&".join(pairs)


class Part(NamedTuple):
    """One part of a multipart body; `raw` is set when it is no text, `place` is its index among parts of its name."""

    name: str
    place: int
    filename: str | None
    content_type: str
    raw: bytes | None


class Multipart(NamedTuple):
    """A multipart body: its parts in order, and the texts by name (a text, or filename and text of a file)."""

    boundary: str
    parts: list[Part]
    values: dict[str, Json]

    @property
    def unreadable(self) -> list[tuple[str, int]]:
        """Name and index of each part that is no text."""
        return [(part.name, part.place) for part in self.parts if part.raw is not None]


def read_multipart(body: bytes, boundary: str) -> Multipart:
    """Read a multipart/form-data body; ContentError where another reader might see other parts."""
    if not _BOUNDARY.fullmatch(boundary):
        raise ContentError("malformed", "the multipart boundary is missing or not as RFC 2046 has it")
    mark = b"--" + boundary.encode()
    if not body.startswith(mark + b"\r\n"):
        raise ContentError("malformed", "the multipart body does not begin with its boundary")
    sections = (b"\r\n" + body).split(b"\r\n" + mark)
    if sections[-1] not in (b"--", b"--\r\n"):
        raise ContentError("truncated", "the multipart body has no closing boundary, or something after it")
    if len(sections) - 2 > FIELDS:
        raise ContentError("too_large", f"the form has more than {FIELDS} parts")
    result = Multipart(boundary, [], {})
    for section in sections[1:-1]:
        if not section.startswith(b"\r\n"):
            raise ContentError("malformed", "a multipart boundary is not followed by a line end")
        _read_part(section[2:], result)
    return result


def _read_part(section: bytes, result: Multipart) -> None:
    head, found, content = section.partition(b"\r\n\r\n")
    if not found:
        raise ContentError("malformed", "a part of the form has no header")
    headers: dict[str, str] = {}
    for line in head.split(b"\r\n"):
        name, colon, value = utf8(line).partition(":")
        key = name.lower()
        if not colon or key not in _PART_HEADERS or key in headers:
            raise ContentError("malformed", "a part of the form has a header other than disposition, type and length")
        headers[key] = value.strip()
    disposition = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if disposition is None:
        raise ContentError("malformed", "a part of the form has no plain name")
    name, filename, content_type = disposition[1], disposition[2], headers.get("content-type", "")
    items = result.values.setdefault(name, [])
    assert isinstance(items, list)
    text: Json
    raw: bytes | None = None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text, raw = "", content
    if raw is None and "\x00" in str(text):
        text, raw = "", content
    items.append(text if filename is None else {"filename": filename, "content": text})
    result.parts.append(Part(name, len(items) - 1, filename, content_type, raw))


def write_multipart(form: Multipart, values: Json) -> bytes:
    """The body with the texts in `values`, which has the shape of `form.values` (names may have changed)."""
    assert isinstance(values, dict)
    renamed = dict(zip(form.values, values, strict=True))
    lines: list[bytes] = []
    for part in form.parts:
        name = renamed[part.name]
        items = values[name]
        assert isinstance(items, list)
        item = items[part.place]
        head = f'--{form.boundary}\r\nContent-Disposition: form-data; name="{_quotable(name)}"'
        content = item
        if isinstance(item, dict):
            filename, content = list(item.values())
            head += f'; filename="{_quotable(str(filename))}"'
        if part.content_type:
            head += f"\r\nContent-Type: {part.content_type}"
        data = part.raw if part.raw is not None else str(content).encode()
        lines.append(head.encode() + b"\r\n\r\n" + data + b"\r\n")
    lines.append(f"--{form.boundary}--\r\n".encode())
    return b"".join(lines)


def _quotable(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
