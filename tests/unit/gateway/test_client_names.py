"""A name in a certificate is this text of this type, or another name."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from gateway.client_names import MOST_SANS, configured_san, configured_subject, sans_of
from tests.support.certificates import Authority

AUTHORITY = Authority()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("spiffe://acme/agent-7", "URI"),
        ("urn:uuid:0", "URI"),
        ("mailto:a@acme.example", "URI"),
        ("a@acme.example", "email"),
        ("agent.acme.example", "DNS"),
        ("agent", "DNS"),
    ],
)
def test_the_text_says_which_type_of_name_is_meant(text: str, kind: str) -> None:
    assert configured_san(text) == (kind, text)


@pytest.mark.parametrize("text", ["*.acme.example", "a b", "a\0", "agent\n", "b\u0430d.example", "", "x" * 2_049])
def test_what_could_mean_more_or_other_than_it_says_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one whole name"):
        configured_san(text)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=1, max_size=60))
def test_a_configured_name_is_found_in_a_certificate_only_as_its_own_type(text: str) -> None:
    name = configured_san(text)
    made: dict[str, x509.GeneralName] = {
        "URI": x509.UniformResourceIdentifier(text),
        "DNS": x509.DNSName(text),
        "email": x509.RFC822Name._init_without_validation(text),
    }
    for kind, general in made.items():
        assert (sans_of(AUTHORITY.issue(general).certificate) == (name,)) == (kind == name[0])


@pytest.mark.parametrize("text", ["agent-7", "CN", "CN=a,,O=b", "=x", ""])
def test_a_subject_that_is_no_whole_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="subject must"):
        configured_subject(text)


def test_a_subject_is_the_same_whatever_the_blanks_escapes_and_text_types() -> None:
    assert configured_subject(r"CN=agent\2D7,O=Acme") == configured_subject("CN=agent-7,O=Acme")
    assert configured_subject("O=Acme,CN=agent-7") != configured_subject("CN=agent-7,O=Acme")


def test_too_many_names_are_not_read() -> None:
    many = [x509.DNSName(f"n{number}.example") for number in range(MOST_SANS + 1)]
    assert len(sans_of(AUTHORITY.issue(*many[1:]).certificate)) == MOST_SANS
    with pytest.raises(ValueError, match="at most"):
        sans_of(AUTHORITY.issue(*many).certificate)
