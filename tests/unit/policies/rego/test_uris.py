"""URLs and queries: the examples of RFC 3986, 1.1.2, and queries there and back."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rego.uris import is_valid, parse, query_decode, query_encode


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        (
            "ftp://ftp.is.co.za/rfc/rfc1808.txt",
            {"scheme": "ftp", "hostname": "ftp.is.co.za", "path": "/rfc/rfc1808.txt"},
        ),
        (
            "ldap://[2001:db8::7]/c=GB?one",
            {"scheme": "ldap", "hostname": "2001:db8::7", "path": "/c=GB", "raw_query": "one"},
        ),
        ("telnet://192.0.2.16:80/", {"scheme": "telnet", "hostname": "192.0.2.16", "port": "80", "path": "/"}),
        ("mailto:John.Doe@example.com", {"scheme": "mailto"}),
    ],
)
def test_the_parts_of_a_url(written: str, parts: dict[str, str]) -> None:
    found = parse(written)
    assert {name: found.get(name) for name in parts} == parts
    assert is_valid(written)


@pytest.mark.parametrize("written", ["", ":x", "http://h/%zz", "http://h:port/", "a b:c/d"])
def test_what_is_certainly_no_url(written: str) -> None:
    assert not is_valid(written)


@pytest.mark.parametrize("written", ["http://é.example/", "http://[::ffff:1.2.3.4]/", "http://h:1:2/"])
def test_what_may_be_read_in_two_ways_is_an_error(written: str) -> None:
    with pytest.raises(ValueError, match=r"host|IPv4|port"):
        is_valid(written)


@given(st.dictionaries(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1, max_size=3), max_size=4))
def test_a_query_comes_back_as_it_was(values: dict[str, list[str]]) -> None:
    try:
        written = query_encode(values)
    except UnicodeEncodeError:
        return
    assert query_decode(written) == values == parse_qs(written, strict_parsing=bool(values))
    assert written == urlencode(sorted(values.items(), key=lambda pair: pair[0].encode()), doseq=True)
