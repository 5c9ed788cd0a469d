"""Which builtins a bundle may call, and what to do instead of the others.

NATIVE are the engine's own; each gave OPA's results on random arguments (tests/contracts/test_rego_builtins.py), as did
those of exact.py, which are done here. Everything else is refused: a builtin that is merely present may be
wrong.
"""

from __future__ import annotations

from typing import Final

from policies.rego.exact import EXACT

NATIVE: Final[dict[str, int]] = {
    "abs": 1,
    "array.concat": 2,
    "array.reverse": 1,
    "array.slice": 3,
    "base64.encode": 1,
    "base64url.encode": 1,
    "base64url.encode_no_pad": 1,
    "concat": 2,
    "contains": 2,
    "count": 1,
    "endswith": 2,
    "graph.reachable": 2,
    "hex.decode": 1,
    "hex.encode": 1,
    "intersection": 1,
    "is_array": 1,
    "is_boolean": 1,
    "is_null": 1,
    "is_number": 1,
    "is_object": 1,
    "is_set": 1,
    "is_string": 1,
    "max": 1,
    "min": 1,
    "object.filter": 2,
    "object.get": 3,
    "object.keys": 1,
    "object.remove": 2,
    "object.union": 2,
    "object.union_n": 1,
    "product": 1,
    "rand.intn": 2,
    "round": 1,
    "sort": 1,
    "split": 2,
    "startswith": 2,
    "strings.any_prefix_match": 2,
    "strings.any_suffix_match": 2,
    "strings.reverse": 1,
    "sum": 1,
    "time.clock": 1,
    "time.date": 1,
    "time.diff": 2,
    "time.now_ns": 0,
    "time.weekday": 1,
    "trim": 2,
    "trim_left": 2,
    "trim_prefix": 2,
    "trim_right": 2,
    "trim_space": 1,
    "trim_suffix": 2,
    "type_name": 1,
    "union": 1,
    "uuid.rfc4122": 1,
    "walk": 1,
}
"""By name: the number of arguments."""

ARITY: Final[dict[str, int]] = NATIVE | {
    name: arguments for name, (arguments, _) in EXACT.items() if not name.startswith("cordon_")
}
"""All builtins that a bundle may call, with their number of arguments."""

CHANGING: Final = frozenset({"io.jwt.decode_verify", "rand.intn", "time.now_ns", "uuid.rfc4122"})
"""Accepted, but their results change from call to call, so that a replay may decide otherwise."""

OPA_SERVER: Final = "set policy.engine: opa to evaluate this bundle with an OPA server"

_REMEDIES: Final = {
    "print": "remove it: it would write the input into the log",
    "trace": "remove it",
    "http.send": "put what the policy needs into data.json, or " + OPA_SERVER,
    "time.format": "compare time.date or time.clock, or " + OPA_SERVER,
}


def refusal(name: str) -> tuple[str, str]:
    """Why the builtin or unknown function `name` is refused, and the remedy."""
    if name in _REMEDIES or "." in name:
        message = f"{name} is not evaluated here as OPA does it"
    else:
        message = f"there is no function {name} in this bundle, nor a builtin that is evaluated here as OPA does it"
    return message, _REMEDIES.get(name, OPA_SERVER)
