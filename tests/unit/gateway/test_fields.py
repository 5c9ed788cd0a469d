"""Field lines: the one table for names, bounded memory of lines, and no header injection."""

from __future__ import annotations

import pytest

from gateway.errors import FramingError
from gateway.fields import FieldTable, check_bytes, parse_length, split_head, write_fields


def table() -> FieldTable:
    return FieldTable({b"host": 1}, prefix=(b"x-cordon-", 2), underscores=False)


def test_fields_with_a_role_are_set_apart() -> None:
    plain, special = table().read([b"Host: a", b"Accept: b", b"X-CORDON-Key: c", b"X-Other: d"])
    assert plain == [(b"accept", b"b"), (b"x-other", b"d")]
    assert special == [(1, (b"host", b"a")), (2, (b"x-cordon-key", b"c"))]


@pytest.mark.parametrize("name", [b"Content-Type", b"content-type", b"CONTENT-TYPE", b"cOnTeNt-TyPe"])
def test_any_spelling_of_a_name_is_the_same_name(name: bytes) -> None:
    assert table().read([name + b": x"])[0] == [(b"content-type", b"x")]


def test_a_known_name_without_a_colon_is_refused() -> None:
    fields = table()
    fields.read([b"Accept: x"])
    with pytest.raises(FramingError):
        fields.read([b"Accept"])


def test_remembered_lines_are_bounded() -> None:
    fields = table()
    for number in range(5_000):
        assert fields.read([b"Accept: %d" % number])[0] == [(b"accept", b"%d" % number)]
    assert len(fields._lines) <= 512


def test_credentials_and_long_lines_are_not_remembered() -> None:
    fields = table()
    fields.read([b"Authorization: Bearer x", b"X-Api-Key: x", b"Cookie: x", b"X-Cordon-Key: x", b"X-Unknown: x"])
    fields.read([b"Accept: " + b"a" * 200])
    assert fields._lines == {}


def test_underscores_are_refused_only_where_the_table_says_so() -> None:
    assert FieldTable({}).read([b"a_b: 1"])[0] == [(b"a_b", b"1")]
    with pytest.raises(FramingError):
        table().read([b"a_b: 1"])


def test_a_head_is_split_into_lines() -> None:
    assert split_head(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2") == [b"GET / HTTP/1.1", b"A: 1", b"B: 2"]


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        (b"a\nb", "bare_lf"),
        (b"a\rb", "bare_cr"),
        (b"a\r\r\nb", "bare_cr"),
        (b"a\r\n\nb", "bare_lf"),
        (b"\n", "bare_lf"),
        (b"\r", "bare_cr"),
        (b"a\0b\n", "control_byte"),
        (b"a\x1fb", "control_byte"),
        (b"a\x0bb", "control_byte"),
        (b"a\x7fb", "control_byte"),
    ],
)
def test_the_first_byte_that_is_amiss_is_named(piece: bytes, code: str) -> None:
    with pytest.raises(FramingError) as refusal:
        check_bytes(piece)
    assert refusal.value.code == code
    with pytest.raises(FramingError) as refusal:
        split_head(b"first\r\n" + piece + b"\r\nlast")
    assert refusal.value.code == code


def test_tabs_and_bytes_beyond_ascii_may_stand_in_values() -> None:
    check_bytes(b"A: \t\xff\r\nB: ~")


@pytest.mark.parametrize(
    "field", [(b"a", b"1\r\nb: 2"), (b"a\r\nb", b"1"), (b"a", b"1\n"), (b"a", b"\r"), (b"a", b"\0")]
)
def test_no_field_can_add_a_line_to_what_is_sent(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line end"):
        write_fields([(b"x", b"y"), field])
    with pytest.raises(ValueError, match="line end"):
        write_fields([field])


def test_fields_are_written_one_a_line() -> None:
    assert write_fields([]) == b""
    assert write_fields([(b"a", b"1"), (b"b", b"")]) == b"a: 1\r\nb: \r\n"


def test_lengths_are_digits() -> None:
    assert parse_length(b"0") == 0
    assert parse_length(b"007") == 7
    for wrong in (b"", b" 1", b"+1", b"1e3", b"0x1", b"1_0", b"9" * 19, "²".encode()):
        with pytest.raises(FramingError):
            parse_length(wrong)
