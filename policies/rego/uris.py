"""`uri.parse`, `uri.is_valid` and the queries of `urlquery.*_object`, as Go's `net/url` has them."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, quote_plus, unquote_to_bytes

from policies.rego.checks import text
from policies.rego.values import urlquery_decode

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9._~-]*|\[[0-9A-Fa-f:]+\])(?::(?P<port>.*))?", re.DOTALL)
_USER: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:-]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_IN_PATH: Final = "$&+,/:;=@~"


class _Invalid(ValueError):
    """What OPA takes for no URL either, with certainty."""


def parse(value: object) -> dict[str, str]:
    """`uri.parse`: the parts that are there; hosts of plain names and addresses only."""
    written = text(value)
    if _CONTROL.search(written) or written.startswith(":"):
        raise _Invalid("not a URL")
    rest, _, fragment = written.partition("#")
    rest, _, query = rest.partition("?")
    scheme = _SCHEME.match(rest)
    found = {"scheme": scheme[1].lower()} if scheme else {}
    rest = rest[scheme.end() :] if scheme else rest
    if not scheme or rest.startswith("/"):
        found |= _hierarchy(rest, bool(scheme))
    return found | {name: part for name, part in (("raw_query", query), ("fragment", _plain(fragment))) if part}


def _hierarchy(rest: str, scheme: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        found = _authority(authority)
        rest = slash + path
    elif ":" in rest.split("/")[0]:
        raise _Invalid("a colon in the first part of a path")
    if rest:
        plain = _plain(rest)
        found |= {"path": plain, "raw_path": plain if quote(plain, safe=_IN_PATH) == rest else rest}
    return found


def _plain(written: str) -> str:
    """A part without its percent signs; what is not UTF-8 then is an error."""
    if _BAD_PERCENT.search(written):
        raise _Invalid("a percent sign without two hexadecimal digits")
    return unquote_to_bytes(written).decode()


def _authority(written: str) -> dict[str, str]:
    user, at, host = written.rpartition("@")
    if re.search(r"[ {}|\\^`]", host):
        raise _Invalid("a character that no host has")
    parts = _HOST.fullmatch(host)
    if parts is None or (at and not _USER.fullmatch(user)):
        raise ValueError("not a host that is read in one way only")
    if re.search("[^0-9]", parts["port"] or ""):
        raise _Invalid("not a port") if ":" not in parts["port"] else ValueError("more than one port")
    name = parts["name"].strip("[]")
    if ":" in name and IPv6Address(name).ipv4_mapped:
        raise ValueError("an IPv4 address written as IPv6")
    return {key: part for key, part in (("hostname", name), ("port", parts["port"])) if part}


def is_valid(value: object) -> bool:
    """`uri.is_valid`: whether a text is a URL and not empty; an error where that is not certain."""
    if type(value) is not str or not value:
        return False
    try:
        parse(value)
    except _Invalid:
        return False
    return True


def query_decode(value: object) -> dict[str, list[str]]:
    """`urlquery.decode_object`, as Go's `url.ParseQuery`: a semicolon is an error."""
    found: dict[str, list[str]] = {}
    for pair in text(value).split("&"):
        if ";" in pair:
            raise ValueError("a semicolon in a query")
        if pair:
            name, _, part = pair.partition("=")
            found.setdefault(urlquery_decode(name), []).append(urlquery_decode(part))
    return found


def query_encode(value: object) -> str:
    """`urlquery.encode_object`: sorted by name; the values are texts, or arrays or sets of texts."""
    if type(value) is not dict:
        raise TypeError("an object is expected")
    pairs = []
    for name in sorted(map(text, value), key=str.encode):
        given = value[name]
        parts = given if isinstance(given, list) else sorted(map(text, given)) if isinstance(given, set) else [given]
        pairs += [f"{quote_plus(name, safe='')}={quote_plus(text(part), safe='')}" for part in parts]
    return "&".join(pairs)
