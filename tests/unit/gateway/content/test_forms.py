"""Forms are read into values, and written again from them."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.errors import ContentError
from gateway.content.forms import FIELDS, read_form, read_multipart, write_form, write_multipart


def test_a_form_is_values_by_name() -> None:
    assert read_form("a=1&b=x+y&a=%40&c&=d") == {"a": ["1", "@"], "b": ["x y"], "c": [""], "": ["d"]}
    assert read_form("") == {}
    assert read_form("&&a=1&") == {"a": ["1"]}


@given(st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=8), min_size=1, max_size=3), max_size=5))
def test_what_is_written_reads_the_same_here_and_elsewhere(values: dict[str, list[str]]) -> None:
    text = write_form(values)
    assert read_form(text) == values
    pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    assert pairs == [(name, value) for name, items in values.items() for value in items]


@pytest.mark.parametrize(
    "text", ["a=%", "a=%4", "a=%zz", "a=%ff", "%E2%82=x", "&".join(f"a{n}=1" for n in range(FIELDS + 1))]
)
def test_a_form_that_is_not_exact_is_refused(text: str) -> None:
    with pytest.raises(ContentError):
        read_form(text)


PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nhello\r\n'
HEAD = b'--x\r\nContent-Disposition: form-data; name="f"; filename='
FILE = HEAD + b'"n.txt"\r\nContent-Type: text/plain\r\n\r\nline\r\nline\r\n'
BLOB = HEAD + b'"n.bin"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x00\r\n'


def test_a_multipart_body_is_read_and_written() -> None:
    body = PART + FILE + BLOB + PART + b"--x--\r\n"
    form = read_multipart(body, "x")
    assert form.values == {
        "a": ["hello", "hello"],
        "f": [{"filename": "n.txt", "content": "line\r\nline"}, {"filename": "n.bin", "content": ""}],
    }
    assert form.unreadable == [("f", 1)]
    assert read_multipart(write_multipart(form, form.values), "x") == form


def test_changed_texts_and_names_are_written() -> None:
    form = read_multipart(PART + FILE + b"--x--", "x")
    changed = {"b": ["[EMAIL]"], "f": [{"filename": 'q"\r\n.txt', "content": "new"}]}
    body = write_multipart(form, changed)
    assert b'name="b"\r\n\r\n[EMAIL]\r\n' in body
    assert b'filename="q%22%0D%0A.txt"\r\nContent-Type: text/plain\r\n\r\nnew\r\n' in body


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (PART, "x"),
        (PART + b"--x--\r\nmore", "x"),
        (b"preamble\r\n" + PART + b"--x--", "x"),
        (PART + b"--x \r\n\r\n--x--", "x"),
        (PART + b"--xy\r\n--x--", "x"),
        (PART + b"--x--", ""),
        (PART + b"--x--", "x" * 71),
        (PART + b"--x--", 'x"'),
        (b"--x\r\n\r\nhello\r\n--x--", "x"),
        (b"--x\r\nhello\r\n--x--", "x"),
        (PART.replace(b'name="a"', b"name=a") + b"--x--", "x"),
        (PART.replace(b'name="a"', b'name="a\\"b"') + b"--x--", "x"),
        (PART.replace(b'name="a"', b'name="a"; name="b"') + b"--x--", "x"),
        (PART.replace(b'name="a"', b"name*=utf-8''a") + b"--x--", "x"),
        (PART.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + b"--x--", "x"),
        (PART.replace(b"\r\n\r\n", b'\r\ncontent-disposition: form-data; name="b"\r\n\r\n') + b"--x--", "x"),
        (PART.replace(b"Content-Disposition", b"Content-\xff") + b"--x--", "x"),
        (PART * (FIELDS + 1) + b"--x--", "x"),
    ],
)
def test_a_multipart_body_that_could_be_read_differently_is_refused(body: bytes, boundary: str) -> None:
    with pytest.raises(ContentError):
        read_multipart(body, boundary)
