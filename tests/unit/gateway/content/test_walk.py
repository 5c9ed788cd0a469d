"""Every text of a JSON value is looked at, wherever it hides, and changed where it stands."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.errors import ContentError
from gateway.content.guard import guard
from gateway.content.json_text import DEPTH, Json
from gateway.content.patterns import PatternScanner
from gateway.content.redact import Redactor
from gateway.content.scanner import NAME, WALL, Match
from gateway.content.walk import Finding, Texts, pointer, put, replace
from tests.support.content import KEY, MASK_ALL

SCANNER = PatternScanner()
MAIL = "a@b.org"


def places(value: Any) -> list[tuple[str, str, bool]]:
    return sorted((pointer(f.path), f.match.type, f.in_key) for f in Texts(value).scan(SCANNER))


def masked(value: Any) -> Any:
    copy = json.loads(json.dumps(value))
    return replace(copy, Texts(copy).scan(SCANNER), Redactor(MASK_ALL, KEY))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (MAIL, [("", "email", False)]),
        ([[MAIL]], [("/0/0", "email", False)]),
        (
            {"role": MAIL, "type": MAIL, "id": MAIL},
            [("/id", "email", False), ("/role", "email", False), ("/type", "email", False)],
        ),
        ({"a/b~c": {"x": MAIL}}, [("/a~1b~0c/x", "email", False)]),
        ({MAIL: 1}, [("/a@b.org", "email", True)]),
        ({MAIL: {"x": None}}, [("/a@b.org", "email", True)]),
        ({MAIL: "x"}, [("/a@b.org", "email", True)]),
        ({"card": 4111111111111111}, [("/card", "payment_card", False)]),
        ({"card": 4111111111111111.0}, [("/card", "payment_card", False)]),
        ([4111111111111111], [("/0", "payment_card", False)]),
        ({"phone": 5551234567}, [("/phone", "phone", False)]),
        ({"phones": ["5551234567"], "tel": [5551234567]}, [("/phones/0", "phone", False), ("/tel/0", "phone", False)]),
        ({"created": 5551234567}, []),
        ({"message_id": 5551234567, "call_id": 5551234567, "text_offset": 5551234, "callback": 5551234567}, []),
        ({"contact_phone": 5551234567}, [("/contact_phone", "phone", False)]),
        ({"phoneNumber": "5551234567"}, [("/phoneNumber", "phone", False)]),
        ({"user_ssn": "123456789"}, [("/user_ssn", "us_ssn", False)]),
        ({"ssn": 123456789}, [("/ssn", "us_ssn", False)]),
        ({"password": "hunter2hunter3"}, [("/password", "api_key", False)]),
        ({"description": "hunter2hunter3"}, []),
        ({"a": "4111 1111", "b": "1111 1111"}, []),
        ({"a": [True, False, None, 0, 1.5, ""]}, []),
        (None, []),
        (True, []),
    ],
)
def test_texts_names_and_numbers_are_looked_at(value: Any, expected: list[tuple[str, str, bool]]) -> None:
    assert places(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (MAIL, "[EMAIL]"),
        ({"x": [f"to {MAIL}!"]}, {"x": ["to [EMAIL]!"]}),
        ({MAIL: 1, "x": 2}, {"[EMAIL]": 1, "x": 2}),
        ({MAIL: {MAIL: MAIL}}, {"[EMAIL]": {"[EMAIL]": "[EMAIL]"}}),
        ({MAIL: 1, "c@d.org": 2, "[EMAIL]": 3}, {"[EMAIL]_2": 1, "[EMAIL]_3": 2, "[EMAIL]": 3}),
        ({"n": 4111111111111111}, {"n": "[PAYMENT_CARD]"}),
        ({"n": -4111111111111111}, {"n": "-[PAYMENT_CARD]"}),
        ({"arguments": '{"n":4111111111111111}'}, {"arguments": '{"n":"[PAYMENT_CARD]"}'}),
        ({"partial_json": '{"n":"a\\u0040b.org"}'}, {"partial_json": '{"n":"[EMAIL]"}'}),
        ({"content": '{"n":"a\\u0040b.org"}'}, {"content": '{"n":"[EMAIL]"}'}),
    ],
)
def test_findings_are_replaced_in_place(value: Any, expected: Any) -> None:
    assert masked(value) == expected
    assert not isinstance(value, dict) or list(masked(value)) == list(expected)


def test_the_order_of_names_is_kept() -> None:
    assert list(masked({"z": 1, MAIL: 2, "a": 3})) == ["z", "[EMAIL]", "a"]


BASE64 = "QUJD" * 40


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"source": {"type": "base64", "media_type": "image/png", "data": BASE64}}, ["/source/data"]),
        ({"image_url": {"url": f"data:image/png;base64,{BASE64}"}}, ["/image_url/url"]),
        ({"any": f"data:application/pdf;base64,{BASE64}"}, ["/any"]),
        ({"signature": BASE64}, ["/signature"]),
        ({"signature": "short"}, ["/signature"]),
        ({"encrypted_content": BASE64}, ["/encrypted_content"]),
        ({"type": "redacted_thinking", "data": BASE64}, ["/data"]),
        ({"input_audio": {"data": BASE64, "format": "wav"}}, ["/input_audio/data"]),
        ({"data": "plain text"}, []),
        ({"url": "https://example.com/image.png"}, []),
        ({"signature": ""}, []),
        ({"content": BASE64}, []),
        ({"result": BASE64 * 4}, ["/result"]),
        ({"result": BASE64}, []),
        ({"result": "word " * 400}, []),
        ({"result": f"data:image/png;base64,{BASE64}"}, ["/result"]),
        ({"embedding": f"data:image/png;base64,{BASE64}"}, ["/embedding"]),
    ],
)
def test_what_cannot_be_read_is_told(value: Any, where: list[str]) -> None:
    assert [pointer(path) for path in Texts(value).unreadable] == where


def test_an_embedding_is_no_text_unless_it_is_one() -> None:
    vector = base64.b64encode(struct.pack("<40f", *[0.125 * number for number in range(-20, 20)])).decode()
    assert Texts({"data": [{"embedding": vector}]}).scan(SCANNER) == []
    assert places({"embedding": MAIL}) == [("/embedding", "email", False)]


@pytest.mark.parametrize("name", ["data", "signature", "url", "encrypted_content", "result"])
def test_text_in_a_field_for_encoded_media_is_read(name: str) -> None:
    assert places({name: f"not encoded: {MAIL}"}) == [(f"/{name}", "email", False)]


def test_reserved_characters_neither_hide_a_finding_nor_move_another() -> None:
    value = {"x": f"41{WALL}11 1111 1111 1111", "y": f"a{NAME}@b.org", f"k{WALL}": MAIL, f"q{NAME}z": [f"{NAME}{MAIL}"]}
    assert places(value) == [
        (f"/k{WALL}", "email", False),
        (f"/q{NAME}z/0", "email", False),
        ("/x", "payment_card", False),
        ("/y", "email", False),
    ]
    assert masked(value)[f"k{WALL}"] == "[EMAIL]"


def test_nesting_is_bounded() -> None:
    value: Any = "x"
    for _ in range(DEPTH + 2):
        value = [value]
    with pytest.raises(ContentError) as error:
        Texts(value)
    assert error.value.code == "too_deep"


def test_another_value_can_be_put_in_a_place() -> None:
    value = {"a": [{"b": "x"}]}
    put(value, (((None, "a"), 0), "b"), "y")
    assert value == {"a": [{"b": "y"}]}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=8)
    | st.sampled_from([MAIL, "4111 1111 1111 1111", "x\x1fy", "\x1d"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from([MAIL, "arguments", "data"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_nothing_that_is_masked_is_left_and_nothing_else_changes(value: Any) -> None:
    before = json.dumps(value)
    after = masked(value)
    found = Texts(value).scan(SCANNER)
    assert json.dumps(value) == before
    assert (after == value) == (not found)
    assert MAIL not in json.dumps(after)
    assert len(json.dumps(after)) > 0


@pytest.mark.parametrize("value", ["x", True, 5, "", {"a": 1}, ["a"]])
def test_a_blocked_pattern_is_found_in_names_whatever_they_stand_before(value: Json) -> None:
    """The arguments of a tool call are names too, and in a stream they are one text with the values."""
    texts = Texts({"content": [{"type": "tool_use", "input": {"project nightfall": value}}]})
    assert [finding.in_key for finding in texts.blocked(guard((("night", "nightfall"),)))] == [True]


def test_a_blocked_pattern_is_not_looked_for_in_the_names_that_a_vendor_gives() -> None:
    texts = Texts({"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}], "status": "completed"})
    assert texts.blocked(guard((("word", "thinking|signature|status|content"),))) == [
        Finding(((((None, "content"), 0), "type")), False, Match("blocked_pattern:word", 0, 8, 100))
    ]


def test_the_sign_between_names_and_values_hides_nothing_beside_names_that_stand_alone() -> None:
    """They have none of these signs, and one in a text must not pass for theirs."""
    alone = {"yes": True, "no": False, "more": {}}
    (finding,) = Texts({"text": f"password: {NAME}hunter2-Xy77-Qq91"} | alone).scan(SCANNER)
    assert finding.match.type == "api_key"
    (finding,) = Texts({f"a{NAME}b@c.org": "x"} | alone).scan(SCANNER)
    assert finding.in_key
