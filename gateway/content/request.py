"""A request's body: decoded, read exactly, inspected whole, and written again from what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict

import orjson

from gateway.content import forms
from gateway.content.decoding import decode
from gateway.content.errors import ContentError
from gateway.content.json_text import Json, dump, parse_strict
from gateway.content.media import MediaType, read_media_type
from gateway.content.redact import UNCHANGEABLE, Redactor, mask
from gateway.content.scanner import Match, Scanner
from gateway.content.tokens import Issuer
from gateway.content.vectors import tokens_in
from gateway.content.walk import Finding, Path, Texts, names_found, put, replace, shown

Dialect = Literal["openai", "anthropic", ""]

POINTERS = 10
"""Most places that a summary names for one type of finding."""

_MODEL: Path = (None, "model")
_MASK_KEY = b"\0" * 32


class TypeSummary(TypedDict):
    """Findings of one type: how many, the highest confidence, and the first places (JSON Pointers, masked)."""

    count: int
    confidence: int
    pointers: list[str]


class ContentLimits(NamedTuple):
    """Bounds on one body: `decoded` in bytes after decoding, `ratio` decoded to coded bytes."""

    decoded: int = 4_194_304
    ratio: int = 100


DEFAULT_LIMITS = ContentLimits()


def read_body(
    content_type: bytes,
    content_encoding: bytes,
    body: bytes,
    *,
    dialect: Dialect,
    json_only: bool = False,
    limits: ContentLimits = DEFAULT_LIMITS,
) -> RequestContent:
    """Decode and read a request body; ContentError for what cannot be read exactly.

    `content_type` and `content_encoding` are the field values (empty: absent). A body of a type that Cordon has no
    reader for is no error: it is a finding of type `unreadable`, which policy decides on. With a `dialect`, or with
    `json_only`, a body must be JSON or multipart: many servers of models read JSON whatever its type is said to be.
    """
    if not body:
        return RequestContent(MediaType("", "opaque"), b"", None, None)
    media = read_media_type(content_type.decode("latin-1"))
    plain = decode(content_encoding.decode("latin-1"), body, limit=limits.decoded, ratio=limits.ratio)
    if (dialect or json_only) and media.shape not in ("json", "multipart"):
        raise ContentError("malformed", "a model call must have a JSON body (Content-Type: application/json)")
    if media.shape == "json":
        value, canonical = parse_strict(plain)
        if dialect:
            _check_fields(value)
        return RequestContent(media, canonical, value, None, tokens_in(value) if dialect else ())
    if media.shape == "form":
        return RequestContent(media, plain, forms.read_form(forms.utf8(plain)), None)
    if media.shape == "multipart":
        multipart = forms.read_multipart(plain, media.boundary)
        return RequestContent(media, plain, multipart.values, multipart)
    if media.shape == "opaque":
        return RequestContent(media, plain, None, None)
    return RequestContent(media, plain, forms.utf8(plain), None)


_FIELDS = {"model": str, "stream": bool}


def _check_fields(value: Json) -> None:
    """Refuse what another reader could take for another model, or for a stream where policy sees none."""
    if not isinstance(value, dict):
        raise ContentError("malformed", "the body of a model call must be a JSON object")
    for name, kind in _FIELDS.items():
        if not isinstance(value.get(name), kind | None):
            raise ContentError("malformed", f"`{name}` of a model call is of the wrong type")
        if name not in value and any(key.casefold() == name for key in value):
            raise ContentError("malformed", f"`{name}` of a model call must be written in lower case")


class RequestContent:
    """One request body. `parsed` is its value as policy sees it (None: empty, or not readable).

    `in_tokens`: fields whose text is said in token numbers, which nobody here can read.
    """

    def __init__(
        self,
        media: MediaType,
        plain: bytes,
        parsed: Json,
        multipart: forms.Multipart | None,
        in_tokens: Sequence[str] = (),
    ) -> None:
        self.media_type = media.name
        self.parsed = parsed
        self.findings: list[Finding] = []
        self._media = media
        self._plain = plain
        self._multipart = multipart
        self._in_tokens = in_tokens
        fields = parsed if isinstance(parsed, dict) and media.shape == "json" else {}
        model = fields.get("model")
        self.model = model if isinstance(model, str) else None
        self.stream = fields.get("stream") is True

    @property
    def size(self) -> int:
        """Bytes of the decoded body."""
        return len(self._plain)

    def scan(self, scanner: Scanner) -> None:
        """Fill `findings`."""
        self.findings = []
        if self._media.shape == "opaque":
            if self._plain:
                self.findings.append(_unreadable(None))
            return
        texts = Texts(self.parsed)
        self.findings = texts.scan(scanner)
        self.findings += [_unreadable(path) for path in texts.unreadable]
        self.findings += [_unreadable((None, name)) for name in self._in_tokens]
        if self._multipart is not None:
            self.findings += [_unreadable(((None, name), index)) for name, index in self._multipart.unreadable]
        if self.model is not None and any(finding.path == _MODEL for finding in self.findings):
            self.model = mask("model")

    def summary(self) -> dict[str, TypeSummary]:
        """Findings by type."""
        return summarise(self.findings)

    def render(self, redact: Mapping[str, str], key: bytes, model: str = "", issuer: Issuer | None = None) -> bytes:
        """The body to forward, in identity coding, with `redact` (finding type → mode) carried out; ContentError.

        JSON and forms are written from what was read, never passed on as they came. `model` takes the place of the
        model that a JSON body asks for. `issuer` gives out the tokens where `redact` tokenises.
        """
        redactor = Redactor(redact, key, issuer)
        changed = any(redactor.changes(finding.match) for finding in self.findings)
        other = bool(model) and self.model is not None and model != self.model
        if self._media.shape in ("opaque", "json") and not changed and not other:
            return self._plain
        value = replace(self._copy(), self.findings, redactor) if changed else self.parsed
        if other and isinstance(value, dict):
            value = {**value, "model": model}
        return self._write(value)

    def masked_parsed(self) -> Json:
        """`parsed` with every finding masked, for records and logs."""
        maskable = [finding for finding in self.findings if finding.match.type not in UNCHANGEABLE]
        value = self._copy()
        for finding in self.findings:
            if finding.match.type == "unreadable" and finding.path is not None:
                put(value, finding.path, mask("unreadable"))
        if maskable:
            kinds = {finding.match.type for finding in maskable}
            value = replace(value, maskable, Redactor(dict.fromkeys(kinds, "mask"), _MASK_KEY))
        return value

    def _copy(self) -> Json:
        copy: Json = orjson.loads(self._plain if self._media.shape == "json" else dump(self.parsed))
        return copy

    def _write(self, value: Json) -> bytes:
        if self._media.shape == "json":
            return dump(value)
        if self._multipart is not None:
            return forms.write_multipart(self._multipart, value)
        if self._media.shape == "form":
            return forms.write_form(value).encode()
        assert isinstance(value, str)
        return value.encode()


def _unreadable(path: Path) -> Finding:
    return Finding(path, False, Match("unreadable", 0, 0, 100))


def summarise(findings: list[Finding]) -> dict[str, TypeSummary]:
    """Findings by type, with the names of objects in the pointers masked where they are findings themselves."""
    names = names_found(findings)
    summary: dict[str, TypeSummary] = {}
    for path, _, match in findings:
        entry = summary.get(match.type)
        if entry is None:
            entry = summary[match.type] = TypeSummary(count=0, confidence=0, pointers=[])
        entry["count"] += 1
        entry["confidence"] = max(entry["confidence"], match.confidence)
        if len(entry["pointers"]) < POINTERS:
            entry["pointers"].append(shown(path, names))
    return summary
