"""Reads results as opa-envoy-plugin does, so that bundles written for it decide here unchanged.

The plugin's rule yields a boolean or an object with `allowed`. Here, too, only a literal true allows. What an object
would have the proxy change on an allowed call (headers, query parameters, metadata) is not enforced and denies;
on a denied call `body` becomes the reason and the rest is ignored.
"""

from __future__ import annotations

from typing import Final

import orjson

from policies.result import MAX_RESULT, MAX_TEXT, Reason, RequestDecision, broken

_CHANGES: Final = (
    "headers",
    "request_headers_to_remove",
    "response_headers_to_add",
    "query_parameters_to_set",
    "query_parameters_to_remove",
    "dynamic_metadata",
)
_WITHOUT_EFFECT: Final = frozenset({"allowed", "body", "http_status"})


def read_envoy(text: str | bytes) -> RequestDecision:
    """Read the JSON text of an opa-envoy-plugin result; what cannot be read or enforced denies."""
    if len(text) > MAX_RESULT:
        return _denied(f"the result is longer than {MAX_RESULT} bytes")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _denied("the result is not JSON")
    if value is True or value is False:
        return RequestDecision(value)
    if not isinstance(value, dict):
        return _denied("the result is neither a boolean nor an object (undefined, perhaps)")
    allowed = value.get("allowed")
    if allowed is False:
        body = value.get("body")
        return RequestDecision(False, (Reason("", body[:MAX_TEXT]),) if isinstance(body, str) and body else ())
    if allowed is not True:
        return _denied("`allowed` is missing or not a boolean")
    for key in value:
        if value[key] and key in _CHANGES:
            return _denied(f"the result sets `{key}`, which is not enforced yet")
        if key not in _CHANGES and key not in _WITHOUT_EFFECT:
            return _denied("the result has a key that opa-envoy-plugin does not know")
    return RequestDecision(True)


def _denied(detail: str) -> RequestDecision:
    return RequestDecision(False, (broken(detail),))
