"""One form of host and path: what policy sees is what is forwarded.

Whatever two readers could take differently is refused, not repaired: encoded slashes, encoded dot segments, double
encoding, empty segments, dot segments behind path parameters, text that turns into a separator under Unicode
compatibility folding. What has exactly one reading is brought into RFC 3986 §6.2.2 form.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from gateway.errors import FramingError

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PATH = _UNRESERVED + b"!$&'()*+,;=:@/"
_QUERY = _PATH + b"?"
_QUERY_TOLERATED = b'[]{}|^`"<>\\'
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/]+)(?::([1-9][0-9]{0,4}))?")


def normalise_target(raw: bytes) -> tuple[str, str, bytes]:
    """Path (decoded), query (canonical text) and canonical target of an origin-form target (RFC 9112 §3.2.1).

    The canonical target keeps reserved characters as they came (`;` and `%3B` are not the same), decodes what need not
    be encoded and writes escapes in upper case. Raises FramingError (400).
    """
    raw_path, mark, raw_query = raw.partition(b"?")
    if not raw_path.startswith(b"/"):
        raise _refused("target", "the request target must be a path that begins with '/'")
    if not raw_path.translate(None, _PATH) and b"//" not in raw_path and b"/." not in raw_path:
        path, target = raw_path.decode("ascii"), raw_path
    else:
        path, target = _normalise_path(raw_path)
    if not mark:
        return path, "", target
    query = raw_query if not raw_query.translate(None, _QUERY) else _normalise_query(raw_query)
    return path, query.decode("ascii"), target + b"?" + query


def _normalise_path(raw: bytes) -> tuple[str, bytes]:
    if raw.translate(None, _PATH + b"%"):
        raise _refused("path", "the path has a character that must be percent-encoded")
    _check_escapes(raw)
    segments: list[tuple[str, bytes]] = []
    parts = raw[1:].split(b"/")
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        text = _segment_text(part)
        if text in {".", ".."}:
            if text == "..":
                if not segments:
                    raise _refused("dot_segments", "the path climbs above its root")
                segments.pop()
            if is_last:
                segments.append(("", b""))
        elif not part and not is_last:
            raise _refused("empty_segment", "the path has an empty segment ('//'); check the client's base URL")
        else:
            segments.append((text, _ESCAPE.sub(_canonical_escape, part)))
    return "/" + "/".join(text for text, _ in segments), b"/" + b"/".join(part for _, part in segments)


def _segment_text(part: bytes) -> str:
    """One path segment decoded, or the refusal of whatever a second reader could read differently."""
    if b"%" not in part:
        text = part.decode("ascii")
    else:
        decoded = unquote_to_bytes(part)
        if _ESCAPE.search(decoded):
            raise _refused("double_encoding", "the path is percent-encoded twice")
        try:
            text = decoded.decode("utf-8")
        except UnicodeDecodeError:
            raise _refused("path", "the path's percent-encoded bytes are not UTF-8") from None
        if "/" in text or "\\" in text:
            raise _refused("encoded_slash", "the path has an encoded slash or backslash")
        if _CONTROL.search(text):
            raise _refused("path", "the path has an encoded control character")
        if not text.isascii():
            _check_folding(text)
    if text.partition(";")[0] in {".", ".."} and (b"%" in part or ";" in text):
        raise _refused("dot_segments", "the path has a dot segment that is encoded or has parameters")
    return text


def _check_folding(text: str) -> None:
    """Some upstreams fold compatibility forms (a fullwidth solidus) after the path was checked."""
    folded = unicodedata.normalize("NFKC", text)
    separators = {"/", "\\", "%", ";", "?", "#"}
    if separators & (set(folded) - set(text)) or folded.partition(";")[0] in {".", ".."}:
        raise _refused("path", "the path has a character that Unicode folding turns into a separator or a dot segment")


def _normalise_query(raw: bytes) -> bytes:
    if raw.translate(None, _QUERY + _QUERY_TOLERATED + b"%"):
        raise _refused("query", "the query has a character that must be percent-encoded")
    _check_escapes(raw)
    canonical = _ESCAPE.sub(_canonical_escape, raw)
    for byte in _QUERY_TOLERATED:
        if byte in canonical:
            canonical = canonical.replace(bytes((byte,)), b"%%%02X" % byte)
    return canonical


def _check_escapes(raw: bytes) -> None:
    if _BROKEN_ESCAPE.search(raw):
        raise _refused("percent_encoding", "the request target has a '%' that two hexadecimal digits do not follow")


def _canonical_escape(match: re.Match[bytes]) -> bytes:
    byte = int(match[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else match[0].upper()


@lru_cache(maxsize=1024)
def normalise_host(raw: bytes) -> tuple[str, int | None]:
    """Host name or address in lower case, without the root's dot, and the port if one was given (RFC 9110 §7.2).

    IPv6 addresses come out compressed and without brackets. International names are taken in their ASCII form
    (`xn--…`) only. Raises FramingError (400).
    """
    try:
        match = _AUTHORITY.fullmatch(raw.decode("ascii").lower())
    except UnicodeDecodeError:
        match = None
    if match is None:
        raise _refused("host", "the Host header is not a host name or address with an optional port")
    name, port = match[1], int(match[2]) if match[2] else None
    if port is not None and port > 65535:
        raise _refused("host", "the port in the Host header is above 65535")
    if name.startswith("["):
        try:
            return ipaddress.IPv6Address(name[1:-1]).compressed, port
        except ValueError:
            raise _refused("host", "the Host header has brackets around what is not an IPv6 address") from None
    name = name.removesuffix(".")
    if not _NAME.fullmatch(name):
        raise _refused("host", "the Host header is not a host name or address with an optional port")
    return name, port


def _refused(code: str, detail: str) -> FramingError:
    return FramingError(400, code, detail)
