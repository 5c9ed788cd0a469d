"""The names in a client certificate by which it is known: subject alternative names with their type, and the subject.

Names are compared exactly, code point by code point and only within their type: no wildcard, no case folding, no
normalisation. So a look-alike, an embedded NUL or the same text as a name of another type is another name.
"""

from __future__ import annotations

import re
from typing import Literal

from cryptography import x509

SanType = Literal["URI", "DNS", "email", "IP"]
San = tuple[SanType, str]

MOST_SANS = 64
_SAN = re.compile(r"[!-)+-~]{1,2048}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def configured_san(text: str) -> San:
    """The name that a configured text means; raises ValueError with what is wrong.

    What begins with a scheme is a URI (RFC 3986 §3.1), what has an @ an e-mail address, anything else a DNS name: a DNS
    name holds neither a colon nor an @, an e-mail address no colon before its @.
    """
    if not _SAN.fullmatch(text):
        raise ValueError(
            "san must be one whole name in plain ASCII without blanks or *; names are compared exactly, "
            "and an international name is written as xn--…"
        )
    if _SCHEME.match(text):
        return "URI", text
    return ("email" if "@" in text else "DNS"), text


def configured_subject(text: str) -> x509.Name:
    """The subject that a configured text means (RFC 4514: the last part of the name comes first); raises ValueError."""
    try:
        name = x509.Name.from_rfc4514_string(text)
    except ValueError as error:
        raise ValueError("subject must be a whole name such as CN=agent-7,O=Acme (RFC 4514)") from error
    if not list(name):
        raise ValueError("subject must not be empty")
    return name


def sans_of(certificate: x509.Certificate) -> tuple[San, ...]:
    """The URI, DNS, e-mail and IP names in the extension's order; raises ValueError where they are too many."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    sans: list[San] = []
    for name in found:
        match name:
            case x509.UniformResourceIdentifier():
                sans.append(("URI", name.value))
            case x509.DNSName():
                sans.append(("DNS", name.value))
            case x509.RFC822Name():
                sans.append(("email", name.value))
            case x509.IPAddress():
                sans.append(("IP", str(name.value)))
    if len(sans) > MOST_SANS:
        raise ValueError(f"a client certificate has at most {MOST_SANS} names")
    return tuple(sans)
