"""What the scanner finds, what it leaves, and what disguises do not hide."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.patterns import TYPES, PatternScanner
from gateway.content.scanner import WALL
from tests.support.content import MAKERS, filler, private_key

SCANNER = PatternScanner()
KEY = "sk-" + "proj-" + "Ab3dEf6hIj9lMn2pQr5tUv8x"


def found(text: str) -> list[tuple[str, str]]:
    return [(match.type, text[match.start : match.end]) for match in SCANNER.scan(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to john.doe+x@mail.example.co.uk.", [("email", "john.doe+x@mail.example.co.uk")]),
        ("@@ a@b.org, <c_d@e-f.com>;", [("email", "a@b.org"), ("email", "c_d@e-f.com")]),
        ("mailto:x@y.io?subject=z", [("email", "x@y.io")]),
        ("card 4111111111111111!", [("payment_card", "4111111111111111")]),
        ("4111 1111 1111 1111 or", [("payment_card", "4111 1111 1111 1111")]),
        ("4111-1111-1111-1111, or", [("payment_card", "4111-1111-1111-1111")]),
        ("amex 3782 822463 10005", [("payment_card", "3782 822463 10005")]),
        ("IBAN DE89 3704 0044 0532 0130 00.", [("iban", "DE89 3704 0044 0532 0130 00")]),
        ("de89370400440532013000", [("iban", "de89370400440532013000")]),
        ("GB82-WEST-1234-5698-7654-32", [("iban", "GB82-WEST-1234-5698-7654-32")]),
        ("GB82 order DE89370400440532013000", [("iban", "DE89370400440532013000")]),
        ("my ssn: 123-45-6789", [("us_ssn", "123-45-6789")]),
        ("SSN 123456789", [("us_ssn", "123456789")]),
        ("from 192.168.1.254 to", [("ip_address", "192.168.1.254")]),
        ("to 2001:db8:0:0:0:0:2:1", [("ip_address", "2001:db8:0:0:0:0:2:1")]),
        ("fe80::1ff:fe23:4567:890a", [("ip_address", "fe80::1ff:fe23:4567:890a")]),
        ("call +1 (555) 123-4567 now", [("phone", "+1 (555) 123-4567")]),
        ("tel. 030 901820", [("phone", "030 901820")]),
        ("555-123-4567 x123", [("phone", "555-123-4567 x123")]),
        (f"use {KEY} here", [("api_key", KEY)]),
    ],
)  # fmt: skip
def test_each_type_is_found_at_its_place(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no@sign, user@localhost, a@b, @handle, x @ y.com",
        "4111111111111112 is not a card, nor is 1234567812345670",
        "0.4111111111111111 and 13.4111111111111111",
        "GB82WEST12345698765433",
        "000-12-3456, 666-12-3456, 123-00-4567, 123456789",
        "999.1.1.1, 1.2.3.4.5, v1.2.3, python-3.4.2.4, 10:30:45, a::b",
        "2024-05-12, 12.05.2024, 1 000 000 000, 20240512123000, 1747148050",
        "order 5551234567 shipped, total 10 000 000",
        "the token limit is 4096 tokens; password: changeme; secret = value",
        "sk-short, AKIA123, eyJhbGci, ghp_",
        "claude-haiku-4-5-20251001, gpt-4o-2024-08-06, toolu_01A09q90qw90lq917835lq9",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_only_looks_alike_is_left(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ｊｏｈｎ＠ｅｘａｍｐｌｅ.com", "email"),
        ("john\u200b@\u200bexample.com", "email"),
        ("john\\u0040example.com", "email"),
        ("john%40example.com", "email"),
        ("john&#64;example.com", "email"),
        ("john﹫example․com", "email"),
        ("jоhn@example.com", "email"),  # the second letter is Cyrillic
        ("４１１１ １１１１ １１１１ １１１１", "payment_card"),
        ("4111–1111–1111–1111", "payment_card"),
        ("4111\u00a01111\u20091111\u202f1111", "payment_card"),
        ("4\u200c1\u200c1\u200c1\u200c1111\u00ad11111111", "payment_card"),
        ("4111\x001111\x0811111111", "payment_card"),
        ("4111.1111.1111.1111", "payment_card"),
        ("41 11 11 11 11 11 11 11", "payment_card"),
        ("no4111111111111111", "payment_card"),
        ("4111111111111111EUR", "payment_card"),
        ("٤١١١١١١١١١١١١١١١", "payment_card"),
        ("𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏", "payment_card"),
        ("1 2 3 4 5 6 4111 1111 1111 1111 7", "payment_card"),
        ("4111 1111 1111 1111 555-123-4567", "phone"),
        ("DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "iban"),
        ("123\u201145\u20116789", "us_ssn"),
        ("+\u200b1 (555) 123–4567", "phone"),
        ("１９２．１６８．１．１", "ip_address"),
        (f"{KEY[:5]}\u200b{KEY[5:]}", "api_key"),
        ("pass\u00adword = hunter2hunter3x", "api_key"),
    ],
)  # fmt: skip
def test_simple_disguises_do_not_hide_a_finding(text: str, kind: str) -> None:
    assert kind in [match.type for match in SCANNER.scan(text)]


def test_the_disguise_is_a_part_of_the_finding() -> None:
    assert found("to jo\u200bhn\\u0040x.org now") == [("email", "jo\u200bhn\\u0040x.org")]


def test_a_wall_is_crossed_by_no_finding_and_no_context() -> None:
    assert found(f"4111 1111{WALL}1111 1111") == []
    assert found(f"john{WALL}@example.com") == []
    assert found(f"ssn {WALL} 123456789") == []
    assert found(f"a@b.org{WALL}c@d.org") == [("email", "a@b.org"), ("email", "c@d.org")]


def test_findings_before_the_start_are_only_context() -> None:
    text = "a@b.org ssn 123456789"
    assert [match.type for match in SCANNER.scan(text, 8)] == ["us_ssn"]
    assert [match.type for match in SCANNER.scan(text, 12)] == ["us_ssn"]
    assert SCANNER.scan(text, 14) == []
    disguised = "a@b.org \u200bssn 123456789"
    assert [match.type for match in SCANNER.scan(disguised, 8)] == ["us_ssn"]


@given(st.text(alphabet="abcXYZéß ,.;!?'()\n", max_size=63))
def test_words_that_are_not_looked_at_closely_have_no_finding(text: str) -> None:
    assert SCANNER.scan(text) == SCANNER.scan(text + " " * 64) == []


def test_findings_come_in_order_and_do_not_overlap() -> None:
    rng = random.Random(5)
    for _ in range(80):
        text = "".join(maker(rng) + rng.choice([" ", ",", ""]) for maker in rng.choices(list(MAKERS.values()), k=6))
        position = 0
        for match in SCANNER.scan(text):
            assert position <= match.start < match.end <= len(text)
            assert match.type in TYPES and 0 < match.confidence <= 100
            position = match.end


def test_generated_findings_of_every_type_are_found_whole() -> None:
    rng = random.Random(7)
    for kind, maker in MAKERS.items():
        if kind == "assignment":
            continue
        for _ in range(100):
            value = maker(rng)
            assert (kind, value) in found(f"here: {value}, thanks"), value


def test_a_private_key_is_found_whole() -> None:
    text = private_key(random.Random(1))
    assert found(f"key:\n{text}\nend") == [("api_key", text)]
    escaped = text.replace("\n", "\\n")
    assert found(f'"{escaped}"') == [("api_key", escaped)]


def test_most_text_without_findings_stays_without() -> None:
    rng = random.Random(3)
    wrong = sum(bool(SCANNER.scan(filler(rng, 40))) for _ in range(200))
    assert wrong <= 4


@pytest.mark.parametrize(
    "text",
    [
        "1 " * 60_000,
        "1" * 120_000,
        "a@" * 60_000,
        "eyJ" * 40_000,
        "-eyJ-" * 24_000,
        "token=" * 20_000,
        "a:" * 60_000,
        "1.1." * 30_000,
        "DE12" * 30_000,
        "-----BEGIN PRIVATE KEY-----" * 4_000,
        "\\u0040" * 20_000,
        "\u200b" * 120_000,
        "%40" * 40_000,
        "+(" * 60_000,
        "(555) " * 20_000,
    ],
)
def test_hostile_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    def cost(part: str) -> float:
        began = time.process_time()
        SCANNER.scan(part)
        return time.process_time() - began

    SCANNER.scan(text[:1000])
    assert cost(text) < max(0.5, 40 * cost(text[: len(text) // 10]))
