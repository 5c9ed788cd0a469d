"""The builtins that are evaluated here instead of by the engine, by name."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from regorus import Engine

from policies.rego import (
    cidrs,
    documents,
    entries,
    network,
    patches,
    regexes,
    schemas,
    signing,
    templates,
    times,
    tokens,
    units,
    uris,
    uuids,
    values,
)
from policies.rego import text as texts
from policies.rego.checks import text


def _hash(name: str) -> Callable[[object], str]:
    return lambda value: hashlib.new(name, text(value).encode(), usedforsecurity=False).hexdigest()


def _hmac(name: str) -> Callable[[object, object], str]:
    return lambda value, key: hmac.new(text(key).encode(), text(value).encode(), name).hexdigest()


def _hmac_equal(one: object, other: object) -> bool:
    return hmac.compare_digest(text(one).encode(), text(other).encode())


EXACT: Final[dict[str, tuple[int, Callable[..., object]]]] = {
    "array.flatten": (1, documents.array_flatten),
    "base64.decode": (1, values.base64_decode),
    "base64.is_valid": (1, values.base64_is_valid),
    "base64url.decode": (1, values.base64url_decode),
    "bits.and": (2, values.bits_and),
    "bits.lsh": (2, values.shifted_left),
    "bits.negate": (1, values.bits_negate),
    "bits.or": (2, values.bits_or),
    "bits.rsh": (2, values.shifted_right),
    "bits.xor": (2, values.bits_xor),
    "ceil": (1, values.ceil),
    "cordon_length": (1, texts.length),
    "cordon_template": (1, values.template),
    "cordon_tree": (2, entries.tree),
    "crypto.hmac.equal": (2, _hmac_equal),
    "crypto.hmac.md5": (2, _hmac("md5")),
    "crypto.hmac.sha1": (2, _hmac("sha1")),
    "crypto.hmac.sha256": (2, _hmac("sha256")),
    "crypto.hmac.sha512": (2, _hmac("sha512")),
    "crypto.md5": (1, _hash("md5")),
    "crypto.sha1": (1, _hash("sha1")),
    "crypto.sha256": (1, _hash("sha256")),
    "floor": (1, values.floor),
    "format_int": (2, values.format_int),
    "glob.match": (3, regexes.glob_match),
    "glob.quote_meta": (1, regexes.glob_quote_meta),
    "graph.reachable_paths": (2, documents.reachable_paths),
    "indexof": (2, texts.indexof),
    "indexof_n": (2, texts.indexof_n),
    "io.jwt.decode": (1, tokens.decode),
    "io.jwt.decode_verify": (2, tokens.decode_verify),
    "io.jwt.encode_sign": (3, signing.encode_sign),
    "io.jwt.encode_sign_raw": (3, signing.encode_sign_raw),
    "json.filter": (2, documents.json_filter),
    "json.is_valid": (1, values.json_is_valid),
    "json.marshal": (1, values.json_marshal),
    "json.marshal_with_options": (2, values.json_marshal_with_options),
    "json.match_schema": (2, schemas.match_schema),
    "json.patch": (2, patches.json_patch),
    "json.remove": (2, documents.json_remove),
    "json.unmarshal": (1, values.json_unmarshal),
    "json.verify_schema": (1, schemas.verify_schema),
    "lower": (1, texts.lower),
    "net.cidr_contains": (2, network.cidr_contains),
    "net.cidr_contains_matches": (2, cidrs.cidr_contains_matches),
    "net.cidr_expand": (1, cidrs.cidr_expand),
    "net.cidr_intersects": (2, cidrs.cidr_intersects),
    "net.cidr_is_valid": (1, network.cidr_is_valid),
    "net.cidr_merge": (1, cidrs.cidr_merge),
    "numbers.range": (2, values.numbers_range),
    "numbers.range_step": (3, values.numbers_range_step),
    "object.subset": (2, documents.object_subset),
    "regex.find_all_string_submatch_n": (3, regexes.find_all_string_submatch_n),
    "regex.find_n": (3, regexes.find_n),
    "regex.is_valid": (1, regexes.is_valid),
    "regex.match": (2, regexes.match),
    "regex.replace": (3, regexes.replace),
    "regex.split": (2, regexes.split),
    "regex.template_match": (4, regexes.template_match),
    "replace": (3, texts.replace),
    "semver.compare": (2, network.semver_compare),
    "semver.is_valid": (1, network.semver_is_valid),
    "sprintf": (2, values.sprintf),
    "strings.count": (2, texts.strings_count),
    "strings.render_template": (2, templates.render_template),
    "strings.replace_n": (2, texts.replace_n),
    "strings.split_n": (3, texts.split_n),
    "substring": (3, texts.substring),
    "time.add_date": (4, network.add_date),
    "time.parse_duration_ns": (1, times.parse_duration_ns),
    "time.parse_ns": (2, times.parse_ns),
    "time.parse_rfc3339_ns": (1, network.parse_rfc3339_ns),
    "to_number": (1, values.to_number),
    "units.parse": (1, units.parse),
    "units.parse_bytes": (1, units.parse_bytes),
    "upper": (1, texts.upper),
    "uri.is_valid": (1, uris.is_valid),
    "uri.parse": (1, uris.parse),
    "urlquery.decode": (1, values.urlquery_decode),
    "urlquery.decode_object": (1, uris.query_decode),
    "urlquery.encode": (1, values.urlquery_encode),
    "urlquery.encode_object": (1, uris.query_encode),
    "uuid.parse": (1, uuids.parse),
}
"""By name: the number of arguments, and the function."""

EXACT.update((f"io.jwt.verify_hs{size}", (2, tokens.verifies_hmac(size))) for size in tokens.HASHES)
EXACT.update((f"io.jwt.verify_{name.lower()}", (2, tokens.verifies(name))) for name in tokens.ASYMMETRIC)


def install(engine: Engine) -> None:
    """Have `engine` call these builtins instead of its own."""
    for name, (arguments, function) in EXACT.items():
        engine.add_extension(name, arguments, function)
