"""What a decision may say, read strictly: what is missing, misspelt, mistyped or not enforced denies.

The shapes are those of `schemas/result.request.json` and `schemas/result.response.json`. A parser that took what
it knows and skipped the rest would let a misspelt `redcat` pass personal data, so one unknown key refuses the whole
result, with a reason that names the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, cast

import orjson

from policies.errors import PolicyError
from policies.shapes import check_pattern, check_schema

Plan = Literal["pass", "inspect", "buffer"]

TRANSFORMS: Final = frozenset({"mask", "drop", "hash"})
"""What becomes of a finding anywhere; `TOKENISE` is one more, for requests: an answer is where values are restored."""
TOKENISE: Final = "tokenise"
FINDINGS: Final = frozenset({"email", "phone", "payment_card", "iban", "us_ssn", "ip_address", "api_key"})
PLANS: Final[tuple[Plan, ...]] = ("pass", "inspect", "buffer")

MAX_RESULT: Final = 65_536
MAX_REASONS: Final = 32
MAX_ENDPOINTS: Final = 64
MAX_LABELS: Final = 16
MAX_PATTERNS: Final = 64
MAX_TEXT: Final = 512
MAX_CHARS: Final = 1_000_000_000

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NO_LIMITS: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision fell: the rule's id (may be empty), what it saw and what to change."""

    rule: str
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """The reason as it stands in records and refusals, without empty parts."""
        parts = {"rule": self.rule, "detail": self.detail, "fix": self.fix}
        return {name: text for name, text in parts.items() if text}


class BlockPattern(NamedTuple):
    """An RE2 pattern that may not occur in an answer; a hit is the finding `blocked_pattern:<id>`."""

    id: str
    pattern: str


@dataclass(frozen=True, slots=True)
class RequestDecision:
    """The decision before dispatch.

    `endpoints` is the subset and order of the candidates to try (None: all, as they are); the router refuses names
    that are no candidates. `redact` maps a finding type to mask, drop, hash or tokenise.
    """

    allow: bool
    reasons: tuple[Reason, ...] = ()
    endpoints: tuple[str, ...] | None = None
    redact: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    require_approval: bool = False
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    limits: Mapping[str, int] = field(default_factory=lambda: _NO_LIMITS)


@dataclass(frozen=True, slots=True)
class AnswerDecision:
    """The decision on an answer. `plan` is already raised to what `redact`, `block`, `limits` and `schema` need."""

    allow: bool
    reasons: tuple[Reason, ...] = ()
    redact: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    plan: Plan = "inspect"
    limits: Mapping[str, int] = field(default_factory=lambda: _NO_LIMITS)
    block: tuple[BlockPattern, ...] = ()
    schema: Mapping[str, object] | None = None


class ResultError(PolicyError):
    """A result that breaks the contract."""


def read_request(text: str | bytes) -> RequestDecision:
    """Read the JSON text of a request result; a broken one becomes a denial that names the fault."""
    try:
        return _request(_object(text))
    except ResultError as error:
        return RequestDecision(False, (broken(str(error)),))


def read_answer(text: str | bytes) -> AnswerDecision:
    """Read the JSON text of a response result; a broken one becomes a denial that names the fault."""
    try:
        return _answer(_object(text))
    except ResultError as error:
        return AnswerDecision(False, (broken(str(error)),))


def broken(detail: str) -> Reason:
    """The reason of a denial that the contract made, not the bundle."""
    return Reason("policy.result", detail, "correct the bundle; `cordon policy eval` shows its result")


def _object(text: str | bytes) -> dict[str, object]:
    if len(text) > MAX_RESULT:
        raise ResultError(f"the result is longer than {MAX_RESULT} bytes")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ResultError("the result is not JSON") from None
    if not isinstance(value, dict):
        if value in ("<undefined>", None):
            raise ResultError("the rule gave no result (undefined)")
        raise ResultError(f"the result is {_kind(value)}, not an object")
    return value


def _request(result: dict[str, object]) -> RequestDecision:
    allow = _allow(result)
    if len(result) == 1:
        return RequestDecision(allow)
    fields: dict[str, object] = {}
    for key, value in result.items():
        reader = _REQUEST_KEYS.get(key)
        if reader is None:
            raise ResultError(f"the result has the unknown key {_shown(key)}")
        fields[key] = reader(value)
    endpoints = cast("tuple[str, ...] | None", fields.get("endpoints"))
    if allow and endpoints == ():
        raise ResultError("the result allows the call and leaves it no endpoint")
    return RequestDecision(
        allow,
        cast("tuple[Reason, ...]", fields.get("reasons", ())),
        endpoints,
        cast("Mapping[str, str]", fields.get("redact", _NOTHING)),
        False,
        cast("Mapping[str, str]", fields.get("labels", _NOTHING)),
    )


def _answer(result: dict[str, object]) -> AnswerDecision:
    allow = _allow(result)
    if len(result) == 1:
        return AnswerDecision(allow)
    fields: dict[str, object] = {}
    for key, value in result.items():
        reader = _ANSWER_KEYS.get(key)
        if reader is None:
            raise ResultError(f"the result has the unknown key {_shown(key)}")
        fields[key] = reader(value)
    redact = cast("Mapping[str, str]", fields.get("redact", _NOTHING))
    output = cast("_Output", fields.get("output", _NO_OUTPUT))
    plan = cast("Plan", fields.get("plan", "inspect"))
    if output.schema is not None:
        plan = "buffer"
    elif plan == "pass" and (redact or output.block or output.limits):
        plan = "inspect"
    return AnswerDecision(
        allow,
        cast("tuple[Reason, ...]", fields.get("reasons", ())),
        redact,
        cast("Mapping[str, str]", fields.get("labels", _NOTHING)),
        plan,
        output.limits,
        output.block,
        output.schema,
    )


def _allow(result: dict[str, object]) -> bool:
    allow = result.get("allow")
    if allow is True or allow is False:
        return allow
    if "allow" not in result:
        raise ResultError("the result has no `allow`")
    raise ResultError(f"`allow` is {_kind(allow)}, not a boolean")


def _reasons(value: object) -> tuple[Reason, ...]:
    return tuple([_reason(item) for item in _list(value, "reasons", MAX_REASONS)])


def _reason(item: object) -> Reason:
    if isinstance(item, str):
        return Reason("", item[:MAX_TEXT])
    if not isinstance(item, dict):
        raise ResultError(f"`reasons` has {_kind(item)} in it; a reason is a string or an object {{rule, detail, fix}}")
    if not item.keys() <= _REASON_KEYS or "detail" not in item:
        raise ResultError("a reason has `detail` and may have `rule` and `fix`, nothing else")
    for text in item.values():
        if not isinstance(text, str):
            raise ResultError(f"a reason's parts are strings, one is {_kind(text)}")
    return Reason(item.get("rule", "")[:MAX_TEXT], item["detail"][:MAX_TEXT], item.get("fix", "")[:MAX_TEXT])


def _endpoints(value: object) -> tuple[str, ...]:
    names = _list(value, "endpoints", MAX_ENDPOINTS)
    for name in names:
        if not isinstance(name, str):
            raise ResultError(f"`endpoints` has {_kind(name)} in it, not the id of a candidate")
    if len(set(cast("list[str]", names))) != len(names):
        raise ResultError("`endpoints` names a candidate twice")
    return tuple(cast("list[str]", names))


def _redact_request(value: object) -> Mapping[str, str]:
    return _redact(value, TRANSFORMS | {TOKENISE})


def _redact_answer(value: object) -> Mapping[str, str]:
    return _redact(value, TRANSFORMS)


def _redact(value: object, known: frozenset[str]) -> Mapping[str, str]:
    for finding, transform in _dict(value, "redact").items():
        if finding not in FINDINGS:
            raise ResultError(f"`redact` names {_shown(finding)}, which is no finding type that can be redacted")
        if not isinstance(transform, str) or transform not in known:
            if transform == TOKENISE:
                detail = "only values of a request are tokenised, and restored in its answer; use mask, drop or hash"
                raise ResultError(f"`redact` asks to tokenise {finding} in an answer: {detail}")
            raise ResultError(f"`redact` asks something unknown for {finding}; it knows {', '.join(sorted(known))}")
    return cast("Mapping[str, str]", value)


def _require_approval(value: object) -> bool:
    if value is False:
        return False
    if value is True:
        raise ResultError("`require_approval` is not enforced yet, so the call is refused")
    raise ResultError(f"`require_approval` is {_kind(value)}, not a boolean")


def _labels(value: object) -> Mapping[str, str]:
    labels = _dict(value, "labels")
    if len(labels) > MAX_LABELS:
        raise ResultError(f"`labels` has more than {MAX_LABELS} entries")
    for name, text in labels.items():
        if not isinstance(text, str):
            raise ResultError(f"the label {_shown(name)} is {_kind(text)}, not a string")
        if not 0 < len(name) <= 64 or not name.isascii() or not name.isprintable() or len(text) > MAX_TEXT:
            raise ResultError("a label's name is 1 to 64 printable ASCII characters, its text at most 512")
    return cast("Mapping[str, str]", labels)


def _limits(value: object) -> Mapping[str, int]:
    limits = _dict(value, "limits")
    if limits:
        raise ResultError(f"`limits` names {_shown(next(iter(limits)))}, which is not enforced yet")
    return _NO_LIMITS


def _plan(value: object) -> Plan:
    for plan in PLANS:
        if value == plan:
            return plan
    raise ResultError("`plan` is neither pass, inspect nor buffer")


@dataclass(frozen=True, slots=True)
class _Output:
    limits: Mapping[str, int] = field(default_factory=lambda: _NO_LIMITS)
    block: tuple[BlockPattern, ...] = ()
    schema: Mapping[str, object] | None = None


_NO_OUTPUT: Final = _Output()


def _output(value: object) -> _Output:
    output = _dict(value, "output")
    for key in output:
        if key not in _OUTPUT_KEYS:
            raise ResultError(f"`output` has the unknown key {_shown(key)}")
    limits = _NO_LIMITS
    if "max_chars" in output:
        chars = output["max_chars"]
        if type(chars) is not int or not 0 <= chars <= MAX_CHARS:
            raise ResultError(f"`output.max_chars` is not a whole number from 0 to {MAX_CHARS}")
        limits = {"max_chars": chars}
    schema = None
    if "schema" in output:
        schema = _dict(output["schema"], "output.schema")
        fault = check_schema(schema)
        if fault:
            raise ResultError(f"`output.schema` cannot be used: {fault}")
    return _Output(limits, _block(output.get("block", [])), schema)


def _block(value: object) -> tuple[BlockPattern, ...]:
    patterns: dict[str, BlockPattern] = {}
    for item in _list(value, "output.block", MAX_PATTERNS):
        if not isinstance(item, dict) or item.keys() != _PATTERN_KEYS:
            raise ResultError("an entry of `output.block` is an object with `id` and `pattern`")
        name, pattern = item["id"], item["pattern"]
        if not isinstance(name, str) or not 0 < len(name) <= 64 or not name.isascii() or not name.isprintable():
            raise ResultError("the `id` of an entry of `output.block` is 1 to 64 printable ASCII characters")
        if name in patterns:
            raise ResultError(f"`output.block` has the id {_shown(name)} twice")
        if not isinstance(pattern, str):
            raise ResultError(f"the pattern {_shown(name)} is {_kind(pattern)}, not a string")
        fault = check_pattern(pattern)
        if fault:
            raise ResultError(f"the pattern {_shown(name)} cannot be used: {fault}")
        patterns[name] = BlockPattern(name, pattern)
    return tuple(patterns.values())


def _list(value: object, name: str, longest: int) -> list[object]:
    if not isinstance(value, list):
        raise ResultError(f"`{name}` is {_kind(value)}, not an array or set")
    if len(value) > longest:
        raise ResultError(f"`{name}` has more than {longest} entries")
    return value


def _dict(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ResultError(f"`{name}` is {_kind(value)}, not an object")
    return value


def _kind(value: object) -> str:
    """What a value is, in JSON's words; never the value itself, which may hold a finding."""
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "an array or set"}
    return "null" if value is None else names.get(type(value), "an object")


def _shown(name: str) -> str:
    """A key of the result, safe to show: keys are the bundle's words, but may have been taken from the input."""
    return (
        f"`{name}`"
        if len(name) <= 64 and name.isascii() and name.replace("_", "").replace("-", "").isalnum()
        else "(unprintable)"
    )


_REASON_KEYS: Final = frozenset({"rule", "detail", "fix"})
_PATTERN_KEYS: Final = frozenset({"id", "pattern"})
_OUTPUT_KEYS: Final = frozenset({"max_chars", "block", "schema"})
_SHARED_KEYS: Final[dict[str, Callable[[object], object]]] = {
    "allow": lambda value: value,
    "reasons": _reasons,
    "labels": _labels,
}
_REQUEST_KEYS: Final[dict[str, Callable[[object], object]]] = _SHARED_KEYS | {
    "redact": _redact_request,
    "endpoints": _endpoints,
    "require_approval": _require_approval,
    "limits": _limits,
}
_ANSWER_KEYS: Final[dict[str, Callable[[object], object]]] = _SHARED_KEYS | {
    "redact": _redact_answer,
    "plan": _plan,
    "output": _output,
}
